"""Whether a new version serves as well as the old one beside it: errors and times of both, counted
over the same time. Pure.
"""

from __future__ import annotations

from itertools import zip_longest
from math import sqrt
from typing import Final, NamedTuple

from nodes.metrics import LATENCY_EDGES_S

LEAST_REQUESTS: Final = 50
"""Of the new version: with fewer nothing is said."""
SIGMAS: Final = 3.0
"""A difference of shares is more than chance beyond so many standard deviations."""
LEAST_ERRORS: Final = 3
"""Fewer may happen to anybody."""
QUANTILE: Final = 0.9
SLOWER: Final = 2.0
"""Times that are so often the old ones are too long, and longer by more than SLOWER_S."""
SLOWER_S: Final = 0.02


class Served(NamedTuple):
    """What some nodes answered in some time."""

    requests: float = 0.0
    errors: float = 0.0
    times: tuple[int, ...] = ()
    """How many took as long as each of LATENCY_EDGES_S, as nodes/metrics.py counts them."""

    def plus(self, other: Served) -> Served:
        """Both together."""
        pairs = zip_longest(self.times, other.times, fillvalue=0)
        times = tuple(one + another for one, another in pairs)
        return Served(self.requests + other.requests, self.errors + other.errors, times)

    def since(self, before: Served) -> Served:
        """What came after `before`."""
        padded = (*before.times, *(0,) * (len(self.times) - len(before.times)))
        later = tuple(now - then for now, then in zip(self.times, padded, strict=True))
        return Served(self.requests - before.requests, self.errors - before.errors, later)

    @property
    def error_ratio(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    def quantile_s(self, fraction: float) -> float | None:
        """None if nothing was timed."""
        rank, seen = fraction * sum(self.times), 0
        for place, count in enumerate(self.times):
            seen += count
            if count and seen >= rank:
                return LATENCY_EDGES_S[min(place, len(LATENCY_EDGES_S) - 1)]
        return None


def enough(new: Served) -> bool:
    """Whether there is enough of the new version to judge it."""
    return new.requests >= LEAST_REQUESTS


def worse(old: Served, new: Served) -> str:
    """Why the new version is worse, beyond chance; "" if it is not."""
    if new.errors >= LEAST_ERRORS and _more_errors(old, new):
        failed, did = f"{new.error_ratio:.1%}", f"{old.error_ratio:.1%}"
        return f"{failed} of its answers failed, {did} of the old ones'"
    before_s, now_s = old.quantile_s(QUANTILE), new.quantile_s(QUANTILE)
    if before_s is None or now_s is None:
        return ""
    if now_s > before_s * SLOWER and now_s - before_s > SLOWER_S:
        took, did = f"{now_s * 1000:.0f} ms", f"{before_s * 1000:.0f} ms"
        return f"p{QUANTILE * 100:.0f} of its answers took {took}, of the old ones' {did}"
    return ""


def _more_errors(old: Served, new: Served) -> bool:
    """A one-sided test of two shares, pooled."""
    requests = old.requests + new.requests
    pooled = (old.errors + new.errors) / requests
    if not old.requests:
        return True
    deviation = sqrt(pooled * (1 - pooled) * (1 / old.requests + 1 / new.requests))
    return new.error_ratio - old.error_ratio > SIGMAS * deviation
