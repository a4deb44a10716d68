"""A node's own clock over the world's timers: offset, drift, steps. Both worlds use it.

Node time advances `1 + drift_ratio` times as fast as true time. Callbacks run through the node's
life: held while it
is paused, never when it is dead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from trio import lowlevel

from emu.life import Life
from emu.world import Timers
from nodes.base import Timer

EPOCH_S: Final = 1_700_000_000.0
"""What a world's wall clocks read at its time 0, unless the world says otherwise."""


class MachineClock:
    """The clock hardware: it outlives generations, and is what faults turn
    (emu.world.ClockControl)."""

    def __init__(
        self,
        timers: Timers,
        *,
        offset_s: float = 0.0,
        drift_ratio: float = 0.0,
        epoch_s: float = EPOCH_S,
    ) -> None:
        self.timers = timers
        self.rate = 1.0 + drift_ratio
        self._base_true_s = timers.now_s()
        self._base_node_s = self._base_true_s
        self._wall_s = epoch_s + offset_s

    def now_s(self) -> float:
        """Monotonic node time."""
        if self.rate == 1.0 and self._base_true_s == self._base_node_s:
            return self.timers.now_s()
        return self._base_node_s + (self.timers.now_s() - self._base_true_s) * self.rate

    def wall_s(self) -> float:
        return self._wall_s + self.now_s()

    def step(self, seconds: float) -> None:
        """Jump the wall clock; monotonic time does not move."""
        self._wall_s += seconds

    def set_drift(self, drift_ratio: float) -> None:
        """Change the rate from now on; timers that are armed keep their true time."""
        self._base_node_s, self._base_true_s = self.now_s(), self.timers.now_s()
        self.rate = 1.0 + drift_ratio

    def true_s(self, node_s: float) -> float:
        """When, in true time, this clock will read `node_s`."""
        if self.rate == 1.0 and self._base_true_s == self._base_node_s:
            return node_s
        return self._base_true_s + (node_s - self._base_node_s) / self.rate


class NodeClock:
    """What one generation sees of it (nodes.base.Clock)."""

    def __init__(self, machine: MachineClock, life: Life) -> None:
        self._machine = machine
        self._life = life

    def monotonic_s(self) -> float:
        return self._machine.now_s()

    def wall_s(self) -> float:
        return self._machine.wall_s()

    def call_at(self, monotonic_s: float, callback: Callable[[], object]) -> Timer:
        life = self._life
        at_s = self._machine.true_s(monotonic_s)
        return self._machine.timers.call_at(at_s, lambda: life.call(callback))

    async def sleep(self, seconds: float) -> None:
        self._life.check()
        if seconds <= 0:
            await lowlevel.checkpoint()
        else:
            await self._park(self._machine.now_s() + seconds)
        self._life.check()

    async def _park(self, until_s: float) -> None:
        task: lowlevel.Task | None = lowlevel.current_task()

        def wake() -> None:
            nonlocal task
            sleeper, task = task, None
            if sleeper is not None:
                lowlevel.reschedule(sleeper)

        timer = self.call_at(until_s, wake)

        def abort(_: Any) -> lowlevel.Abort:
            nonlocal task
            task = None
            timer.cancel()
            return lowlevel.Abort.SUCCEEDED

        await lowlevel.wait_task_rescheduled(abort)
