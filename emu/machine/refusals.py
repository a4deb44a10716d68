"""Tells of refused connections without end: a scan of all ports must not push out the run's story,
of which a ring keeps so many events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from emu.machine.events import Event, Events

WINDOW_S: Final = 10.0
TOLD: Final = 5
"""Of one dialer at one node, in a window; how many more there were is told in the next."""


class Refusals:
    def __init__(self, events: Events, now_s: Callable[[], float]) -> None:
        self._events = events
        self._now_s = now_s
        self._until_s = 0.0
        self._seen: Counter[tuple[str, str]] = Counter()
        self._untold: dict[tuple[str, str], int] = {}

    def tell(self, dialer: str, target: str, why: str) -> None:
        now_s, pair = self._now_s(), (dialer, target)
        if now_s >= self._until_s:
            self._until_s = now_s + WINDOW_S
            self._untold = {each: n - TOLD for each, n in self._seen.items() if n > TOLD}
            self._seen.clear()
        self._seen[pair] += 1
        if self._seen[pair] > TOLD:
            return
        fields: Event = {"node": target, "dialer": dialer, "why": why}
        untold = self._untold.pop(pair, 0)
        if untold:
            fields["untold_before"] = untold
        self._events.add("warning", "connection refused", fields)
