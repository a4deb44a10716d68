"""A prediction held to what then runs: the same site at 0.5, 0.8 and 1.1 of its ceiling. Of more
requests than one can simulate a sample is sent, and the others take cores alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from emu.model.topology import Topology
from emu.planning.measuring import Measured, measure, precise
from emu.planning.plan import Model
from emu.planning.probing import MOST_PER_S

SHARES: Final = (0.5, 0.8, 1.1)
CHECKED_S: Final = 30.0
"""At the longest: until the mean response is known."""
OVERLOADED_S: Final = 5.0
"""Above the ceiling all of it: what is worked off there hardly varies."""
MOST_SENT_PER_S: Final = 1000.0
"""Of a site that bears more a sample is sent, no more than what it was measured with."""
THROUGHPUT: Final = 0.05
RESPONSE: Final = 0.15
ANSWERED: Final = "requests/s answered"
MEAN: Final = "mean response, s"
WORKED_OFF: Final = "requests/s worked off"
SATURATED: Final = 0.95
"""Above the ceiling the bottleneck is at least so busy."""


class Unsampled(ValueError):
    """More than can be simulated, of a site that a sample of the requests does not tell of."""


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
    sent: float = 1.0
    """The share of the requests that was simulated one by one; the others took cores alone."""

    @property
    def held(self) -> bool:
        return abs(self.seen - self.predicted) <= self.within


def check(
    topology: Topology,
    found: Model,
    starts: Callable[[float, float, float], Callable[[float], object]],
) -> Iterator[Check]:
    """Simulate and compare, one share after the other; `starts` is told of each, its requests a
    second and how many each that is sent stands for, and answers whom to tell how far it is. The
    model must have a ceiling. Raises Unsampled."""
    sampled = SHARES[-1] * found.ceiling_per_s > MOST_SENT_PER_S
    if sampled:
        _can_be_sampled(topology)
    for share in SHARES:
        rate_per_s = share * found.ceiling_per_s
        stands_for = max(1.0, rate_per_s / MOST_PER_S) if sampled else 1.0
        passes = starts(share, rate_per_s, stands_for)
        for_s, enough = (CHECKED_S, precise) if share < 1 else (OVERLOADED_S, _never)
        seen = measure(topology, rate_per_s, for_s, 2, enough, stands_for=stands_for, passes=passes)
        for each in _compared(share, found, seen, sampled=stands_for > 1):
            yield replace(each, sent=1 / stands_for)


def _can_be_sampled(topology: Topology) -> None:
    for tier in topology.tiers:
        options = tier.cpu.not_of_crowds()
        if tier.cpu.cores and options and not tier.kind.clients:
            raise Unsampled(
                f"more than {MOST_SENT_PER_S:,.0f} requests/s are not simulated one by one, and "
                f"{tier.name} would not serve a sample as it serves all: for `{options[0]}` of its "
                "cpu all have to be there"
            )


def _never(_: Measured) -> bool:
    return False


def _compared(share: float, found: Model, seen: Measured, *, sampled: bool) -> Iterator[Check]:
    if share < 1:
        # arrivals are random, and their number is not what is predicted
        asked_per_s = seen.requests_per_s
        within = THROUGHPUT * asked_per_s
        yield Check(share, ANSWERED, asked_per_s, seen.ok_per_s, within)
        if sampled:
            return  # its few connections are shared out less evenly than those of all would be
        mean_s = found.mean_s(asked_per_s)
        within_s = RESPONSE * mean_s + seen.mean_within_s
        yield Check(share, MEAN, mean_s, seen.mean_s, within_s)
    elif found.bottleneck is not None:
        # beyond it users give up: what was done for them counts, who waited for it or not
        tier, ceiling = seen.tiers[found.bottleneck.tier], found.ceiling_per_s
        served = found.bottleneck.served_per_s(tier, ceiling)
        yield Check(share, WORKED_OFF, ceiling, served, THROUGHPUT * ceiling)
        busy = tier.busier_half if sampled else tier.utilization
        whose = ", its busier half" if sampled else ""
        name = f"{found.bottleneck.tier} is the bottleneck: busy{whose}"
        yield Check(share, name, 1.0, busy, 1 - SATURATED)
