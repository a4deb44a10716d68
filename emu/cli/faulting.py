"""The verbs that break and mend a running cluster: one command for each entry of faults.VERBS.

The options are the fault's own fields; the unit in a field's name says how its text is read. So a
new fault needs nothing here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from rich.text import Text

from emu.cli import injecting, output
from emu.cli.attach import ClusterOption, JsonOption, attached, complete_target
from emu.cli.promoting import promote
from emu.cli.resharding import reshard
from emu.machine import units
from emu.model import faults

FOR_HELP = "Undo it after this long (5s, 2m)."
OWN_COMMANDS = ("scale", "call", "reshard", "promote")
"""Verbs whose command line reads better written by hand."""


def register(app: typer.Typer) -> None:
    """Add a command for each fault."""
    for verb, kind in faults.VERBS.items():
        if verb not in OWN_COMMANDS:
            told = inspect.getdoc(kind)
            app.command(verb, help=told, rich_help_panel="Break and mend")(_command(kind))
    app.command("scale", rich_help_panel="Break and mend")(scale)
    app.command("reshard", rich_help_panel="Break and mend")(reshard)
    app.command("promote", rich_help_panel="Break and mend")(promote)
    app.command("faults", rich_help_panel="Break and mend")(active)


def _command(kind: type[faults.Fault]) -> Callable[..., None]:
    hints = get_type_hints(kind)
    parameters = []
    annotations: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]
        annotation, default = _option(kind, each, hints[each.name])
        annotations[each.name] = annotation
        parameters.append((each.name, default))

    def command(**values: Any) -> None:
        for_text, cluster, as_json = (
            values.pop("for_text"), values.pop("cluster"), values.pop("as_json")
        )  # fmt: skip
        record = {"verb": kind.verb}
        for each in fields(kind):  # type: ignore[arg-type]
            record[each.name] = _value(each, hints[each.name], values[each.name])
        _inject(record, for_text, cluster, as_json)

    annotations["for_text"] = Annotated[str, typer.Option("--for", help=FOR_HELP)]
    annotations["cluster"] = ClusterOption
    annotations["as_json"] = JsonOption
    parameters += [("for_text", ""), ("cluster", ""), ("as_json", False)]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=default,
                annotation=annotations[name],
            )
            for name, default in sorted(parameters, key=lambda each: each[1] is not ...)
            for default in [inspect.Parameter.empty if default is ... else default]
        ]
    )
    command.__annotations__ = annotations
    command.__name__ = kind.verb
    return command


def _option(kind: type[faults.Fault], each: Field[Any], hint: Any) -> tuple[Any, Any]:
    """The typer annotation and default (... when required) of one field."""
    name = units.key_of(each.name)
    if each.name == kind.main:
        metavar, default = name.upper(), ... if each.default is MISSING else [each.default]
        words = typer.Argument(metavar=f"{metavar}...", autocompletion=complete_target)
        return Annotated[list[str], words], default
    flag = f"--{name.replace('_', '-')}"
    if hint is bool:
        return Annotated[bool, typer.Option(flag)], bool(each.default)
    if get_origin(hint) is Literal:
        choices = " | ".join(get_args(hint))
        return Annotated[str, typer.Option(flag, metavar=f"[{choices}]")], each.default
    given: Any = each.default
    shown = units.format_value(each.name, given) if hint is float else str(given)
    return Annotated[str, typer.Option(flag)], shown


def _value(each: Field[Any], hint: Any, text: Any) -> Any:
    if get_origin(hint) is Literal and text not in get_args(hint):
        output.fail(
            f"{each.name}: {text!r} is not one of {', '.join(get_args(hint))}", output.USAGE
        )
    if hint not in (int, float):
        return " ".join(text) if hint is str and isinstance(text, list) else text
    try:
        return int(text) if hint is int else units.parse_value(each.name, str(text))
    except ValueError as error:
        output.fail(f"--{units.key_of(each.name)}: {error}", output.USAGE)


def _inject(record: dict[str, Any], for_text: str, cluster: str, as_json: bool) -> None:
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
    what = " ".join([record["verb"], *_shown_main(record)])
    until = f", undone in {for_text}" if for_text else ""
    output.note(f"{what}: done{until}")
    if "failed" in answer["changed"].values():
        output.fail("not all of them are up; `emu ps` says why")


def _stated(name: str, state: str) -> Text:
    return Text(f"{name} ").append(state, style=output.STATE_STYLES.get(state, ""))


def _shown_main(record: dict[str, Any]) -> list[str]:
    value = record[faults.VERBS[record["verb"]].main]
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _shown_rest(record: dict[str, Any]) -> str:
    """The fault's other options, as one writes them."""
    kind = faults.VERBS[record["verb"]]
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
        _inject({"verb": "scale", "tier": tier, "nodes": int(number)}, "", cluster, as_json)


def active(cluster: ClusterOption = "", as_json: JsonOption = False) -> None:
    """List the faults that are active now."""
    with attached(cluster) as client:
        found = client.call("active")
    if as_json:
        output.result(found)
        return
    if not found:
        output.note("nothing is broken")
        return
    rows = [
        [
            each["number"],
            " ".join([each["verb"], *_shown_main(each), _shown_rest(each)]),
            f"{each['since_s']:.1f} s",
            f"{each['until_s']:.1f} s" if each["until_s"] else "healed",
        ]
        for each in found
    ]
    output.table(["number", "fault", "since", "until"], rows, {})
