"""When the primary must act by itself: locks that end, records that have rested, members that are
silent. Only lengths of time are agreed on; when they are over is for this, by one clock. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final

NEVER: Final = float("inf")


class Deadlines:
    """Each key has one time at most; the latest that was set counts."""

    def __init__(self) -> None:
        self._due_s: dict[Hashable, float] = {}
        self._heap: list[tuple[float, int, Any]] = []
        self._order = count()

    def set(self, key: Hashable, due_s: float) -> None:
        self._due_s[key] = due_s
        heappush(self._heap, (due_s, next(self._order), key))
        if len(self._heap) > 100 + 4 * len(self._due_s):
            self._rebuild()

    def drop(self, key: Hashable) -> None:
        self._due_s.pop(key, None)

    def clear(self) -> None:
        self._due_s.clear()
        self._heap.clear()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._due_s

    @property
    def next_s(self) -> float:
        """When the first is due; NEVER if there is none."""
        heap = self._heap
        while heap and self._due_s.get(heap[0][2]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else NEVER

    def take_due(self, now_s: float, most: int) -> list[Any]:
        """Keys whose time has come, up to so many; they are forgotten."""
        found: list[Any] = []
        while len(found) < most and self.next_s <= now_s:
            key = heappop(self._heap)[2]
            del self._due_s[key]
            found.append(key)
        return found

    def _rebuild(self) -> None:
        """Without those that were set anew or dropped."""
        live = [each for each in self._heap if self._due_s.get(each[2]) == each[0]]
        self._heap = sorted(live)
