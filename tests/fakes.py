"""A world's small parts for unit tests: timers advanced by hand, a holder that holds nobody."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from trio.testing import wait_all_tasks_blocked

from emu.machine.life import Life


class FakeTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeTimers:
    """emu.machine.world.Timers whose time moves only in `run_until` and `run_for`."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self._heap: list[tuple[float, int, FakeTimer]] = []
        self._asked = 0

    def now_s(self) -> float:
        return self.time_s

    def withheld_s(self) -> float:
        return 0.0

    def cpu_s(self) -> float:
        return 0.0

    def call_at(self, when_s: float, callback: Callable[[], object]) -> FakeTimer:
        timer = FakeTimer(callback)
        self._asked += 1
        heappush(self._heap, (when_s, self._asked, timer))
        return timer

    @property
    def armed(self) -> int:
        return sum(timer.callback is not None for _, _, timer in self._heap)

    def next_s(self) -> float:
        """When the next timer is due; fails if nothing more can happen."""
        return min(when_s for when_s, _, timer in self._heap if timer.callback is not None)

    async def run_until(self, until_s: float) -> None:
        """Let every task run, then all timers of the next moment, then the tasks they woke ..."""
        await wait_all_tasks_blocked()
        while self._heap and self._heap[0][0] <= until_s:
            self.time_s = max(self.time_s, self._heap[0][0])
            while self._heap and self._heap[0][0] <= self.time_s:
                timer = heappop(self._heap)[2]
                if timer.callback is not None:
                    timer.callback()
            await wait_all_tasks_blocked()
        self.time_s = max(self.time_s, until_s)

    async def run_for(self, seconds: float) -> None:
        await self.run_until(self.time_s + seconds)


class NoHolder:
    """Pauses nobody's tasks; a Life still holds back its callbacks."""

    def hold(self, life: Life) -> None: ...
    def release(self, life: Life) -> None: ...


def a_life(node: str = "node-1", generation: int = 1) -> Life:
    return Life(node, generation, NoHolder())
