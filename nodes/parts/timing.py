"""Time limits and pauses on the node's own clock: what trio.move_on_after is to real time."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from types import TracebackType
from typing import TypeVar

import trio

from nodes.base import Clock, Timer
from protocols.stepping import Steps

T = TypeVar("T")


class move_on_after:
    """Cancel the block after `seconds` of the node's clock; see `.cancelled_caught` afterwards."""

    __slots__ = ("_clock", "_scope", "_seconds", "_timer")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    def __enter__(self) -> trio.CancelScope:
        clock, scope = self._clock, trio.CancelScope()
        self._scope = scope
        self._timer = clock.call_at(clock.monotonic_s() + self._seconds, scope.cancel)
        return scope.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._timer.cancel()
        return self._scope.__exit__(kind, error, traceback)


async def take_steps(clock: Clock, steps: Steps[T], pause_s: float) -> T:
    """All steps, letting others go on in between."""
    with closing(steps):
        while True:
            try:
                next(steps)
            except StopIteration as ended:
                result: T = ended.value
                return result
            await clock.sleep(pause_s)


class Alarm:
    """A deadline that moves often and seldom passes: a timer is set only where the one that is set
    already would come too late."""

    __slots__ = ("_armed_s", "_at_s", "_clock", "_ring", "_timer")

    def __init__(self, clock: Clock, ring: Callable[[], object]) -> None:
        self._clock = clock
        self._ring = ring
        self._at_s = self._armed_s = math.inf
        self._timer: Timer | None = None

    def set(self, at_s: float) -> None:
        """Ring at that time of the node's clock, not at another one said before."""
        self._at_s = at_s
        if at_s < self._armed_s:
            self._arm()

    def set_in(self, seconds: float) -> None:
        self.set(self._clock.monotonic_s() + seconds)

    def hasten(self, seconds: float) -> None:
        """Ring in so many seconds, if not before."""
        self.set(min(self._at_s, self._clock.monotonic_s() + seconds))

    def clear(self) -> None:
        """Do not ring."""
        self._at_s = math.inf

    def close(self) -> None:
        """Never ring again."""
        self.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_s = self._at_s
        self._timer = self._clock.call_at(self._at_s, self._fire)

    def _fire(self) -> None:
        self._armed_s, self._timer = math.inf, None
        if self._clock.monotonic_s() >= self._at_s:
            self.clear()
            self._ring()
        elif self._at_s < math.inf:
            self._arm()
