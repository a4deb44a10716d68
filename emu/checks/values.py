"""Values of a history as checkers need them: hashable, and equal only where JSON would be equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Truth:
    """true or false, which Python would take for 1 and 0."""

    value: bool


@dataclass(frozen=True, slots=True)
class Mapped:
    """A JSON object."""

    items: frozenset[tuple[str, Any]]


def freeze(value: Any) -> Any:
    """The value as something hashable: lists become tuples."""
    kind = type(value)
    if kind is str or kind is int or value is None:
        return value
    if kind is bool:
        return Truth(value)
    if isinstance(value, list | tuple):
        return tuple(freeze(each) for each in value)
    if isinstance(value, dict):
        return Mapped(frozenset((str(key), freeze(each)) for key, each in value.items()))
    return value


def thaw(value: Any) -> Any:
    """What `freeze` was given (tuples become lists)."""
    if isinstance(value, Truth):
        return value.value
    if isinstance(value, Mapped):
        return {key: thaw(each) for key, each in sorted(value.items, key=lambda item: item[0])}
    if isinstance(value, dict):
        return {key: thaw(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [thaw(each) for each in value]
    return value
