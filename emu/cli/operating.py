"""The verbs that kinds bring: operations of one family, and faults of its own. A running cluster
says which it has; where none runs, those of the installed kinds can be asked for their help.

An operation that takes its time has a bar on a terminal, of the progress that its nodes tell.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from typer.core import TyperGroup

from emu import state
from emu.cli import faulting, injecting, output
from emu.cli.attach import attached
from emu.cli.helping import help_of
from emu.cli.spoken import spoken
from emu.cli.words import command_of, missing
from emu.control.client import ControlClient, ControlError
from emu.model.faults import Fault
from protocols.errors import RpcError

FILE: Final = "file"
"""An option of a word that is a path, wherever the cluster runs."""
POLL_S: Final = 0.1
LOOK_S: Final = 1.0
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]
CANCEL = Annotated[bool, typer.Option("--cancel", help="Undo what is under way.")]
ELSEWHERE: Final = {
    **dict.fromkeys(("lint", "validate", "verify"), "config"),
    **dict.fromkeys(("delete", "destroy", "end", "quit", "rm", "shutdown"), "down"),
    **dict.fromkeys(("inspect", "nodes", "status"), "ps"),
    **dict.fromkeys(("list", "ls"), "clusters"),
    **dict.fromkeys(("begin", "create", "launch", "run"), "up"),
    **dict.fromkeys(("init", "template"), "new"),
    **dict.fromkeys(("fuzz", "seed", "seeds", "simulate", "test"), "sim"),
    **dict.fromkeys(("delay", "latency", "lag"), "slow"),
    **dict.fromkeys(("cut", "isolate", "split"), "partition"),
    **dict.fromkeys(("freeze", "hang"), "pause"),
    **dict.fromkeys(("continue", "resume"), "unpause"),
    **dict.fromkeys(("repair", "undo"), "heal"),
    **dict.fromkeys(("bench", "loadtest"), "load"),
    **dict.fromkeys(("grafana", "prometheus"), "dashboards"),
    "follow": "why",
}
"""What people type who know other tools → the verb that they look for."""
Told = Mapping[str, Any]
"""A verb as emu/model/vocabulary.py describes it."""


class Verbs(TyperGroup):
    """emu's own verbs, then those of kinds: looked for when they are typed, or listed (of what
    runs; where nothing does, of all known kinds, whose loading takes half a second)."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for source in (_of_running, _of_known_kinds):
            family: list[Told] = []
            for told in source():
                if told["verb"] == cmd_name:
                    return _command(told)
                if told["verb"].startswith(f"{cmd_name} "):
                    family.append(told)
            if family:
                return _group(cmd_name, family)
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        word = args[0] if args else ""
        if word in ELSEWHERE and self.get_command(ctx, word) is None:
            ctx.fail(f"No such command '{word}'. What you look for is `emu {ELSEWHERE[word]}`.")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        brought = list(_of_running()) or _of_known_kinds()
        verbs = (told["verb"].partition(" ")[0] for told in brought)
        return list(dict.fromkeys([*super().list_commands(ctx), *verbs]))


def _of_running() -> Iterable[Told]:
    """What the clusters that run now are told; who does not answer at once has nothing to say."""
    wanted = os.environ.get("EMU_CLUSTER", "")
    for each in state.running():
        if wanted not in ("", each["name"], str(each["pid"])):
            continue
        try:
            with ControlClient(Path(each["folder"]) / state.SOCKET, timeout_s=LOOK_S) as client:
                yield from client.call("words")
        except (ControlError, RpcError):
            continue


def _of_known_kinds() -> Iterable[Told]:
    from emu.extensions import ExtensionError
    from emu.model.vocabulary import described, operations  # all kinds: other verbs need them not

    try:
        return [described(each) for each in operations().values()]
    except ExtensionError as error:
        output.fail(str(error))


def _command(told: Told) -> Any:
    app = typer.Typer(add_completion=False)
    _add(app, told["verb"], told)
    return _named(app, told["verb"])


