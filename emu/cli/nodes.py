"""Verbs that look at a running cluster: ps, url, logs, events, call."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from emu.cli import output
from emu.cli.attach import (
    ClusterOption,
    JsonOption,
    ask,
    attached,
    complete_target,
    one_of_these,
)
from emu.cli.files import duration_s
from emu.cli.lines import as_text
from emu.cli.spoken import Spoken
from emu.control.client import ControlEnded
from emu.machine.levels import LEVELS
from emu.observe import facts
from emu.observe.shown import duration
from nodes.parts import jsons

TARGET_HELP: Final = "A node, tier, region or glob; `db primary`, `one web`, `all`."
DROPPABLE: Final = ("public", "kind", "uptime")
"""What a narrow terminal does without first; --json has it all."""

WHY_NOT_TOLD: Final = (
    "it was quick, and no tier samples it (`logs: {sample: 100%}`), or it is too long ago"
)
MAX_FACT_COLUMNS: Final = 6
"""Where nodes of many kinds have more to say, or the terminal is narrow, each says it in a
sentence."""
FACTS: Final = "says"

MARK: Final = "\0"
"""In front of a negative number, so that it is taken for no option; no argument can hold it."""
_NEGATIVE: Final = re.compile(r"-[0-9][-+.0-9eE]*")

Target = Annotated[str, typer.Argument(help=TARGET_HELP, autocompletion=complete_target)]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TARGET]...", help=TARGET_HELP, autocompletion=complete_target, show_default=False
    ),
]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come.")]
TailOption = Annotated[int, typer.Option("--tail", "-n", min=0, help="How many of the past.")]


def ps(target: Words = None, cluster: ClusterOption = "", as_json: JsonOption = False) -> None:
    """List the nodes: what they are, how they are, where they listen."""
    with attached(cluster) as client:
        rows = client.call("ps", " ".join(target or ["all"]))
        kinds = {} if as_json else client.call("kinds")
        leaderless = {} if as_json else client.call("leaderless")
    if as_json:
        output.result(rows)
    else:
        show_rows(rows, kinds, leaderless)


def show_rows(
    rows: Sequence[Mapping[str, Any]],
    kinds: Mapping[str, dict[str, Any]],
    leaderless: Mapping[str, str],
) -> None:
    """The nodes as a table, with what their kinds (`views.kinds`) have to be seen of them."""
    columns = ["name", "kind", "region", "role", "state", "address", "public", "uptime"]
    if not any(row["role"] for row in rows):
        columns.remove("role")
    told = facts.columns(kinds, rows, "ps")
    titles = [facts.title(fact) for fact in told]
    everything = []
    for row in rows:
        shown = {**row, "uptime": duration(row["uptime_s"]) if row["uptime_s"] else ""}
        shown |= {facts.title(fact): facts.text(kinds, row, fact) for fact in told}
        everything.append({**shown, FACTS: facts.sentence(kinds, row, told)})
    regions = len({row["region"] for row in rows})
    droppable = [*(["region"] if regions < 2 else []), *DROPPABLE, "region"]
    extra = [title for title, fact in zip(titles, told, strict=True) if fact["screens"] == ["ps"]]
    apart = [*columns, *titles]
    table = [[shown.get(column) for column in apart] for shown in everything]
    if len(told) <= MAX_FACT_COLUMNS and output.fits(apart, table, [*droppable, *extra]):
        columns, droppable = apart, [*droppable, *extra]
    else:
        columns, droppable = [*columns, *([FACTS] if told else [])], [*droppable, "address"]
        table = [[shown.get(column) for column in columns] for shown in everything]
    output.table(columns, table, output.STATE_STYLES, droppable=droppable)
    for row in rows:
        if row["error"]:
            output.note(f"{row['name']}: {row['error']}", style="red")
    for tier in dict.fromkeys(row["tier"] for row in rows):
        if tier in leaderless:
            output.note(leaderless[tier], style="red")


def url(
    target: Target,
    door: Annotated[
        str,
        typer.Option(
            "--door",
            help="http, rpc, dns ... if it has several.",
            autocompletion=one_of_these("http", "rpc"),
        ),
    ] = "",
    cluster: ClusterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Print one URL that a client from outside takes as it is.

    Of several nodes that of one that runs.
    """
    row = ask(cluster, "url", target, door)
    if as_json:
        output.result(row)
    else:
        output.out.print(row["url"], markup=False, soft_wrap=True)


