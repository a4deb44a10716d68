"""A primary's time in office: where it begins, who is woken by what was decided, and when it is to
act by itself. What it does then is overseer.py's.
"""

from __future__ import annotations

from collections.abc import Callable

from nodes.base import Clock, Timer
from nodes.parts.auto_reset_event import AutoResetEvent
from nodes.queue.deadlines import NEVER
from nodes.queue.desk import Desk
from nodes.queue.grouping import Grouping
from nodes.queue.reading import Reading
from nodes.queue.working import Working
from nodes.replica.driver import ReplicaDriver


class Office:
    """One broker's, whether it is in office or not."""

    def __init__(
        self,
        clock: Clock,
        driver: ReplicaDriver,
        desk: Desk,
        grouping: Grouping,
        working: Working,
        reading: Reading,
    ) -> None:
        self.wanted = AutoResetEvent()
        """Something is due, or an office begins."""
        self.burials = AutoResetEvent()
        """Something failed for good."""
        self.found: Callable[[], None] = lambda: None
        """The first decision of an office, before whatever anybody asks."""
        self._clock = clock
        self._driver = driver
        self._desk = desk
        self._grouping = grouping
        self._working = working
        self._reading = reading
        self._timer: Timer | None = None
        self._timer_s = NEVER
        self._entered: tuple[int, int] | None = None

    @property
    def is_entered(self) -> bool:
        """Whether decisions rest on what this epoch, and this state, began with."""
        return self._entered == (self._driver.core.epoch, self._driver.times_replaced)

    def enter(self) -> None:
        """Before a group of decisions: whoever has come into office, or to another state, begins
        with whole lengths of time."""
        if self.is_entered:
            return
        before, epoch = self._entered, self._driver.core.epoch
        self._entered = epoch, self._driver.times_replaced
        self._desk.begin_office(anew=before is None or before[0] != epoch)
        self._grouping.begin_office()
        self._working.begin_office()
        self._reading.begin_office()
        self.found()

    def role_changed(self, role: str) -> None:
        """Who waits hears that this is not the primary any more; or a new office begins."""
        self._reading.arrivals.wake_all()
        self.wanted.set()

    def wake(self) -> None:
        """After a group of decisions."""
        desk = self._desk
        woken, desk.woken = desk.woken, {}
        for topic, number in woken:
            self._reading.arrivals.wake(topic, number)
        if desk.has_dying:
            self.burials.set()
        self.arm()

    def arm(self) -> None:
        """Have `wanted` be set when the next length of time is over."""
        next_s = self._desk.deadlines.next_s
        if next_s >= self._timer_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = next_s
        self._timer = self._clock.call_at(next_s, self._ring)

    def _ring(self) -> None:
        self._timer, self._timer_s = None, NEVER
        self.wanted.set()
