"""The one timer of a replica's driver: the core's deadline, met even after a stall of the process.

What the deadline means is the core's business (protocols/replication/replica.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nodes.base import Clock, Timer
from protocols.replication.replica import NEVER

GRACE_S: Final = 0.01
STALL_RATIO: Final = 0.2
"""A timer this part of the detection time-out late means that this process was held up."""


class Alarm:
    """Calls `due` at the time that was last set, or soon after an earlier one.

    What is late by more than `stall_s` was held up, with all that had arrived: `stalled(late_s)` is
    told, and what has arrived is taken in before anything is decided.
    """

    def __init__(
        self,
        clock: Clock,
        stall_s: float,
        due: Callable[[], None],
        stalled: Callable[[float], None],
    ) -> None:
        self._clock = clock
        self._stall_s = stall_s
        self._due = due
        self._stalled = stalled
        self._timer: Timer | None = None
        self._timer_s = 0.0
        self._in_grace = False

    def set(self, deadline_s: float) -> None:
        """A timer that comes too early is left as it is: most deadlines are put off again before
        they come."""
        if self._timer is not None:
            if self._in_grace or self._timer_s <= deadline_s != NEVER:
                return
            self._timer.cancel()
            self._timer = None
        if deadline_s != NEVER:
            self._call_at(deadline_s)

    def _call_at(self, monotonic_s: float) -> None:
        self._timer_s = monotonic_s
        self._timer = self._clock.call_at(monotonic_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now_s = self._clock.monotonic_s()
        late_s = now_s - self._timer_s
        self._in_grace = late_s > self._stall_s and not self._in_grace
        if self._in_grace:
            self._stalled(late_s)
            self._call_at(now_s + GRACE_S)
        else:
            self._due()
