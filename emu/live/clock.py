"""The time of the live world: real time, less what the computer withheld from the emulator.

Where all nodes share one thread, none of them ran while that could run and was not let, or was
stopped: nobody's time goes on then, and no lease, check or time-out ends for it. What was withheld
is counted, for the run's verdict.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Final

from nodes.metrics import Counter

LOOK_S: Final = 0.001
"""For how long the clock is read before it is looked up what was withheld: that costs 1.4 us."""
LEAST_S: Final = 0.0005
"""What is less is as well the price of waking up, and passes as time."""
LATE_S: Final = 0.005
"""Where nobody says what was withheld, a loop that is later than this for a timer, and has not
computed meanwhile, was not let run (stopped, asleep, blocked). Timers of epoll are late by less."""
STEP_S: Final = 0.25
"""A step of one task that computes for longer holds up all other nodes, who should not pay for it:
the rest of it counts by `SLOWED` only. Time that stood still could keep a loop that waits for it
waiting for ever."""
SLOWED: Final = 1 / 16


class LiveClock:
    """Seconds since the run began. Never goes back, and goes on whenever this thread runs."""

    def __init__(self, withheld: Counter | None = None, *, zero_s: float | None = None) -> None:
        """`withheld` counts the seconds that were taken out because the computer gave none.

        `zero_s`: when the time of several processes began, in real time. What is withheld from one
        of them passes for the others, so it is counted, and passes for all.
        """
        self.zero_s = time.monotonic() if zero_s is None else zero_s
        """In real time; moves on by what is taken out."""
        self._began_s = self.zero_s
        self._shared = zero_s is not None
        self.idle_until_s = inf
        """Until then the thread may sleep because it wants to."""
        self.step_began_s: Callable[[], float] = lambda: inf
        """When the task step that is running now began, in real time."""
        self.longest_s = 0.0
        """Withheld at a time, at most."""
        self._withheld = Counter() if withheld is None else withheld
        self._told_s = self._looked_s = 0.0
        self._look_at_s = LOOK_S
        self._waits = Waits()
        self._waited_s, self._ran_s = self._waits.total_s(), time.thread_time()
        self._step_s = inf
        self._step_spent_s = self._step_waited_s = 0.0
        self._measured_s = time.monotonic()

    def now_s(self) -> float:
        now_s = time.monotonic() - self.zero_s
        if now_s >= self._look_at_s:
            now_s = self._look(now_s)
        self._told_s = now_s
        return now_s

    def _look(self, now_s: float) -> float:
        """Take out what has been withheld since the last look, but nothing that was told."""
        waited_s, ran_s = self._waits.total_s(), time.thread_time()
        preempted_s = waited_s - self._waited_s
        late_s = now_s - max(self.idle_until_s, self._looked_s) - (ran_s - self._ran_s)
        self._waited_s, self._ran_s = waited_s, ran_s
        withheld_s = max(preempted_s, late_s) if late_s > LATE_S else preempted_s
        if withheld_s >= LEAST_S:
            withheld_s = min(withheld_s, now_s - self._told_s)
            self._withheld.value += withheld_s
            self.longest_s = max(self.longest_s, withheld_s)
            if not self._shared:
                self.zero_s += withheld_s
                now_s -= withheld_s
        held_s = min(self._held_s(now_s - self._looked_s, preempted_s), now_s - self._told_s)
        if not self._shared:
            self.zero_s += held_s
            now_s -= held_s
        self._looked_s, self._look_at_s = now_s, now_s + LOOK_S
        return now_s

    def _held_s(self, passed_s: float, preempted_s: float) -> float:
        """What to take out of `passed_s` because one step lasts too long."""
        began_s = self.step_began_s()
        if began_s != self._step_s:
            self._step_s, self._step_spent_s, self._step_waited_s = began_s, 0.0, 0.0
        self._step_waited_s += preempted_s
        spent_s = max(0.0, min(passed_s, time.monotonic() - began_s))
        self._step_spent_s += spent_s
        return max(0.0, min(spent_s, self._step_spent_s - STEP_S)) * (1 - SLOWED)

    @property
    def behind_s(self) -> float:
        """What has been taken out since it began."""
        return self.zero_s - self._began_s

    def step_waited_s(self) -> float:
        """For how long the step that is running now could have run, and was not let."""
        self._told_s = self._look(max(self._told_s, time.monotonic() - self.zero_s))
        return self._step_waited_s

    # --- being believed ------------------------------------------------------------------

    def measure(self) -> None:
        """What was withheld counts from now on."""
        self._withheld.value = self.longest_s = 0.0
        self._measured_s = time.monotonic()

    @property
    def withheld_s(self) -> float:
        return self._withheld.value

    @property
    def measured_s(self) -> float:
        """In how much real time that was."""
        return time.monotonic() - self._measured_s

    def close(self) -> None:
        self._waits.close()


class Waits:
    """For how long this thread was ready to run and did not, as Linux counts it; elsewhere 0."""

    def __init__(self) -> None:
        self._fd = -1
        if sys.platform == "linux":
            with suppress(OSError):  # a kernel without schedstats
                self._fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)

    def total_s(self) -> float:
        if self._fd < 0:
            return 0.0
        return int(os.pread(self._fd, 64, 0).split()[1]) / 1e9

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
