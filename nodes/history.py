"""A history as a family's own model sees it: what clients did, in; what is wrong, out. Pure.

Records only. The general models, and how a history is taken apart by object, are emu/checks'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol


class Did(Protocol):
    """One operation of one sequential process, with its outcome.

    `begin` and `end` are places in the order of all events (an outcome that is not known never
    ends); times are only for people.
    """

    process: str | int
    f: str
    value: Any
    key: Any
    begin: int
    end: int
    invoked_s: float
    completed_s: float | None
    outcome: str
    """ok, fail (it did not happen) or info (nobody knows)."""
    result: Any
    """What was answered, once ok."""

    @property
    def is_ok(self) -> bool: ...


class Found(NamedTuple):
    """Something that a model forbids, with the fewest operations that show it."""

    text: str
    operations: Sequence[Any] = ()


Checker = Callable[[Sequence[Any]], Iterable[Found]]
"""Judges the operations (Did) on one object, in the order of their invocations."""


@dataclass(frozen=True, slots=True)
class Model:
    """How the histories of one sort of object are judged, under the name that workloads say."""

    check: Checker
    operations: tuple[str, ...] = ()
    """The words of a history's `f`; () for any. A file with others is refused."""
    weaker: Mapping[str, Checker] = field(default_factory=dict)
    """Promises that are less than the model's own, by the `guarantee` that workloads name."""
    count: Callable[[Sequence[Any]], Mapping[str, int | None]] | None = None
    """What the run's summary counts of the operations on one object, whether or not it may be: by
    the words of `expect:`. None where nobody can tell."""
