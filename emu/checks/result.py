"""What a checker says: anomalies with the operations that show them, and what it could not decide.

The words for operations and values live here too, so that every checker speaks alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from emu.checks.history import INFO, Operation
from emu.checks.values import thaw

UNKNOWN: Final = "unknown"
SHOWN_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something that the model's guarantee forbids. `operations`: the fewest that show it."""

    model: str
    key: Any
    text: str
    operations: tuple[Operation, ...] = ()

    def __str__(self) -> str:
        return f"{about(self.model, self.key)}: {self.text}"

    @property
    def span_s(self) -> tuple[float, float] | None:
        """From the first operation's beginning to the last one's end."""
        if not self.operations:
            return None
        times = [each.invoked_s for each in self.operations]
        ends = [each.completed_s for each in self.operations if each.completed_s is not None]
        return min(times), max(times + ends)


@dataclass(slots=True)
class CheckResult:
    """What came of checking a history."""

    anomalies: list[Anomaly] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """What could not be decided within the step budget, a line each."""

    @property
    def valid(self) -> bool | str:
        """True, False, or "unknown"; one anomaly outweighs what is unknown."""
        if self.anomalies:
            return False
        return UNKNOWN if self.unknown else True

    def add(self, other: CheckResult) -> None:
        self.anomalies += other.anomalies
        self.unknown += other.unknown


class Undecided(Exception):
    """The search ran out of its step budget."""


Checker = Callable[[Sequence[Operation]], Iterable["Finding"]]
"""Judges the operations on one object, in the order of their invocations. May raise Undecided."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An anomaly of one object, before it is said of which."""

    text: str
    operations: tuple[Operation, ...] = ()


# --- words -----------------------------------------------------------------------------------


def about(model: str, key: Any) -> str:
    """`register` or `register, key "x"`."""
    return model if key is None else f"{model}, key {show(key)}"


def show(value: Any) -> str:
    """A value (frozen or not) as short JSON."""
    text = json.dumps(thaw(value), default=str, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"


def at(seconds: float | None, decimals: int = 3) -> str:
    """`3.2 s`."""
    return "?" if seconds is None else f"{seconds:.{decimals}f}".rstrip("0").rstrip(".") + " s"


def what(operation: Operation) -> str:
    """The operation and its answer: `write 5`, `read → 5`, `cas 5 to 6 → refused`."""
    value, result = operation.value, operation.result
    if operation.f == "cas" and isinstance(value, list | tuple) and len(value) == 2:
        text = f"cas {show(value[0])} to {show(value[1])}"
        return text if not operation.is_ok else f"{text} → {'done' if result[2] else 'refused'}"
    text = operation.f if value is None else f"{operation.f} {show(value)}"
    if operation.is_ok and result != value:
        return f"{text} → {show(result)}"
    return text


def known_at(operation: Operation) -> str:
    """When its outcome was known: `acknowledged at 2.9 s`."""
    if operation.is_ok:
        return f"acknowledged at {at(operation.completed_s)}"
    if operation.outcome == INFO:
        return f"invoked at {at(operation.invoked_s)}, outcome unknown"
    return f"refused at {at(operation.completed_s)}"


def who(operation: Operation) -> str:
    """`write 7 by b (acknowledged at 2.9 s)`."""
    return f"{what(operation)} by {operation.process} ({known_at(operation)})"


def line(operation: Operation) -> str:
    """One line for lists: place, process, operation, times, outcome."""
    begins, ends = at(operation.invoked_s, 6), at(operation.completed_s, 6)
    times = f"{begins} to {ends}" if operation.completed_s is not None else f"from {begins} on"
    return (
        f"#{operation.begin} {operation.process}: {what(operation)}  [{times}, {operation.outcome}]"
    )
