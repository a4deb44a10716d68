"""Timers of the live world: one heap, one timerfd, and the measure of how late they are.

epoll rounds to whole milliseconds, a timerfd does not. Where there is none (macOS) trio.sleep
serves, and the fidelity line says so.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, Final

import trio

from emu.live.clock import LiveClock
from emu.machine.life import current_life
from nodes.metrics import Counter, Histogram, Metrics

LATE_SAMPLES: Final = 4096
HOG_S: Final = 0.005
"""A task step longer than this is remembered with its node's name."""
HELD_HELP: Final = "Time in steps that held the loop for more than 5 ms, by whose step it was."
_CLOCK_MONOTONIC: Final = 1
_NONBLOCK_CLOEXEC: Final = 0o2004000
_ABSOLUTE: Final = 1


class _Entry:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class LiveTimers:
    """`emu.machine.world.Timers` on real time. Run `run` in the world's nursery."""

    def __init__(
        self,
        clock: LiveClock | None = None,
        *,
        precise: bool = True,
        lag: Histogram | None = None,
    ) -> None:
        """`lag` counts how late the loop came, each time."""
        self.clock = clock or LiveClock()
        self.now_s = self.clock.now_s
        self.cpu_s = time.thread_time
        self._lag = Histogram(()) if lag is None else lag
        self._heap: list[tuple[float, int, _Entry]] = []
        self._order = count()
        self._armed_s = inf
        self._wake = trio.Event()
        self._fd = _open_timerfd() if precise else -1
        self.precise = self._fd >= 0
        self.late_s: list[float] = []
        self._late_at = 0
        self.worst_late_s = 0.0

    def withheld_s(self) -> float:
        return self.clock.behind_s

    def call_at(self, when_s: float, callback: Callable[[], object]) -> _Entry:
        entry = _Entry(callback)
        if when_s < self._armed_s:
            # What is set in the past is due since now: it is not this loop that is late.
            when_s = max(when_s, self.now_s())
        heappush(self._heap, (when_s, next(self._order), entry))
        if when_s < self._armed_s:
            self._arm(when_s)
        return entry

    def _arm(self, when_s: float) -> None:
        self._armed_s = self.clock.idle_until_s = when_s
        if not self.precise:
            self._wake.set()
        elif when_s < inf:
            _set_timerfd(self._fd, max(when_s, 0.0) + self.clock.zero_s)

    async def run(self) -> None:
        """Fire what is due, until cancelled."""
        try:
            while True:
                await self._wait()
                self._fire()
        finally:
            self.clock.close()
            if self.precise:
                os.close(self._fd)

    async def _wait(self) -> None:
        if self.precise:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                os.read(self._fd, 8)
            except BlockingIOError:
                pass
            return
        with trio.move_on_after(max(0.0, self._armed_s - self.now_s())):
            self._wake = trio.Event()
            await self._wake.wait()

    def _fire(self) -> None:
        """It may be too early: by what was withheld since the timer was set."""
        heap, now_s = self._heap, self.now_s()
        if heap and heap[0][0] <= now_s:
            self._record(now_s - heap[0][0])
        while heap and heap[0][0] <= now_s:
            callback = heappop(heap)[2].callback
            if callback is not None:
                callback()
        while heap and heap[0][2].callback is None:
            heappop(heap)
        self._arm(heap[0][0] if heap else inf)

    def _record(self, late_s: float) -> None:
        self._lag.observe(late_s)
        self.worst_late_s = max(self.worst_late_s, late_s)
        if len(self.late_s) < LATE_SAMPLES:
            self.late_s.append(late_s)
        else:
            self.late_s[self._late_at] = late_s
            self._late_at = (self._late_at + 1) % LATE_SAMPLES


class HogWatch(trio.abc.Instrument):
    """Remembers which node held the loop for long, and for how long in all."""

    def __init__(self, metrics: Metrics, clock: LiveClock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._began_s = inf
        clock.step_began_s = lambda: self._began_s
        self._held_s: dict[str, Counter] = {}
        self.worst: tuple[float, str] = (0.0, "")

    @property
    def most(self) -> tuple[str, float]:
        """Who held it for the longest time in all, and how long."""
        held_s = ((name, counter.value) for name, counter in self._held_s.items())
        return max(held_s, key=lambda pair: pair[1], default=("", 0.0))

    def reset(self) -> None:
        """Forget everything, the task step that is running now included."""
        self._began_s = time.monotonic()
        for counter in self._held_s.values():
            counter.value = 0
        self.worst = (0.0, "")

    def end(self) -> None:
        """Nobody tells of steps any more."""
        self._began_s = inf

    def after_io_wait(self, timeout: float) -> None:
        self._began_s = time.monotonic()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Steps follow each other at once: each lasted since the end of the one before."""
        now_s = time.monotonic()
        took_s = now_s - self._began_s
        if took_s > HOG_S:
            self.held(task, took_s)
        else:
            self._began_s = now_s

    def held(self, task: trio.lowlevel.Task, took_s: float) -> None:
        """Count what this task did, in its own step or in another's."""
        took_s -= self._clock.step_waited_s()
        self._began_s = time.monotonic()
        if took_s <= HOG_S:
            return
        life = task.context.get(current_life)
        name = life.node if life is not None else "emu"
        if name not in self._held_s:
            self._held_s[name] = self._metrics.counter(
                "loop_held_seconds_total", HELD_HELP, holder=name
            )
        self._held_s[name].value += took_s
        if took_s > self.worst[0]:
            self.worst = (took_s, name)


def _open_timerfd() -> int:
    if sys.platform != "linux":
        return -1
    create = getattr(os, "timerfd_create", None)
    if create is not None:
        return int(create(_CLOCK_MONOTONIC, flags=_NONBLOCK_CLOEXEC))
    return int(_libc().timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC))


def _set_timerfd(fd: int, at_s: float) -> None:
    """Fire at an absolute CLOCK_MONOTONIC time (never 0, which would disarm)."""
    nanoseconds = max(1, int(at_s * 1e9))
    spec = struct.pack("qqqq", 0, 0, nanoseconds // 10**9, nanoseconds % 10**9)
    _libc().timerfd_settime(fd, _ABSOLUTE, spec, None)


def _libc(cache: list[Any] = []) -> Any:  # noqa: B006 - the cache is meant to stay
    if not cache:
        cache.append(ctypes.CDLL(None, use_errno=True))
    return cache[0]