def events(
    target: Words = None,
    follow: FollowOption = False,
    tail: TailOption = 50,
    cluster: ClusterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show what happened: nodes up and down, faults, checks, promotions."""
    _show_events(" ".join(target or []), follow, tail, cluster, as_json)


def logs(
    target: Words = None,
    request: Annotated[
        str, typer.Option("--request", metavar="ID", help="Follow one request, over all nodes.")
    ] = "",
    grep: Annotated[str, typer.Option("--grep", metavar="TEXT", help="Lines that have it.")] = "",
    since: Annotated[str, typer.Option("--since", help="Not older than so long: 30s.")] = "",
    level: Annotated[
        str,
        typer.Option("--level", help="That or worse.", autocompletion=one_of_these(*LEVELS)),
    ] = LEVELS[0],
    follow: FollowOption = False,
    tail: TailOption = 200,
    cluster: ClusterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show what the nodes themselves said (of all, or of some), in order of time.

    Requests are among it: those that were slow, and the share that `logs:` of their tier asks
    for. Error pages, and `emu load` of its slowest requests, give the id for --request.
    """
    picked: dict[str, Any] = {"request": request, "grep": grep, "level": level}
    if since:
        picked["last_s"] = duration_s("--since", since)
    words = " ".join(target or ["all"])
    with attached(cluster) as client:
        found = client.call("logs", words, picked)
        lines = found["lines"][-tail:] if tail else []
        if request and not lines:
            output.note(f"no node told of request {request}: {WHY_NOT_TOLD}")
        elif not (lines or follow or as_json):
            output.note("no node has told of any such thing yet")
        try:
            while True:
                for line in lines:
                    _print_event(line, as_json)
                if not follow:
                    return
                found = client.call("logs", words, picked, found["cursor"])
                lines = found["lines"]
        except ControlEnded:
            output.note("the cluster has ended")


def _show_events(target: str, follow: bool, tail: int, cluster: str, as_json: bool) -> None:
    with attached(cluster) as client:
        past = client.call("events", 0, False, target)
        for event in past[-tail:] if tail else []:
            _print_event(event, as_json)
        since = past[-1]["index"] + 1 if past else 0
        try:
            while follow:
                for event in client.call("events", since, True, target):
                    _print_event(event, as_json)
                    since = event["index"] + 1
        except ControlEnded:
            output.note("the cluster has ended")


class TakesNumbers(Spoken):
    """A word such as `-1` or `-2.5e3` is a param, as no option is called so; "" is one, too."""

    any_texts = frozenset({"params"})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        plain = args.index("--") if "--" in args else len(args)
        marked = [MARK + each if _NEGATIVE.fullmatch(each) else each for each in args[:plain]]
        return super().parse_args(ctx, marked + args[plain:])


def call(
    target: Target,
    method: Annotated[str, typer.Argument(help="For example `ping`, `get`, `query`.")],
    params: Annotated[list[str] | None, typer.Argument(help="JSON, else strings.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Call the admin listener.")] = False,
    cluster: ClusterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Call a method of a node (or of several) and print what it answers."""
    values = [_json_or_text(each.removeprefix(MARK)) for each in params or []]
    answers = ask(cluster.removeprefix(MARK), "call", target, method, values, admin)
    if as_json:
        output.result(answers)
    failed = False
    for name, answer in answers.items():
        failed = failed or "error" in answer
        if as_json:
            continue
        prefix = f"{name}: " if len(answers) > 1 else ""
        if "error" in answer:
            output.note(f"{prefix}{': '.join(str(part) for part in answer['error'])}", style="red")
        else:
            value = answer["ok"]
            shown = jsons.plain(value)
            text = shown if isinstance(value, str | bytes) else jsons.dumps(shown, indent=1)
            output.line(f"{prefix}{text}")
    if failed:
        raise typer.Exit(output.FAILURE)


def _print_event(event: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.result(event)
    else:
        output.out.print(as_text(event))


def _json_or_text(word: str) -> Any:
    try:
        return json.loads(word, parse_constant=_no_json)
    except ValueError:
        return word
    except RecursionError:
        output.fail(f"`{word[:40]}...` is nested too deep", output.USAGE)


def _no_json(word: str) -> Any:
    raise ValueError(f"{word} is a word of Python's")
