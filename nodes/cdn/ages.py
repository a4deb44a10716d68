"""The time by which an edge's objects age."""

from __future__ import annotations

from nodes.base import Clock


class Ages:
    """The machine's own, as all that belongs to emu lives by it; an origin outside, and whoever
    asks for what it has, live by real time, which is never behind that."""

    def __init__(self, clock: Clock, *, outside: bool) -> None:
        self._clock = clock
        self.now_s = clock.outside_s if outside else clock.monotonic_s

    def wall_s(self) -> float:
        return self._clock.wall_s() + (self.now_s() - self._clock.monotonic_s())
