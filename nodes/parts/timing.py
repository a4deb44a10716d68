"""Time limits and pauses on the node's own clock: what trio.move_on_after is to real time."""

from __future__ import annotations

from contextlib import closing
from types import TracebackType
from typing import TypeVar

import trio

from nodes.base import Clock
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
