"""What installed packages bring to emu, by entry points: `emu.kinds` and `emu.checkers`."""

from __future__ import annotations

from collections.abc import Container
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

T = TypeVar("T")


class ExtensionError(Exception):
    """An installed package brings what cannot be used; the message says which, and why."""


def named_by(group: str, wanted: type[T], *, taken: Container[str]) -> dict[str, T]:
    """Every object that entry points of the group name, in the order of their names.

    Raises ExtensionError for one that cannot be imported, is no `wanted`, or has a name that is
    `taken`.
    """
    found: dict[str, T] = {}
    for entry in sorted(entry_points(group=group), key=lambda each: each.name):
        thing = _loaded(entry)
        if not isinstance(thing, wanted):
            raise ExtensionError(f"{_shown(entry)} is no {wanted.__name__}")
        if entry.name in taken or entry.name in found:
            raise ExtensionError(f"{_shown(entry)}: the name is taken; uninstall one of the two")
        found[entry.name] = thing
    return found


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:  # somebody's module may raise anything while it is imported
        raise ExtensionError(f"{_shown(entry)}: {type(error).__name__}: {error}") from error


def _shown(entry: EntryPoint) -> str:
    package = f" of {entry.dist.name}" if entry.dist is not None else ""
    return f"the entry point {entry.group} `{entry.name}`{package} ({entry.value})"
