"""One thing to be explained, and the options of any dataclass as such things. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, is_dataclass
from functools import cached_property
from types import NoneType, UnionType
from typing import (
    Any,
    Final,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from emu.machine import units
from emu.model.docstrings import description
from emu.topology import schema

NEEDED: Final = "must be given"
NOT_SAID: Final = "nothing"
NUMBER: Final = 5
"""In an example of a number with a unit."""


class Entry(NamedTuple):
    """`name` as it is written; what it is, in a sentence; and how it is said."""

    name: str
    text: str
    unit: str = ""
    """What its value may be: `a time (s, ms)`, `quorum | async`."""
    default: str = ""
    example: str = ""
    options: Sequence[Entry] = ()
    """Its own, where it is a word with options."""
    more: str = ""
    """What else there is to say, as lines."""

    @property
    def lacks(self) -> list[str]:
        """What is not said of it and must be."""
        said = {"text": self.text, "example": self.example}
        return [name for name, value in said.items() if not value.strip()]


class OptionsOf(Sequence[Entry]):
    """The fields of dataclasses as YAML writes them, those of mappings in it as `mix.home`. They
    are looked up when they are asked for: most of the time a name is only looked for."""

    def __init__(self, *configs: type, leave_out: tuple[str, ...] = ()) -> None:
        self._configs = configs
        self._leave_out = leave_out

    @cached_property
    def _entries(self) -> list[Entry]:
        return [one for each in self._configs for one in _options(each, self._leave_out, "")]

    @overload
    def __getitem__(self, place: int) -> Entry: ...
    @overload
    def __getitem__(self, place: slice) -> list[Entry]: ...
    def __getitem__(self, place: int | slice) -> Entry | list[Entry]:
        return self._entries[place]

    def __len__(self) -> int:
        return len(self._entries)


def _options(config: type, leave_out: tuple[str, ...], inside: str) -> Iterator[Entry]:
    hints = get_type_hints(config)
    for key, each in schema.keys_of(config).items():
        if each.name in leave_out:
            continue
        hint = hints[each.name]
        text = description(config, each)
        example = _example(key, each, hint, text)
        yield Entry(f"{inside}{key}", text, unit_of(each, hint), default_of(each), example)
        for nested in schema.dataclasses_in(hint):
            yield from _options(nested, (), f"{inside}{key}.")


def text_of(thing: Any) -> str:
    """Its docstring, on one line."""
    return " ".join((inspect.getdoc(thing) or "").split())


def unit_of(each: Field[Any], hint: Any) -> str:
    """What a value may be, for people."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        present = [one for one in arguments if one is not NoneType]
        return " or ".join(dict.fromkeys(unit_of(each, one) for one in present))
    if origin is Literal:
        return " | ".join(str(one) for one in arguments if one != "")
    if origin in (list, tuple):
        return "words" if arguments[:1] == (str,) else "values"
    if origin is dict:
        return f"{unit_of(each, arguments[1])} for each name"
    if hint is bool:
        return "true | false"
    if hint in (int, float):
        return _number(each.name, hint)
    return "text" if hint is str else "a mapping" if is_dataclass(hint) else "a value"


def _number(name: str, hint: Any) -> str:
    unit = units.unit_of(name)
    if unit is units.PLAIN:
        return "a whole number" if hint is int else "a number"
    return f"{unit.noun} ({', '.join(unit.examples)})"


def default_of(each: Field[Any]) -> str:
    """What holds where it is not said."""
    if each.default_factory is not MISSING:
        made = each.default_factory()
        return "as below" if is_dataclass(made) else NOT_SAID if not made else str(made)
    if each.default is MISSING:
        return NEEDED
    return written(each.name, each.default) or NOT_SAID


def written(name: str, value: Any) -> str:
    """A value as one writes it in YAML; "" for none."""
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return units.format_value(name, value)
    return str(value)


def _example(key: str, each: Field[Any], hint: Any, text: str) -> str:
    """`timeout: 5s`: what its text shows, else its default, else what its type allows."""
    shown = re.search(rf"`({re.escape(key)}: [^`]+)`", text)
    if shown:
        return shown[1]
    default = each.default if each.default is not MISSING else None
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        hint = next(one for one in arguments if one is not NoneType)
        origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        others = [one for one in arguments if one not in (default, "")]
        return f"{key}: {(others or arguments)[0]}"
    if hint is bool:
        return f"{key}: {'false' if default is True else 'true'}"
    if default not in (None, "", (), 0):
        return f"{key}: {written(each.name, default)}"
    unit = units.unit_of(each.name)
    if hint in (int, float):
        return f"{key}: {NUMBER}{unit.examples[0] if unit.examples else ''}"
    return ""
