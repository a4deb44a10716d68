"""The verbs that break and mend a running cluster: one command for each of faults.VERBS.

Operations and faults that kinds bring are commands too (operating.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Annotated, Any

import typer
from rich.text import Text

from emu.cli import injecting, output
from emu.cli.attach import ClusterOption, JsonOption, attached
from emu.cli.explain import EXAMPLE
from emu.cli.helping import help_of
from emu.cli.spoken import Spoken
from emu.cli.words import command_of, missing
from emu.machine import units
from emu.model import faults
from protocols.numerals import whole

SCALE_HELP = "Which tier, and how many members it shall have: web=5."
FOR_HELP = "Undo it after this long (5s, 2m)."
PANEL = "Break and mend"
MAX_DIGITS = 9
"""Of a number of nodes."""
OWN_COMMANDS = ("scale", "call")
"""Verbs whose command line reads better written by hand."""


def register(app: typer.Typer) -> None:
    """Add a command for each fault."""
    for verb, kind in faults.VERBS.items():
        if verb not in OWN_COMMANDS:
            told = help_of(kind.__doc__ or "")
            app.command(verb, cls=Spoken, rich_help_panel=PANEL, **told)(lasting(kind))
    for name, act, example in (("scale", scale, "scale web=5"), ("faults", active, "faults")):
        told = help_of(act.__doc__ or "")
        epilog = f"{EXAMPLE}emu {example}"
        app.command(name, cls=Spoken, epilog=epilog, rich_help_panel=PANEL, **told)(act)


def lasting(kind: type[faults.Fault]) -> Callable[..., None]:
    """The command of a fault: with `--for` it undoes itself."""

    def act(given: dict[str, Any], others: dict[str, Any]) -> None:
        unsaid = missing(kind, given)
        if unsaid:
            output.fail(f"say {', '.join(unsaid)}: `emu {kind.verb} --help`", output.USAGE)
        try:
            kind(**given)
        except ValueError as error:
            output.fail(f"{_as_flags(str(error))}: `emu {kind.verb} --help`", output.USAGE)
        record = {"verb": kind.verb, **given}
        _inject(kind, record, others.get("for_text", ""), others["cluster"], others["as_json"])

    lasts = kind.verb not in faults.PASSING
    more = {"for_text": (Annotated[str, typer.Option("--for", help=FOR_HELP)], "")} if lasts else {}
    return command_of(kind, act, more)


def _as_flags(text: str) -> str:
    """`flip_bit` of a message as the command line has it: `--flip-bit`."""
    return re.sub(r"`([a-z_]+)`", lambda word: f"`--{word[1].replace('_', '-')}`", text)


def _inject(
    kind: type[faults.Fault], record: dict[str, Any], for_text: str, cluster: str, as_json: bool
) -> None:
    for_s = None
    if for_text:
        try:
            for_s = units.parse_value("for_s", for_text)
        except ValueError as error:
            output.fail(f"--for: {error}", output.USAGE)
    at_once = "Ctrl-C, or --now" if "now" in record else "Ctrl-C"
    with attached(cluster, timeout_s=None) as client:
        answer = injecting.until_done(
            client, client.begin("inject", record, for_s), at_once=at_once
        )
        told = client.call("words") if answer["undone"] else []
    if as_json:
        output.result(answer)
        return
    for name, state in answer["changed"].items():
        output.out.print(_stated(name, state))
    for name in answer["removed"]:
        output.out.print(f"{name} removed")
    for each in answer["undone"]:
        output.note(f"{_described(each, told)}: undone")
    what = " ".join([record["verb"], *_shown_main(kind, record)])
    output.note(f"{what}: {_what_came(kind, answer, for_text)}")
    if "failed" in answer["changed"].values():
        output.fail("not all of them are up; `emu ps` says why")


def _what_came(kind: type[faults.Fault], answer: Mapping[str, Any], for_text: str) -> str:
    """What the verb came to, and what ends it."""
    changed = answer["changed"] or answer["removed"] or answer["undone"]
    if kind.verb in faults.OF_LIVES and not changed:
        return "nothing to do: it is so already"
    if for_text:
        return f"done, undone in {for_text}"
    if not answer["lasts"]:
        return "done"
    until = f"done; `emu heal {answer['number']}` undoes it"
    if answer["restarts"]:
        until += " (`restart: on-failure` starts what fails by itself, not what you end)"
    return until


def _stated(name: str, state: str) -> Text:
    return Text(f"{name} ").append(state, style=output.STATE_STYLES.get(state, ""))


def _shown(kind: type[faults.Fault], record: dict[str, Any]) -> str:
    words = [kind.verb, *_shown_main(kind, record), _shown_rest(kind, record)]
    return " ".join(word for word in words if word)


def _shown_main(kind: type[faults.Fault], record: dict[str, Any]) -> list[str]:
    value = record[kind.main]
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _shown_rest(kind: type[faults.Fault], record: dict[str, Any]) -> str:
    """The fault's other options, as one writes them."""
    words = []
    for each in fields(kind):  # type: ignore[arg-type]
        value = record[each.name]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if each.name == kind.main or value in (0, "") or (value == each.default and not is_number):
            continue
        name, number = units.key_of(each.name), isinstance(value, float)
        text = units.format_value(each.name, value) if number else str(value)
        words.append(f"--{name.replace('_', '-')}" + ("" if value is True else f" {text}"))
    return " ".join(words)


def scale(
    what: Annotated[list[str], typer.Argument(metavar="TIER=NODES...", help=SCALE_HELP)],
    cluster: ClusterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let a tier have that many nodes: `emu scale web=5`. Those that go are drained first."""
    for each in what:
        tier, _, number = each.partition("=")
        nodes = whole(number, MAX_DIGITS)
        if nodes is None or not tier:
            output.fail(f"`{each}`: write TIER=NODES, for example web=5", output.USAGE)
        record = {"verb": "scale", "tier": tier, "nodes": nodes}
        _inject(faults.Scale, record, "", cluster, as_json)


def active(cluster: ClusterOption = "", as_json: JsonOption = False) -> None:
    """List the faults that are active now."""
    with attached(cluster) as client:
        found = client.call("active")
        told = client.call("words") if found else []
    if as_json:
        output.result(found)
        return
    if not found:
        output.note("nothing is broken")
        return
    rows = [
        [
            each["number"],
            _described(each, told),
            f"at {each['since_s']:.1f} s",
            f"in {each['left_s']:.1f} s" if each["left_s"] is not None else "when healed",
        ]
        for each in found
    ]
    output.table(["number", "fault", "began", "ends"], rows, {}, droppable=("began",))


def _described(record: dict[str, Any], told: list[dict[str, Any]]) -> str:
    """A fault as one writes it; `told`: the words that kinds bring."""
    kind = faults.VERBS.get(record["verb"])
    if kind is None:
        from emu.model.vocabulary import word_of  # with what kinds are made of: others need it not

        kind = next(word_of(each) for each in told if each["verb"] == record["verb"])
    return _shown(kind, record)
