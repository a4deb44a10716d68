"""How much may be in hand at a time, found out by how long it takes: a gradient limit. Pure.

While work takes little longer than it used to, the limit grows; when it takes much longer the limit
shrinks, by half at most at a time: a queue that only makes everybody wait is not built up.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

TOLERANCE: Final = 1.5
"""So much longer than usual is no sign of a queue."""
SMOOTHING: Final = 0.2
LONG: Final = 600
"""Over so many samples `usual` is an average."""
WARM_UP: Final = 10
FORGET: Final = 0.95
"""What is usual shrinks by this while work is much quicker: an outage is no measure."""


class GradientLimit:
    """`limit` now. Tell it of all that is done, and how long it took from its arrival on."""

    def __init__(self, *, least: int, most: int) -> None:
        assert 0 < least <= most
        self.least = least
        self.most = most
        self._limit = float(least)
        self._usual_s = 0.0
        self._samples = 0

    @property
    def limit(self) -> int:
        return int(self._limit)

    def done(self, took_s: float, in_hand: int) -> None:
        """`in_hand`: how much there was when this ended, itself included."""
        self._average(took_s)
        if self._usual_s > 2.0 * took_s:
            self._usual_s *= FORGET
        if in_hand < self._limit / 2:
            return  # it was not the limit that kept it small
        gradient = TOLERANCE * self._usual_s / took_s if took_s > 0 else 1.0
        wanted = self._limit * min(1.0, max(0.5, gradient)) + sqrt(self._limit)
        limit = self._limit * (1.0 - SMOOTHING) + wanted * SMOOTHING
        self._limit = min(float(self.most), max(float(self.least), limit))

    def _average(self, took_s: float) -> None:
        self._samples += 1
        part = 1.0 / self._samples if self._samples <= WARM_UP else 2.0 / (LONG + 1)
        self._usual_s += (took_s - self._usual_s) * part
