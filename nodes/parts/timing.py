"""Time limits on the node's own clock: what trio.move_on_after is to real time."""

from __future__ import annotations

from types import TracebackType

import trio

from nodes.base import Clock


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
