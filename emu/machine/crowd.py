"""The work of a crowd of which only a sample is really there: it takes a cpu's cores as the work of
the sample does, and is worked out only when that comes.

Others come at random, so many times as often as the sample: where a server is down, drained or new,
the crowd goes where its sample goes. Exact for first-in first-out with c servers (the recurrence of
Kiefer and Wolfowitz), at a microsecond for each who is not there.
"""

from __future__ import annotations

from heapq import heapify, heapreplace
from random import Random
from typing import Final

WINDOWS: Final = ((50, 1.55), (400, 1.15), (6000, 1.0))
"""How often the sample comes is its mean over the last so many arrivals. Where that over fewer
is more than so many times more or less (above three standard deviations), things have changed."""
LEAST_KNOWN: Final = 10
"""Intervals of the sample: after fewer their mean says nothing yet, and nobody else comes."""
LONGEST_GAP: Final = 10
"""Mean intervals: in a longer one nobody came, for something was in the way."""


class Crowd:
    """The cores of one cpu and when each is free. Times are the world's seconds."""

    def __init__(self, cores: int, stands_for: float, max_queue: int, rng: Random, now_s: float):
        assert stands_for > 1
        self._free_s = [now_s] * cores
        self._others_each = stands_for - 1
        self._max_queue = max_queue
        self._rng = rng
        self._last_s: float | None = None
        """When the sample came last."""
        self._came = [0] * len(WINDOWS)
        self._mean_s = [0.0] * len(WINDOWS)
        """Between arrivals of the sample, over each window."""
        self._cost_s = 0.0
        """Of the work that came last."""
        self.busy_s = 0.0
        """Of cores, for those who are not there."""
        self.worked = 0
        """Pieces of their work."""
        self.turned_away = 0
        """Those for whom the queue was full, or whose time was over before a core was free."""

    def starts_s(self, now_s: float, cost_s: float, within_s: float) -> float | None:
        """When work that comes now would get a core, after all that came before; None: the queue
        is full. It takes that core only by `take`. `within_s`: how long it may wait, and others
        like it."""
        if not self._free_s:
            return now_s
        self._cost_s = cost_s
        self._others(now_s, cost_s, within_s)
        start_s = max(now_s, self._free_s[0])
        return start_s if self._has_room(start_s - now_s, cost_s) else None

    def take(self, start_s: float, cost_s: float) -> None:
        """Hold the core that is free then for so long."""
        if self._free_s:
            heapreplace(self._free_s, start_s + cost_s)

    def waiting(self, now_s: float) -> int:
        """How many pieces of work wait for a core, of all: those up to whom all cores are taken
        already, if each costs what the last one did."""
        if not self._free_s or not self._cost_s:
            return 0
        taken_s = sum(max(0.0, free_s - now_s) for free_s in self._free_s)
        return max(0, round(taken_s / self._cost_s) - len(self._free_s))

    def resize(self, cores: int, now_s: float) -> None:
        """More cores are free at once; of fewer the last to be free go."""
        kept = sorted(self._free_s)[:cores]
        self._free_s = kept + [now_s] * (cores - len(kept))
        heapify(self._free_s)

    def _others(self, now_s: float, cost_s: float, within_s: float) -> None:
        """Those who came since the sample did last, once it is known how often that comes."""
        last_s, self._last_s = self._last_s, now_s
        if last_s is None:
            return
        came_s, per_s = self._gap(now_s, now_s - last_s)
        if self._came[0] < LEAST_KNOWN:
            return
        free_s, again_s = self._free_s, self._rng.expovariate
        most_s = min(self._longest_wait_s(cost_s), within_s)
        while (came_s := came_s + again_s(per_s)) < now_s:
            start_s = free_s[0]
            if start_s < came_s:
                start_s = came_s
            elif start_s - came_s > most_s:
                self.turned_away += 1
                continue
            heapreplace(free_s, start_s + cost_s)
            self.worked += 1
            self.busy_s += cost_s

    def _gap(self, now_s: float, gap_s: float) -> tuple[float, float]:
        """Since when others came, and how many a second."""
        gap_s = max(gap_s, 1e-9)
        if self._came[0] > LONGEST_GAP:
            gap_s = min(gap_s, LONGEST_GAP * self._mean_s[-1])
        self._learn(gap_s)
        return now_s - gap_s, self._others_each / self._mean_s[-1]

    def _learn(self, gap_s: float) -> None:
        came, mean_s = self._came, self._mean_s
        for place, (length, _) in enumerate(WINDOWS):
            came[place] = min(came[place] + 1, length)
            mean_s[place] += (gap_s - mean_s[place]) / came[place]
        for place, (length, most) in enumerate(WINDOWS[:-1]):
            full = came[place] == length < came[-1]
            if full and not 1 / most < mean_s[place] / mean_s[-1] < most:
                for longer in range(place + 1, len(WINDOWS)):
                    came[longer], mean_s[longer] = length, mean_s[place]
                return

    def _has_room(self, wait_s: float, cost_s: float) -> bool:
        return wait_s <= self._longest_wait_s(cost_s)

    def _longest_wait_s(self, cost_s: float) -> float:
        """Of who finds the queue all but full."""
        return self._max_queue * cost_s / len(self._free_s)
