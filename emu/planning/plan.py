"""From what a request costs each tier to how many machines so many users need, and which tier is
the bottleneck. Pure: it is handed what measuring.py saw."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from emu.planning import queueing
from emu.planning.measuring import Measured, TierLoad
from emu.planning.prices import Prices

AT_MOST: Final = 0.7
"""How busy a planned tier is at the peak: beyond it waiting grows fast."""
CONSTANT: Final = 0.5
LEAST_WAIT_S: Final = 1e-5
KNEE_STEPS: Final = 200
SPARE: Final = 1
"""Machines of each tier that may be lost at the peak."""
DAY_S: Final = 86_400.0
MONTH_S: Final = 30 * DAY_S


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request costs one tier."""

    tier: str
    nodes: int
    cores: int
    demand_s: float
    """Core seconds, all members together."""
    busiest_s: float
    """Of the member that has most of it; as each other's where all share alike."""
    idle: float
    """Cores' worth of work that is there without requests: checks, heartbeats."""
    works: float
    """Pieces of work, each of which may wait for a core."""
    varies: float
    """How much longer or shorter they wait than at random: (Ca² + Cs²) / 2, as it was seen."""
    written_bytes: float
    led: bool

    @property
    def ceiling_per_s(self) -> float:
        """Requests a second at which it, as it stands, has no core free; infinite where no cpu is
        declared or nothing is charged."""
        if not self.cores or self.demand_s <= 0:
            return math.inf
        if self.led and self.nodes > 1:
            return self.cores / self.busiest_s if self.busiest_s else math.inf
        return (self.nodes * self.cores - self.idle) / self.demand_s

    def utilization(self, rate_per_s: float, nodes: int | None = None) -> float | None:
        """Of its cores, or of its leader's; None where nothing says what it can do."""
        if not self.cores:
            return None
        if self.led and self.nodes > 1:
            return rate_per_s * self.busiest_s / self.cores
        return (rate_per_s * self.demand_s + self.idle) / ((nodes or self.nodes) * self.cores)

    def needed(self, rate_per_s: float) -> int:
        """Machines at the peak, with one to lose; what it has where that is not a matter of cpu."""
        if not self.cores or self.demand_s <= 0 or (self.led and self.nodes > 1):
            return self.nodes
        busy = rate_per_s * self.demand_s + self.idle
        return queueing.machines(busy, self.cores, at_most=AT_MOST, spare=SPARE)

    def waiting_s(self, rate_per_s: float) -> float:
        """What a request waits for its cores there, all its pieces of work together. Each member
        has a queue of its own: who balances before it spreads connections, not work."""
        if not self.cores or self.works <= 0:
            return 0.0
        arrivals_per_s = rate_per_s * self.works / self.nodes
        service_s = self.demand_s / self.works
        return self.works * queueing.wait_s(
            self.cores, service_s, arrivals_per_s, varies=self.varies
        )


@dataclass(frozen=True, slots=True)
class Model:
    """What the measurements come to."""

    costs: tuple[Cost, ...]
    unloaded_s: float
    """What a request takes where it waits for no core."""

    @property
    def bottleneck(self) -> Cost | None:
        """The tier that is the first to have no core free; None where no tier has a ceiling."""
        found = min(self.costs, key=lambda each: each.ceiling_per_s, default=None)
        return found if found is not None and found.ceiling_per_s < math.inf else None

    @property
    def ceiling_per_s(self) -> float:
        return self.bottleneck.ceiling_per_s if self.bottleneck else math.inf

    def mean_s(self, rate_per_s: float) -> float:
        """The mean response at that rate; infinite beyond the ceiling."""
        return self.unloaded_s + sum(each.waiting_s(rate_per_s) for each in self.costs)

    @property
    def knee_per_s(self) -> float:
        """Where throughput over response is greatest (Kleinrock's power): beyond it, more asked
        for costs more waiting than it brings. The model must have a ceiling."""
        rates = [self.ceiling_per_s * share / KNEE_STEPS for share in range(1, KNEE_STEPS)]
        return max(rates, key=lambda rate_per_s: rate_per_s / self.mean_s(rate_per_s))


