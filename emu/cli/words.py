"""A word of the vocabulary as a command: its fields are the options, and the unit in a field's name
says how its text is read. So a new fault or operation needs nothing here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import typer

from emu.cli import output
from emu.cli.attach import (
    ClusterOption,
    JsonOption,
    complete_fault,
    complete_target,
    one_of_these,
)
from emu.machine import units
from emu.model.docstrings import description, without_example
from emu.model.faults import Fault

SELECTORS_HELP: Final = (
    "web-1, a tier, a region, all; `db primary`; one, two, half, minority or majority of `web`; "
    "several: web-1,lb-1 (`emu explain target`)."
)
OTHER_END: Final = "to"
Option = tuple[Any, Any]
"""The annotation that typer reads, and the default (... when it must be given)."""


def command_of(
    word: type[Fault],
    act: Callable[[dict[str, Any], dict[str, Any]], None],
    more: Mapping[str, Option],
    *,
    sole: bool = False,
) -> Callable[..., None]:
    """A function for typer that calls `act(fields, others)`: the values of the word's fields, and
    those of `more`, of `cluster` and of `as_json`. `sole`: what it is done to need not be said
    where there is only one."""
    hints = get_type_hints(word)
    own = fields(word)  # type: ignore[arg-type]
    options: dict[str, Option] = {
        each.name: _option(word, each, hints[each.name], sole) for each in own
    }
    options |= more
    options |= {"cluster": (ClusterOption, ""), "as_json": (JsonOption, False)}

    def command(**values: Any) -> None:
        mine = {each.name: values.pop(each.name) for each in own}
        act({each.name: _value(each, hints[each.name], mine[each.name]) for each in own}, values)

    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if default is ... else default,
                annotation=annotation,
            )
            for name, (annotation, default) in sorted(
                options.items(), key=lambda each: each[1][1] is not ...
            )
        ]
    )
    command.__annotations__ = {name: annotation for name, (annotation, _) in options.items()}
    command.__name__ = word.verb
    return command


def _option(word: type[Fault], each: Field[Any], hint: Any, sole: bool) -> Option:
    """Of one field. What must be said but is not the main field is asked for by `missing`."""
    name = units.key_of(each.name)
    if each.name == word.main:
        default: Any = [each.default]
        if each.default is MISSING:
            default = [] if sole else ...
        about = f"The {name} that is meant, if there are several." if sole else ""
        words = typer.Argument(
            metavar=f"{name.upper()}...", help=about or _main_help(word, each),
            autocompletion=complete_main(word), show_default=False,
        )  # fmt: skip
        return Annotated[list[str], words], default
    text = without_example(description(word, each)) or None
    flag = f"--{name.replace('_', '-')}"
    if hint is bool:
        return Annotated[bool, typer.Option(flag, help=text)], bool(each.default)
    if get_origin(hint) is Literal:
        choices = " | ".join(get_args(hint))
        chosen = one_of_these(*get_args(hint))
        option = typer.Option(flag, metavar=f"[{choices}]", help=text, autocompletion=chosen)
        return Annotated[str, option], each.default
    metavar = _metavar(each.name, hint)
    if each.default is MISSING:
        required = typer.Option(flag, metavar=metavar, help=text, show_default=False)
        return Annotated[str | None, required], None
    given: Any = each.default
    shown = units.format_value(each.name, given) if hint is float else str(given)
    ends = complete_target if name == OTHER_END else None
    option = typer.Option(flag, metavar=metavar, help=text, autocompletion=ends)
    return Annotated[str, option], shown


def _main_help(word: type[Fault], each: Field[Any]) -> str:
    """What its first words are; of targets which words there are."""
    return without_example(description(word, each)) or SELECTORS_HELP


def _metavar(name: str, hint: Any) -> str:
    """TIME, SIZE ... by the unit of its name."""
    if hint in (int, float):
        return units.unit_of(name).noun.rpartition(" ")[2].upper()
    return "TEXT"


def complete_main(word: type[Fault]) -> Callable[[str], list[str]]:
    return complete_fault if word.main == "what" else complete_target


def _value(each: Field[Any], hint: Any, text: Any) -> Any:
    if text is None:
        return None  # `missing` tells
    if get_origin(hint) is Literal and text not in get_args(hint):
        output.fail(
            f"{each.name}: {text!r} is not one of {', '.join(get_args(hint))}", output.USAGE
        )
    if hint not in (int, float):
        return " ".join(text) if hint is str and isinstance(text, list) else text
    if str(text).isdecimal() and each.name == "rate_per_s":
        text = f"{text}/s"
    try:
        number = units.parse_value(each.name, str(text))
        return whole(str(text), number) if hint is int else number
    except ValueError as error:
        output.fail(f"--{units.key_of(each.name)}: {error}", output.USAGE)


def whole(text: str, number: float) -> int:
    """The number that was read from the text, with all of its digits. Raises ValueError."""
    if not number.is_integer():
        raise ValueError(f"`{text}` is no whole number; write {number:.0f}")
    return int(text) if text.removeprefix("-").isdecimal() else int(number)


def missing(word: type[Fault], given: Mapping[str, Any]) -> list[str]:
    """The options that must be given and are not: `--to`."""
    return [
        f"--{units.key_of(each.name).replace('_', '-')}"
        for each in fields(word)  # type: ignore[arg-type]
        if each.default is MISSING and given[each.name] is None
    ]
