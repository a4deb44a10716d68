"""`emu sql`: a prompt, a statement or a script on a database tier of a running cluster."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from emu.cli import output
from emu.cli.attach import attached, complete_cluster, complete_target
from protocols.errors import RpcError

if TYPE_CHECKING:
    from emu.cli.sql_session import Session

SHOWN_ROWS: Final = 100
TargetWords = Annotated[
    list[str],
    typer.Argument(
        metavar="TIER",
        help="A database tier; or one of its nodes, which then answers what only reads.",
        autocompletion=complete_target,
    ),
]
CommandOption = Annotated[
    str, typer.Option("--command", "-c", help="Run this, and end.", show_default=False)
]
ReplicaOption = Annotated[bool, typer.Option("--replica", help="Read from a replica.")]
LimitOption = Annotated[
    int, typer.Option("--limit", min=0, help="Rows shown of an answer on a terminal; 0: all.")
]
TimingOption = Annotated[bool, typer.Option("--timing", help="Say how long each took.")]
LsnOption = Annotated[bool, typer.Option("--lsn", help="Say each answer's place in the log.")]
OwnClusterOption = Annotated[
    str,
    typer.Option(
        "--cluster",
        help="Which running cluster, by name or pid (needed when several run).",
        envvar="EMU_CLUSTER",
        autocompletion=complete_cluster,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object for each statement.")]


def sql(
    tier: TargetWords,
    command: CommandOption = "",
    replica: ReplicaOption = False,
    limit: LimitOption = SHOWN_ROWS,
    timing: TimingOption = False,
    lsn: LsnOption = False,
    cluster: OwnClusterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Ask a database tier: a prompt; with -c a statement; in a pipe the script that comes in."""
    from emu.cli.sql_session import Look, Session  # with SQLite itself: other verbs need it not

    typed = not command and sys.stdin.isatty()
    if typed and not sys.stdout.isatty():
        output.fail("give a statement with -c, or a script on stdin", output.USAGE)
    people = sys.stdout.isatty() and not as_json
    look = Look(people, as_json=as_json, timing=timing, lsn=lsn, rows=limit)
    target = " ".join(tier)
    with attached(cluster) as client:
        rows = client.call("ps", target)
        session = Session(client, target, look, replica=replica, typed=typed)
        if typed:
            from emu.cli.sql_prompt import Prompt, greeting

            session.ask("SELECT 1")  # whatever is wrong is told before somebody types
            output.out.print(greeting(rows, target))
            try:
                Prompt(session, rows[0]["tier"]).run()
            finally:
                if not session.end():
                    output.note("the open transaction is rolled back", "yellow")
        else:
            _run_script(session, command)


def _run_script(session: Session, command: str) -> None:
    """Statement after statement, until one fails."""
    from emu.cli.sql_text import Splitter

    splitter = Splitter()
    try:
        for line in command.split("\n") if command else _lines():
            if not splitter.begun and line.lstrip().startswith("\\"):
                _run_command(session, line)
                continue
            for statement in splitter.feed(line):
                if not session.run(statement):
                    raise typer.Exit(output.FAILURE)
        rest = splitter.rest()
        if rest is not None and not session.run(rest):
            raise typer.Exit(output.FAILURE)
    except UnicodeError as error:
        output.fail(f"the statement is not UTF-8: {error}")
    finally:
        left_open = not session.end()
        _tell_changes(session)
    if left_open:
        output.fail("the script ended inside a transaction: it is rolled back")


def _tell_changes(session: Session) -> None:
    """On a terminal and in JSON each statement says so."""
    from emu.cli.sql_shown import changed

    if session.changed_rows and not (session.look.people or session.look.as_json):
        output.note(f"{changed(session.changed_rows)}  {session.answered_by}")


def _lines() -> Iterable[str]:
    """Of stdin, as they are: a carriage return may be part of a value."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(newline="\n")
    return sys.stdin


def _run_command(session: Session, line: str) -> None:
    from emu.cli import sql_commands

    try:
        known = sql_commands.run(session, line)
    except sql_commands.Leave:
        raise typer.Exit(output.OK) from None
    except RpcError as error:
        output.fail(error.message or error.code)
    if not known:
        raise typer.Exit(output.USAGE)
