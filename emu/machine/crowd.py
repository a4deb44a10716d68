"""The work of a crowd of which only a sample is really there: it takes a cpu's cores as the work of
the sample does, and is worked out only when that comes.

Others come at random, so many times as often as the sample: where a server is down, drained or new,
the crowd goes where its sample goes. Exact for first-in first-out with c servers (the recurrence of
Kiefer and Wolfowitz), at a microsecond for each who is not there.
"""

from __future__ import annotations

import math
from collections import deque
from heapq import heapify, heapreplace
from itertools import islice
from random import Random
from statistics import fmean
from typing import Final

BLOCK: Final = 25
"""Arrivals of the sample that are looked at together."""
MOST_BLOCKS: Final = 240
"""How often it comes is its mean over so many blocks, or over those since that has changed."""
SURE: Final = 5.0
"""Standard deviations by which the latest blocks differ from those before where it has."""
LEAST_KNOWN: Final = 10
"""Intervals of the sample: after fewer their mean says nothing yet, and nobody else comes."""
LONGEST_GAP: Final = 10
"""Mean intervals: in a longer one nobody came, for something was in the way."""


class Pace:
    """How far apart arrivals are, in seconds: the mean of all since that has changed."""

    def __init__(self) -> None:
        self.came = 0
        """Intervals that the mean is of."""
        self._sum_s = 0.0
        """Of all of them."""
        self._block = (0.0, 0.0)
        """The sum and the sum of squares of those that are no whole block yet."""
        self._blocks: deque[tuple[float, float]] = deque()
        """The sum of each, and how much its intervals vary: 1 where arrivals are random."""

    @property
    def mean_s(self) -> float:
        return self._sum_s / self.came

    def learn(self, gap_s: float) -> None:
        self.came += 1
        self._sum_s += gap_s
        sum_s, squares = self._block
        self._block = sum_s, squares = sum_s + gap_s, squares + gap_s * gap_s
        if self.came % BLOCK == 0:
            self._blocks.append((sum_s, squares * BLOCK / sum_s**2 - 1))
            self._block = 0.0, 0.0
            self._forget(self._unlike())

    def _unlike(self) -> int:
        """How many of the first blocks are surely unlike those after them. Arrivals in bursts
        differ by themselves, by as much more as their intervals do."""
        blocks, before_s, found, surest = len(self._blocks), 0.0, 0, SURE
        varies = max(1.0, fmean(varies for _, varies in self._blocks))
        for number, (block_s, _) in enumerate(islice(self._blocks, blocks - 1), 1):
            before_s += block_s
            after = blocks - number
            ratio = before_s / number / (self._sum_s - before_s) * after
            sure = abs(math.log(ratio)) / math.sqrt(varies * (1 / number + 1 / after) / BLOCK)
            if sure > surest:
                found, surest = number, sure
        return found

    def _forget(self, blocks: int) -> None:
        for _ in range(max(blocks, len(self._blocks) - MOST_BLOCKS)):
            self._sum_s -= self._blocks.popleft()[0]
            self.came -= BLOCK


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
        self._pace = Pace()
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
        if self._pace.came < LEAST_KNOWN:
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
        if self._pace.came > LONGEST_GAP:
            gap_s = min(gap_s, LONGEST_GAP * self._pace.mean_s)
        self._pace.learn(gap_s)
        return now_s - gap_s, self._others_each / self._pace.mean_s

    def _has_room(self, wait_s: float, cost_s: float) -> bool:
        return wait_s <= self._longest_wait_s(cost_s)

    def _longest_wait_s(self, cost_s: float) -> float:
        """Of who finds the queue all but full."""
        return self._max_queue * cost_s / len(self._free_s)
