"""Virtual time: the clock of a simulated run owns the heap of things to come, and jumps.

trio asks a clock how long to sleep only when no task can run; that is when events are delivered.
No real time is read here. What cannot go on (deadlock, livelock) is reported, never waited for.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any, Final

import trio

from emu.machine import private_trio
from emu.machine.trace import Trace

TRIO_DECIDES_S: Final = 1e6
MAX_TURNS: Final = 200_000
"""Turns of the scheduler, or events, without time moving: more is a livelock."""
MAX_VIRTUAL_S: Final = 86_400.0
COLLECT_EVERY: Final = 50_000
"""Events between two runs of the garbage collector, which is off otherwise."""
COMPACT_ABOVE: Final = 4096


class SimulationStuck(Exception):
    """The run cannot go on: deadlock, livelock, a runaway loop, or no virtual time left."""

    def __init__(self, kind: str, why: str, stacks: str) -> None:
        super().__init__(f"{kind}: {why}\n{stacks}")
        self.kind = kind
        self.stacks = stacks


class SimTimer:
    """A call to come (nodes.base.Timer)."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class SimClock(trio.abc.Clock):
    """trio's clock and emu.machine.world.Timers in one. Time starts at 0."""

    def __init__(
        self,
        *,
        trace: Trace | None = None,
        max_virtual_s: float = MAX_VIRTUAL_S,
        max_turns: int = MAX_TURNS,
    ) -> None:
        self.now = 0.0
        self.trace = trace or Trace()
        self.turns = 0
        self.failure: Exception | None = None
        self._heap: list[tuple[float, int, SimTimer]] = []
        self._armed = 0
        self._fired = 0
        self._collect_at = COLLECT_EVERY
        self._compact_above = COMPACT_ABOVE
        self._max_turns = max_turns
        self._stuck_at_turn = max_turns
        self._max_virtual_s = max_virtual_s
        self._runner: Any = None
        self._housekept_s = -1.0
        self._told = False

    # --- emu.machine.world.Timers -----------------------------------------------------------------

    def now_s(self) -> float:
        return self.now

    def withheld_s(self) -> float:
        return 0.0

    def cpu_s(self) -> float:
        return 0.0

    def call_at(self, when_s: float, callback: Callable[[], object]) -> SimTimer:
        timer = SimTimer(callback)
        self._armed = number = self._armed + 1
        heappush(self._heap, (when_s, number, timer))
        return timer

    # --- trio.abc.Clock --------------------------------------------------------------------

    def start_clock(self) -> None:
        assert self._runner is None, "a SimClock serves one run"
        self._runner = private_trio.current_runner()
        private_trio.forbid_real_io()

    def current_time(self) -> float:
        """Trio asks once a turn, whether or not somebody can run: here loops are noticed."""
        self.turns += 1
        if self.turns > self._stuck_at_turn:
            self._overdue()
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Nobody can run: deliver what comes next, or jump to trio's own next deadline."""
        runner, heap = self._runner, self._heap
        if not private_trio.may_jump(runner):
            return TRIO_DECIDES_S
        while heap and heap[0][0] <= deadline:
            self._fire_next()
            if runner.runq:
                return 0.0
            deadline = runner.deadlines.next_deadline()
        if deadline == inf:
            self._stop("deadlock", f"at {self.now:.6f} s everybody waits and nothing is to come")
        else:
            self._advance(deadline)
        return 0.0

    # --- delivering ------------------------------------------------------------------------

    def _fire_next(self) -> None:
        """Run every call of the next moment, in the order in which they were asked for."""
        heap, trace = self._heap, self.trace
        when_s = heap[0][0]
        if when_s > self.now:
            self._advance(when_s)
        now = self.now
        while heap and heap[0][0] <= now:
            when_s, number, timer = heappop(heap)
            callback = timer.callback
            if callback is None:
                continue
            timer.callback = None
            self._fired += 1
            trace.timer(now, number)
            try:
                callback()
            except Exception as error:
                self._fail(error)
            if self._fired > self._collect_at:
                self._housekeep()
                if self._told:
                    return  # let the main task hear of it

    def _advance(self, now_s: float) -> None:
        if now_s > self.now:
            self.now = now_s
            self._stuck_at_turn = self.turns + self._max_turns
            if now_s > self._max_virtual_s:
                self._stop("no end", f"the run is over its {self._max_virtual_s:g} virtual seconds")
                self._max_virtual_s += 60.0

    def _housekeep(self) -> None:
        """Every so many events: collect garbage, forget cancelled timers, look for a livelock."""
        self._collect_at = self._fired + COLLECT_EVERY
        gc.collect(1)
        heap = self._heap
        if len(heap) > self._compact_above:
            heap[:] = [entry for entry in heap if entry[2].callback is not None]
            heapify(heap)
            self._compact_above = max(COMPACT_ABOVE, 2 * len(heap))
        if self.now == self._housekept_s:
            self._stop("livelock", f"{COLLECT_EVERY} events and it is still {self.now:.6f} s")
        self._housekept_s = self.now

    def interrupt(self, error: Exception) -> None:
        """From a signal handler: fail the run at the next turn, if there ever is one."""
        self.failure = error
        self._stuck_at_turn = -1

    def _overdue(self) -> None:
        if self.failure is not None and not self._told:
            self._stuck_at_turn = self.turns + self._max_turns
            if private_trio.main_lives(self._runner):  # else it has ended with that very error
                self._fail(self.failure)
        else:
            self._stop("livelock", f"{self._max_turns} turns and it is still {self.now:.6f} s")

    def _stop(self, kind: str, why: str) -> None:
        """Once: the main task is told. Twice: it would not listen, and the run is torn down."""
        self._stuck_at_turn = self.turns + self._max_turns
        self._fail(SimulationStuck(kind, why, private_trio.task_stacks()))

    def _fail(self, error: Exception) -> None:
        if self.failure is not None and self._told:
            raise self.failure
        self.failure = error
        self._told = True
        private_trio.fail_main(self._runner, error)
