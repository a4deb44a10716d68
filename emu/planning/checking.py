"""A prediction held to what then runs: the same site at 0.5, 0.8 and 1.1 of its ceiling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from emu.model.topology import Topology
from emu.planning.measuring import Measured, measure
from emu.planning.plan import Model

SHARES: Final = (0.5, 0.8, 1.1)
CHECKED_S: Final = 30.0
"""At the longest: until the mean response is known."""
OVERLOADED_S: Final = 5.0
"""Above the ceiling all of it: what is worked off there hardly varies."""
THROUGHPUT: Final = 0.05
RESPONSE: Final = 0.15
ANSWERED: Final = "requests/s answered"
MEAN: Final = "mean response, s"
WORKED_OFF: Final = "requests/s worked off"
SATURATED: Final = 0.95
"""Above the ceiling the bottleneck is at least so busy."""


@dataclass(frozen=True, slots=True)
class Check:
    """One prediction and what was seen."""

    share: float
    """Of the ceiling."""
    what: str
    predicted: float
    seen: float
    within: float
    """How far apart they may be."""

    @property
    def held(self) -> bool:
        return abs(self.seen - self.predicted) <= self.within


def check(
    topology: Topology, found: Model, starts: Callable[[float, float], None]
) -> Iterator[Check]:
    """Simulate and compare, one share after the other; `starts` is told of each, and its requests
    a second. The model must have a ceiling."""
    for share in SHARES:
        rate_per_s = share * found.ceiling_per_s
        starts(share, rate_per_s)
        if share < 1:
            seen = measure(topology, rate_per_s, CHECKED_S, seed=2)
        else:
            seen = measure(topology, rate_per_s, OVERLOADED_S, seed=2, enough=lambda _: False)
        yield from _compared(share, found, seen)


def _compared(share: float, found: Model, seen: Measured) -> Iterator[Check]:
    if share < 1:
        # arrivals are random, and their number is not what is predicted
        asked_per_s = seen.requests_per_s
        within = THROUGHPUT * asked_per_s
        yield Check(share, ANSWERED, asked_per_s, seen.ok_per_s, within)
        mean_s = found.mean_s(asked_per_s)
        within_s = RESPONSE * mean_s + seen.mean_within_s
        yield Check(share, MEAN, mean_s, seen.mean_s, within_s)
    elif found.bottleneck is not None:
        # beyond it users give up: what was done for them counts, who waited for it or not
        tier, ceiling = seen.tiers[found.bottleneck.tier], found.ceiling_per_s
        served = found.bottleneck.served_per_s(tier, ceiling)
        yield Check(share, WORKED_OFF, ceiling, served, THROUGHPUT * ceiling)
        name = f"{found.bottleneck.tier} is the bottleneck: busy"
        yield Check(share, name, 1.0, tier.utilization, 1 - SATURATED)