def _group(name: str, family: Iterable[Told]) -> Any:
    """Verbs of several words that begin alike: `emu queue topics`."""
    app = typer.Typer(add_completion=False, no_args_is_help=True)
    for told in family:
        _add(app, told["verb"].removeprefix(f"{name} "), told)
    app.callback(help=f"What can be done to tiers of the kind {name}.")(lambda: None)
    return _named(app, name)


def _add(app: typer.Typer, name: str, told: Told) -> None:
    from emu.model.vocabulary import any_texts, word_of

    word = word_of(dict(told))
    made = faulting.lasting(word) if told["lasts"] else _operation(told, word)
    app.command(name, cls=spoken(*any_texts(word)), **help_of(told["help"]))(made)


def _named(app: typer.Typer, name: str) -> Any:
    command: Any = typer.main.get_command(app)
    command.name = name
    command.rich_help_panel = faulting.PANEL
    return command


def _operation(told: Told, word: type[Fault]) -> Any:
    more: dict[str, Any] = {}
    if told["plans"]:
        more["dry_run"] = (DRY_RUN, False)
    if told["cancels"]:
        more["cancel"] = (CANCEL, False)

    def act(given: dict[str, Any], others: dict[str, Any]) -> None:
        verb, cluster, as_json = word.verb, others["cluster"], others["as_json"]
        if others.get("cancel"):
            _cancel(verb, str(given[word.main]), cluster, as_json)
            return
        if given.get(FILE):  # the cluster may run elsewhere
            given[FILE] = str(Path(given[FILE]).absolute())
        unsaid = missing(word, given)
        if unsaid:
            output.fail(f"say {', '.join(unsaid)}: `emu {verb} --help`", output.USAGE)
        with attached(cluster, timeout_s=None) as client:
            _operate(client, told, {"verb": verb, **given}, as_json, others.get("dry_run", False))

    return command_of(word, act, more, sole=told["main"] == "tier")


def _cancel(verb: str, main: str, cluster: str, as_json: bool) -> None:
    with attached(cluster, timeout_s=None) as client:
        found = client.call("cancel", verb, main)
    output.result(found) if as_json else output.note(
        "cancelled: what is not done yet is undone" if found else "nothing is under way"
    )


def _operate(
    client: ControlClient, told: Told, record: dict[str, Any], as_json: bool, dry_run: bool
) -> None:
    if told["plans"] and (dry_run or not as_json):
        plan = injecting.until_done(client, client.begin("dry_run", record), _tier(told, record))
        output.result(plan["result"]) if as_json else _print(plan["text"])
        if dry_run:
            return
    injecting.until_done(client, client.begin("begin", record), _tier(told, record))
    if told["progresses"]:
        _watch(client, record, _tier(told, record), quiet=as_json)
    ended = client.call("ended", record)
    output.result(ended["result"]) if as_json else _print(ended["text"])
    if not ended["succeeded"]:
        raise typer.Exit(output.FAILURE)


def _print(text: str) -> None:
    output.out.print(text, markup=False)


def _tier(told: Told, record: Mapping[str, Any]) -> str:
    """The tier that it is done to, where it is done to one."""
    return str(record[told["main"]]) if told["main"] == "tier" else ""


def _watch(client: ControlClient, record: dict[str, Any], tier: str, *, quiet: bool) -> None:
    """A bar of what is done, and what the nodes say of it, until it is over; and who of them has
    nobody to lead it meanwhile."""
    text = TextColumn("{task.description}")
    done = TextColumn("{task.fields[done]}")
    with Progress(
        text, BarColumn(), done, TimeElapsedColumn(), console=output.err, disable=quiet
    ) as bar:
        task = bar.add_task(record["verb"], total=None, done="")
        missing: dict[str, str] = {}
        while True:
            seen = client.call("progress", record)
            before, missing = missing, client.call("leaderless", tier) if tier else {}
            for name in missing.keys() - before.keys():
                output.note(missing[name], style="yellow")
            described = seen["text"] or record["verb"]
            count, total = seen["done"], seen["of"] or None
            told = f"{count}/{total}" if total else ""
            bar.update(task, total=total, completed=count, description=described, done=told)
            if seen["over"]:
                return
            time.sleep(POLL_S)
