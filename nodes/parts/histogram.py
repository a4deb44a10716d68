"""A log-bucketed histogram: any quantile within one percent, in bounded memory. Pure.

For numbers in reports; what Prometheus scrapes is nodes/metrics.py's coarser one.
"""

from __future__ import annotations

from math import ceil, log
from typing import Any, Final

GROWTH: Final = 1.02
"""Bounds of neighbouring buckets; the middle of a bucket is within 1% of all it holds."""
LEAST: Final = 1e-6
MOST: Final = 1e5
_LOG_GROWTH: Final = log(GROWTH)
BUCKETS: Final = ceil(log(MOST / LEAST) / _LOG_GROWTH) + 1


class LogHistogram:
    """Observations between 1e-6 and 1e5 (seconds, usually); others count at the nearest end."""

    __slots__ = ("counts", "maximum", "sum", "total")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.total = 0
        self.sum = 0.0
        self.maximum = 0.0

    def observe(self, value: float) -> None:
        bucket = 0
        if value > LEAST:
            bucket = min(BUCKETS, int(log(value / LEAST) / _LOG_GROWTH) + 1)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.total += 1
        self.sum += value
        self.maximum = max(self.maximum, value)

    def quantile(self, fraction: float) -> float | None:
        """The value below which `fraction` of the observations lie; None when there are none."""
        if self.total == 0:
            return None
        rank = min(self.total, max(1, ceil(fraction * self.total)))
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return min(_middle(bucket), self.maximum)
        raise AssertionError("the counts do not add up")

    def merge(self, other: LogHistogram) -> None:
        """Add another's observations."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.total += other.total
        self.sum += other.sum
        self.maximum = max(self.maximum, other.maximum)

    def to_wire(self) -> list[Any]:
        """`[[bucket, count, ...], sum, maximum]`, for merging elsewhere."""
        flat = [
            number for bucket in sorted(self.counts) for number in (bucket, self.counts[bucket])
        ]
        return [flat, self.sum, self.maximum]

    @classmethod
    def from_wire(cls, wire: Any) -> LogHistogram:
        flat, total, maximum = wire
        made = cls()
        made.counts = dict(zip(flat[::2], flat[1::2], strict=True))
        made.total = sum(made.counts.values())
        made.sum, made.maximum = total, maximum
        return made


def _middle(bucket: int) -> float:
    if bucket == 0:
        return LEAST
    low = LEAST * GROWTH ** (bucket - 1)
    return low * 2 * GROWTH / (1 + GROWTH)  # its relative error is the same at both ends
