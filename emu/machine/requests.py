"""Lines about requests: every slow one, and of the others so many as the topology asks for.

Whether a request is told is drawn from its id, so that all nodes that it meets tell of the same
ones. The newest are kept; they are no events, which few things make.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from emu.machine.life import Life
from emu.machine.world import LogSpec, MachineSpec

KEPT: Final = 10_000
REQUEST: Final = "request"
"""What such a line's `event` is."""
SPREAD: Final = 0x9E3779B97F4A7C15
"""Spreads ids that are counted up over all numbers of 64 bits."""

Line = dict[str, Any]


class Requests:
    """The newest lines of all nodes. `listeners` are told each."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._kept: deque[tuple[int, Line]] = deque(maxlen=KEPT)
        self.next_index = 0
        self.listeners: list[Callable[[Line], Any]] = []

    def add(self, level: str, fields: Line) -> None:
        line = {"time_s": round(self._now_s(), 6), "level": level, "event": REQUEST, **fields}
        self._kept.append((self.next_index, line))
        self.next_index += 1
        for listener in self.listeners:
            listener(line)

    def since(self, index: int) -> list[Line]:
        """The kept lines from that one on."""
        return [line for number, line in self._kept if number >= index]


def sampled(request: int, ratio: float) -> bool:
    """Whether that id is among so many of all."""
    return (request * SPREAD & (1 << 64) - 1) < ratio * (1 << 64)


class NodeAccess:
    """nodes.base.Access of one generation."""

    def __init__(self, requests: Requests, spec: MachineSpec, life: Life) -> None:
        self._requests = requests
        self._spec: LogSpec = spec.logs
        self._identity = {"node": spec.name, "tier": spec.tier, "region": spec.region}
        self._life = life
        self.samples = spec.logs.sample_ratio > 0
        self.least_s = 0.0 if self.samples else spec.logs.slow_s

    def told(self, what: str, seconds: float, outcome: str, request: int | None, peer: str) -> None:
        slow = seconds >= self._spec.slow_s
        if not slow and not (self.samples and self._is_drawn(request)):
            return
        if self._life.dead:
            return
        line = {
            **self._identity,
            "request": "" if request is None else f"{request:x}",
            "what": what,
            "outcome": outcome,
            "seconds": round(seconds, 6),
            "peer": peer,
        }
        self._requests.add("warning" if slow else "info", line)

    def _is_drawn(self, request: int | None) -> bool:
        """A request without an id is told where all are."""
        if request is None:
            return self._spec.sample_ratio >= 1
        return sampled(request, self._spec.sample_ratio)
