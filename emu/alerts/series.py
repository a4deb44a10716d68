"""What was scraped, kept as long as a rule can ask for it. Pure.

Samples come by target, as a scrape tells them; what a target no longer tells has ended, and is not
seen at that time, as Prometheus has it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from emu.alerts.language import Labels, Select

LOOK_BACK_S: Final = 300.0
"""How old the newest sample of a series that has not ended may be."""
MAX_SERIES: Final = 20_000
"""More are not kept: a rule then sees the first ones only, and `dropped` counts the rest."""

Sample = tuple[str, Labels, float]
"""(metric, labels, value)."""
Samples = list[tuple[float, float]]
"""(time, value) of each, the oldest first."""
Point = tuple[float, float | None]
"""(time, value); None: the series has ended."""

NEVER: Final[Point] = (-math.inf, None)


class Store:
    """The series of some metrics. `keep_s`: metric → how long a sample of it may be asked for."""

    def __init__(self, keep_s: dict[str, float]) -> None:
        self.keep_s = keep_s
        self.dropped = 0
        self._count = 0
        self._series: dict[str, dict[Labels, deque[Point]]] = {name: {} for name in keep_s}
        self._told: dict[str, dict[tuple[str, Labels], None]] = {}

    def scraped(self, target: str, at_s: float, samples: Iterable[Sample]) -> None:
        """What a target told; nothing: it could not be asked, or has nothing to tell."""
        told: dict[tuple[str, Labels], None] = {}
        for metric, labels, value in samples:
            if metric in self._series:
                self._add(metric, labels, (at_s, value))
                told[metric, labels] = None
        for metric, labels in self._told.get(target, {}):
            if (metric, labels) not in told:
                self._add(metric, labels, (at_s, None))
        if told:
            self._told[target] = told
        else:
            self._told.pop(target, None)

    def told_by(self) -> list[str]:
        """The targets that told something last time."""
        return list(self._told)

    def forget_old(self, now_s: float) -> None:
        """Drop what no rule can ask for any more."""
        for metric, found in self._series.items():
            since_s = now_s - self.keep_s[metric]
            for labels in list(found):
                points = found[labels]
                while len(points) > 1 and points[1][0] < since_s:
                    points.popleft()
                if points[-1][0] < now_s - max(self.keep_s[metric], LOOK_BACK_S):
                    del found[labels]
                    self._count -= 1

    def latest(self, select: Select, now_s: float) -> Iterator[tuple[Labels, float]]:
        """Each series that is there now, with its value."""
        now_s -= select.offset_s
        for labels, points in self._matching(select):
            at_s, value = next((each for each in reversed(points) if each[0] <= now_s), NEVER)
            if value is not None and at_s > now_s - LOOK_BACK_S:
                yield labels, value

    def over(self, select: Select, now_s: float) -> Iterator[tuple[Labels, Samples]]:
        """Each series with its samples in the selector's range, both ends included."""
        now_s -= select.offset_s
        since_s = now_s - select.range_s
        for labels, points in self._matching(select):
            found = [(at_s, value) for at_s, value in points if value is not None
                     and since_s <= at_s <= now_s]  # fmt: skip
            if found:
                yield labels, found

    def _matching(self, select: Select) -> Iterator[tuple[Labels, deque[Point]]]:
        for labels, points in self._series.get(select.metric, {}).items():
            if select.takes(labels):
                yield labels, points

    def _add(self, metric: str, labels: Labels, point: Point) -> None:
        found = self._series[metric]
        points = found.get(labels)
        if points is None:
            if self._count >= MAX_SERIES:
                self.dropped += 1
                return
            points = found[labels] = deque()
            self._count += 1
        points.append(point)
