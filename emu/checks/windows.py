"""Histories too long to be kept: what is over is judged, and only what it leads to is carried on.

An object is cut where nothing was under way: what ended before the cut happened before all that
began after it, in every order there may be. So the states in which it can be there, each with what
may still take effect, are all that later operations can tell of. The judgement is the same as that
of the whole; `tests/checks/test_windows.py` holds them against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from emu.checks.history import Operation
from emu.checks.objects import ABSENT, effect, explain
from emu.checks.result import Finding, Undecided
from emu.checks.search import MAX_STEPS, Possible, Stuck, possible_after

MODELS: Final = ("register", "cas-register", "kv")
"""Those whose objects are in one state at a time: as it is, not as what made it so."""
WINDOW_STEPS: Final = 20_000
"""Of a search among the operations up to one cut: more hold the loop for too long."""
MAX_POSSIBLE: Final = 64
PIECE: Final = 50

IsOver = Callable[[Operation], bool]
"""Whether nothing more will be heard of an operation."""


class LongObject:
    """One register, or one key of a store, of which the operations come piece by piece."""

    def __init__(self) -> None:
        self.operations = 0
        """How many were taken."""
        self.wrong = False
        """One anomaly was found; what comes after it means nothing."""
        self._possible = [Possible(ABSENT)]
        self._tried = 0

    def take(
        self, operations: Sequence[Operation], is_over: IsOver
    ) -> tuple[list[Finding], list[Operation]]:
        """What is wrong with those up to a cut, a millisecond's work, and those after it: whoever
        calls keeps them, and gives them again, if need be with what has come since."""
        count = cut_before(operations, is_over, max(PIECE, 2 * self._tried))
        if count <= self._tried:
            return [], list(operations)
        try:
            found = self._judge(operations[:count], WINDOW_STEPS)
        except Undecided:
            self._tried = count
            return [], list(operations)
        self._tried = 0
        return found, list(operations[count:])

    def end(self, operations: Sequence[Operation], max_steps: int = MAX_STEPS) -> list[Finding]:
        """All there is to come. Raises Undecided."""
        return self._judge(operations, max_steps)

    def _judge(self, operations: Sequence[Operation], max_steps: int) -> list[Finding]:
        if not self.wrong:
            after = possible_after(operations, effect, self._possible, max_steps=max_steps)
            if isinstance(after, Stuck):
                self.wrong, self._possible = True, []
                self.operations += len(operations)
                return [explain(after, operations)]
            if len(after) > MAX_POSSIBLE:
                raise Undecided
            self._possible = after
        self.operations += len(operations)
        return []


def cut_before(operations: Sequence[Operation], is_over: IsOver, most: int) -> int:
    """How many of the operations on one object (in the order of their invocations) are before a
    moment at which nothing was under way: the last one within `most`, or the first. What is of
    unknown outcome is under way for ever, and does not count."""
    found = 0
    for count in _cuts(operations, is_over):
        if found and count > most:
            break
        found = count
    return found


def _cuts(operations: Sequence[Operation], is_over: IsOver) -> Iterator[int]:
    latest_end = -1
    for place, operation in enumerate(operations):
        if operation.begin > latest_end and place:
            yield place
        if not is_over(operation):
            return
        if operation.is_ok:
            latest_end = max(latest_end, operation.end)
    yield len(operations)
