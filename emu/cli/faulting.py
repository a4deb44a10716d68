"""The verbs that break and mend a running cluster: one command for each of faults.VERBS.

Operations and faults that kinds bring are commands too (operating.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import typer
from rich.text import Text

from emu.cli import injecting, output
from emu.cli.attach import ClusterOption, JsonOption, attached
from emu.cli.words import command_of, missing
from emu.machine import units
from emu.model import faults

FOR_HELP = "Undo it after this long (5s, 2m)."
PANEL = "Break and mend"
OWN_COMMANDS = ("scale", "call")
"""Verbs whose command line reads better written by hand."""


def register(app: typer.Typer) -> None:
    """Add a command for each fault."""
    for verb, kind in faults.VERBS.items():
        if verb not in OWN_COMMANDS:
            told = inspect.getdoc(kind)
            app.command(verb, help=told, rich_help_panel=PANEL)(lasting(kind))
    app.command("scale", rich_help_panel=PANEL)(scale)
    app.command("faults", rich_help_panel=PANEL)(active)


def lasting(kind: type[faults.Fault]) -> Callable[..., None]:
    """The command of a fault: with `--for` it undoes itself."""

    def act(given: dict[str, Any], others: dict[str, Any]) -> None:
        unsaid = missing(kind, given)
        if unsaid:
            output.fail(f"say {', '.join(unsaid)}: `emu {kind.verb} --help`", output.USAGE)
        record = {"verb": kind.verb, **given}
        _inject(kind, record, others["for_text"], others["cluster"], others["as_json"])

    more = {"for_text": (Annotated[str, typer.Option("--for", help=FOR_HELP)], "")}
    return command_of(kind, act, more)


def _inject(
    kind: type[faults.Fault], record: dict[str, Any], for_text: str, cluster: str, as_json: bool
) -> None:
    for_s = None
    if for_text:
        try:
            for_s = units.parse_value("for_s", for_text)
        except ValueError as error:
            output.fail(f"--for: {error}", output.USAGE)
    with attached(cluster, timeout_s=None) as client:
        answer = injecting.until_done(client, client.begin("inject", record, for_s))
    if as_json:
        output.result(answer)
        return
    for name, state in answer["changed"].items():
        output.out.print(_stated(name, state))
    for name in answer["removed"]:
        output.out.print(f"{name} removed")
    what = " ".join([record["verb"], *_shown_main(kind, record)])
    until = f", undone in {for_text}" if for_text else ""
    output.note(f"{what}: done{until}")
    if "failed" in answer["changed"].values():
        output.fail("not all of them are up; `emu ps` says why")


def _stated(name: str, state: str) -> Text:
    return Text(f"{name} ").append(state, style=output.STATE_STYLES.get(state, ""))


def _shown(kind: type[faults.Fault], record: dict[str, Any]) -> str:
    return " ".join([kind.verb, *_shown_main(kind, record), _shown_rest(kind, record)])


def _shown_main(kind: type[faults.Fault], record: dict[str, Any]) -> list[str]:
    value = record[kind.main]
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _shown_rest(kind: type[faults.Fault], record: dict[str, Any]) -> str:
    """The fault's other options, as one writes them."""
    words = []
    for each in fields(kind):  # type: ignore[arg-type]
        value = record[each.name]
        if each.name == kind.main or (value == each.default and not isinstance(value, float)):
            continue
        if value == 0:
            continue
        name, number = units.key_of(each.name), isinstance(value, float)
        text = units.format_value(each.name, value) if number else str(value)
        words.append(f"--{name.replace('_', '-')}" + ("" if value is True else f" {text}"))
    return " ".join(words)


def scale(
    what: Annotated[list[str], typer.Argument(metavar="TIER=NODES...")],
    cluster: ClusterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let a tier have that many nodes: `emu scale web=5`. Those that go are drained first."""
    for each in what:
        tier, _, number = each.partition("=")
        if not number.isdigit() or not tier:
            output.fail(f"`{each}`: write TIER=NODES, for example web=5", output.USAGE)
        record = {"verb": "scale", "tier": tier, "nodes": int(number)}
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
    from emu.model.vocabulary import word_of  # with what kinds are made of: other verbs need it not

    kinds = {**faults.VERBS, **{each["verb"]: word_of(each) for each in told}}
    rows = [
        [
            each["number"],
            _shown(kinds[each["verb"]], each),
            f"{each['since_s']:.1f} s",
            f"{each['until_s']:.1f} s" if each["until_s"] else "healed",
        ]
        for each in found
    ]
    output.table(["number", "fault", "since", "until"], rows, {})
