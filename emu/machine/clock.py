"""The clock of one machine: it may be off, drift and be stepped; its monotonic
time never goes back.

True time comes from the world's Timers (live, it stands still while the computer does not let emu
run); only the translation to and from the node's own time lives here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Final

import trio

from emu.machine import reach, units
from emu.machine.life import Life
from emu.machine.parking import Parked
from emu.machine.world import Timers
from nodes.base import Timer

EPOCH_S: Final = 1_700_000_000.0
"""What wall clocks read at the run's time 0, unless the world says otherwise."""
ClockState = tuple[float, float, float, float]


class MachineClock:
    """`emu.machine.world.ClockControl`: the oscillator, which outlives every generation.

    Monotonic time goes on over restarts, as it does for a process that is started again.
    """

    def __init__(
        self,
        timers: Timers,
        *,
        offset_s: float = 0.0,
        drift_ratio: float = 0.0,
        epoch_s: float = EPOCH_S,
        reached: Callable[[str], object] = reach.not_counted,
    ) -> None:
        """`epoch_s` is the Unix time at which the run's true time is 0."""
        self._timers = timers
        self.cpu_s = timers.cpu_s
        self._reached = reached
        self._late_s = 0.0
        self._anchor_true_s = self._anchor_s = timers.now_s()
        self._rate = _rate(drift_ratio)
        self._wall_ahead_s = epoch_s + offset_s
        self._pending: dict[NodeTimer, None] = {}

    def monotonic_s(self) -> float:
        """The machine's own monotonic time."""
        return self._anchor_s + (self._timers.now_s() - self._anchor_true_s) * self._rate

    def wall_s(self) -> float:
        return self._wall_ahead_s + self.monotonic_s()

    def outside_s(self) -> float:
        return self.monotonic_s() + self._timers.withheld_s()

    def step(self, seconds: float) -> None:
        """Jump the wall clock; monotonic time does not move."""
        self._wall_ahead_s += seconds

    def set_drift(self, drift_ratio: float) -> None:
        """Run at another rate from now on; what is pending is due at the same monotonic time."""
        self._anchor_true_s, self._anchor_s = self._timers.now_s(), self.monotonic_s()
        self._rate = _rate(drift_ratio)
        self._arm_again()

    def state(self) -> ClockState:
        """All that its readings depend on, beside the true time."""
        return self._anchor_true_s, self._anchor_s, self._rate, self._wall_ahead_s

    def restore(self, state: ClockState) -> None:
        """Read from now on what the clock of that state reads at the same true time."""
        self._anchor_true_s, self._anchor_s, self._rate, self._wall_ahead_s = state
        self._arm_again()

    def _arm_again(self) -> None:
        for timer in self._pending:
            if timer.armed is not None:
                timer.armed.cancel()
            timer.armed = self._timers.call_at(self._due_s(timer), timer.fire)

    def set_late(self, up_to_s: float, rng: random.Random) -> None:
        """Timers that are armed from now on come late, each by any time up to that."""
        self._late_s, self._late_rng = up_to_s, rng

    def _due_s(self, timer: NodeTimer) -> float:
        """The true time at which it is to fire."""
        due_s = self._true_s(timer.when_s)
        if self._late_s:
            self._reached(reach.LATE_TIMER)
            due_s += self._late_rng.uniform(0.0, self._late_s)
        return due_s

    def _at(self, true_s: float) -> float:
        return self._anchor_s + (true_s - self._anchor_true_s) * self._rate

    def _true_s(self, when_s: float) -> float:
        """The earliest true time at which `monotonic_s()` is not below `when_s`."""
        true_s = self._anchor_true_s + (when_s - self._anchor_s) / self._rate
        while self._at(true_s) < when_s:  # rounding; else a node would wake early, and spin
            true_s = math.nextafter(true_s, math.inf)
        return true_s

    def arm(self, timer: NodeTimer) -> None:
        if math.isfinite(timer.when_s):
            self._pending[timer] = None
            timer.armed = self._timers.call_at(self._due_s(timer), timer.fire)

    def disarm(self, timer: NodeTimer) -> None:
        self._pending.pop(timer, None)
        if timer.armed is not None:
            timer.armed.cancel()
            timer.armed = None

    def disarm_all_of(self, life: Life) -> None:
        for timer in [each for each in self._pending if each.life is life]:
            timer.cancel()


class NodeTimer:
    """A callback of one generation at a monotonic time of its machine."""

    __slots__ = ("armed", "callback", "clock", "life", "when_s")

    def __init__(
        self, clock: MachineClock, life: Life, when_s: float, callback: Callable[[], object]
    ) -> None:
        self.clock = clock
        self.life = life
        self.when_s = when_s
        self.callback: Callable[[], object] | None = callback
        self.armed: Timer | None = None

    def fire(self) -> None:
        self.armed = None
        self.clock.disarm(self)
        self.life.call(self._run)

    def _run(self) -> None:
        callback, self.callback = self.callback, None
        if callback is not None:  # it may be cancelled while a pause holds it
            callback()

    def cancel(self) -> None:
        self.callback = None
        self.clock.disarm(self)


class NodeClock:
    """`nodes.base.Clock`: what one generation sees of its machine's clock."""

    def __init__(self, clock: MachineClock, life: Life) -> None:
        self._clock = clock
        self._life = life
        self.monotonic_s = clock.monotonic_s
        self.outside_s = clock.outside_s
        self.cpu_s = clock.cpu_s
        life.own(self)

    def wall_s(self) -> float:
        return self._clock.wall_s()

    async def sleep(self, seconds: float) -> None:
        """Always a checkpoint; `math.inf` sleeps until cancelled."""
        if seconds > 0 and not self._life.dead:
            parked = Parked()
            timer = self.call_at(self.monotonic_s() + seconds, parked.wake)
            try:
                await parked.wait()
            finally:
                timer.cancel()
        else:
            await trio.lowlevel.checkpoint()
        self._life.check()

    def call_at(self, monotonic_s: float, callback: Callable[[], object]) -> NodeTimer:
        """Held while the node is paused, never made once it is dead."""
        assert monotonic_s == monotonic_s, "a timer at NaN"
        timer = NodeTimer(self._clock, self._life, monotonic_s, callback)
        if not self._life.dead:
            self._clock.arm(timer)
        return timer

    def end(self, *, crash: bool) -> None:
        """The generation is dead: forget what it had asked for."""
        self._clock.disarm_all_of(self._life)


def _rate(drift_ratio: float) -> float:
    units.check_drift(drift_ratio)
    return 1.0 + drift_ratio