def model(low: Measured, high: Measured) -> Model:
    """From two rates: what grows with the requests is theirs, the rest is there anyway."""
    more_per_s = high.requests_per_s - low.requests_per_s
    if more_per_s <= 0:
        raise ValueError("the site answered no more requests when it was asked more often")
    costs = []
    for name, second in high.tiers.items():
        first = low.tiers[name]
        demand_s = max(0.0, (second.busy - first.busy) / more_per_s)
        works = max(0.0, (second.works - first.works) / more_per_s)
        costs.append(
            Cost(
                name,
                second.nodes,
                second.cores,
                demand_s,
                max(0.0, (second.busiest - first.busiest) / more_per_s),
                max(0.0, first.busy - demand_s * low.requests_per_s),
                works,
                _varies(second),
                max(0.0, (second.written_bytes - first.written_bytes) / more_per_s),
                second.led,
            )
        )
    waited_s = sum(each.waiting_s(low.requests_per_s) for each in costs)
    return Model(tuple(costs), max(0.0, low.mean_s - waited_s))


def _varies(seen: TierLoad) -> float:
    """What makes the formula's wait the one that was seen; Poisson arrivals of constant work where
    that was too little to tell."""
    if not seen.cores or not seen.works:
        return CONSTANT
    each = seen.nodes
    at_random_s = queueing.wait_s(seen.cores, seen.busy / seen.works, seen.works / each, varies=1.0)
    wait_s = seen.waited / seen.works
    return wait_s / at_random_s if LEAST_WAIT_S < at_random_s < math.inf else CONSTANT


# --- the answer ----------------------------------------------------------------------------------


def requests_per_s(users: float, requests_per_day: float, peak: float) -> float:
    """At the peak: the day's mean times `peak`."""
    return users * requests_per_day / DAY_S * peak


@dataclass(frozen=True, slots=True)
class TierPlan:
    """What one tier needs. `busy` and so on are None where no cpu is declared."""

    tier: str
    nodes: int
    has: int
    cores: int | None
    demand_s: float
    """Core seconds of one request."""
    utilization: float | None
    after_losing_one: float | None
    cost_per_month: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What `emu plan --json` prints, by these names."""

    users: float
    requests_per_s: float
    step: str
    bottleneck: str | None
    ceiling_per_s: float | None
    """As the file stands."""
    unloaded_s: float
    storage_gb_per_month: float
    """By how much what is written grows."""
    cost_per_month: float
    prices_of: str
    currency: str
    tiers: tuple[TierPlan, ...]
    cautions: tuple[str, ...]


def answer(
    found: Model, users: float, rate_per_s: float, mean_per_s: float, step: str, prices: Prices
) -> Answer:
    """For so many requests at the peak, and over a day."""
    tiers = tuple(_tier(each, rate_per_s, prices) for each in found.costs)
    written = sum(each.written_bytes for each in found.costs)
    storage_gb = written * mean_per_s * MONTH_S / 1e9
    machines = sum(each.cost_per_month for each in tiers)
    return Answer(
        users,
        round(rate_per_s, 3),
        step,
        found.bottleneck.tier if found.bottleneck else None,
        round(found.ceiling_per_s, 1) if found.bottleneck else None,
        round(found.unloaded_s, 6),
        round(storage_gb, 3),
        round(machines + storage_gb * prices.gb_month, 2),
        prices.of,
        prices.currency,
        tiers,
        tuple(_cautions(found, rate_per_s)),
    )


def _tier(cost: Cost, rate_per_s: float, prices: Prices) -> TierPlan:
    nodes = cost.needed(rate_per_s)
    return TierPlan(
        cost.tier,
        nodes,
        cost.nodes,
        cost.cores or None,
        round(cost.demand_s, 6),
        _rounded(cost.utilization(rate_per_s, nodes)),
        _rounded(cost.utilization(rate_per_s, max(1, nodes - 1))),
        round(nodes * prices.machine_month(cost.cores), 2),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _cautions(found: Model, rate_per_s: float) -> Iterator[str]:
    """What the figures do not say by themselves."""
    for each in found.costs:
        utilization = each.utilization(rate_per_s)
        if each.led and each.nodes > 1 and utilization is not None and utilization > AT_MOST:
            yield (
                f"{each.tier}: its leader would be {utilization:.0%} busy, and more members do not "
                "help that: shard it (step 11), cache in front of it (06), or take a faster machine"
            )
    silent = [each.tier for each in found.costs if not each.cores]
    if silent:
        yield (
            f"{', '.join(silent)}: no `cpu:` is declared, so nothing says what one can do; they "
            "are planned as they are"
        )
