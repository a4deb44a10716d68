"""Which keys take the most of a node's load: Space-Saving over a sample of the requests.

Space-Saving (Metwally, Agrawal, El Abbadi 2005) keeps so many counters: a key without one takes
over the smallest, and inherits its count as its error. Windows follow each other, so that what is
named is hot now.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

COUNTERS: Final = 64
WINDOW_S: Final = 2.0
SAMPLES: Final = 512
"""Of a window's requests about so many are counted, at random distances: a pattern cannot hide."""
MOST_SAMPLES: Final = 4 * SAMPLES
"""The load has grown: the window ends early, and the next one counts fewer."""
MOST_GAP: Final = 256
LEAST_SAMPLES: Final = 32
"""Fewer say nothing about shares."""


class SpaceSaving:
    """The most frequent items of a stream, in a fixed number of counters."""

    def __init__(self, counters: int = COUNTERS) -> None:
        self._most = counters
        self._counts: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self.total = 0

    def add(self, item: str) -> None:
        self.total += 1
        counts = self._counts
        if item in counts:
            counts[item] += 1
        elif len(counts) < self._most:
            counts[item], self._errors[item] = 1, 0
        else:
            least = min(counts, key=counts.__getitem__)
            count = counts.pop(least)
            del self._errors[least]
            counts[item], self._errors[item] = count + 1, count

    def count(self, item: str) -> tuple[int, int]:
        """(at most so often, by how much that may be too many)."""
        return self._counts.get(item, 0), self._errors.get(item, 0)

    def top(self, items: int) -> list[str]:
        """The most frequent first; of equals whoever came first."""
        return sorted(self._counts, key=lambda item: -self._counts[item])[:items]


class HotKey(NamedTuple):
    """A key and the share of the node's requests that were about it, at least."""

    key: str
    share: float


class HotKeys:
    """The hottest keys of the last one or two windows."""

    def __init__(self, rng: random.Random, *, window_s: float = WINDOW_S) -> None:
        self._rng = rng
        self._window_s = window_s
        self._gap = 1
        """The mean distance of requests that are counted."""
        self._now = SpaceSaving()
        self._before = SpaceSaving()
        self._gap_before = 1
        self._until_s = 0.0

    def sample(self, key: str) -> int:
        """Count this request; after how many others the next one is to be counted."""
        now = self._now
        now.add(key)
        if now.total >= MOST_SAMPLES:
            self._begin_window(min(MOST_GAP, 2 * self._gap), now)
        return self._rng.randint(1, 2 * self._gap - 1)

    def turn(self, now_s: float) -> None:
        """Let time pass: a window that is over becomes the one before."""
        if now_s >= self._until_s:
            idle = now_s >= self._until_s + self._window_s
            requests = self._now.total * self._gap
            gap = min(MOST_GAP, max(1, requests // SAMPLES))
            self._begin_window(gap, SpaceSaving() if idle else self._now)
            self._until_s = now_s + self._window_s

    def _begin_window(self, gap: int, before: SpaceSaving) -> None:
        self._gap_before, self._gap = self._gap, gap
        self._before, self._now = before, SpaceSaving()

    def top(self, items: int = 5) -> list[HotKey]:
        """The hottest first; none while there is too little to tell."""
        if self._now.total + self._before.total < LEAST_SAMPLES:
            return []
        total = self._now.total * self._gap + self._before.total * self._gap_before
        known = dict.fromkeys([*self._before.top(2 * items), *self._now.top(2 * items)])
        found = [HotKey(key, self._sure(key) / total) for key in known]
        return sorted(found, key=lambda each: -each.share)[:items]

    def _sure(self, key: str) -> int:
        """About how many requests were certainly about it."""
        (now, now_error), (before, before_error) = self._now.count(key), self._before.count(key)
        return (now - now_error) * self._gap + (before - before_error) * self._gap_before

    @property
    def ratio(self) -> float:
        """The share of the hottest key."""
        top = self.top(1)
        return top[0].share if top else 0.0
