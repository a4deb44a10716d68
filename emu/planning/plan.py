"""From what a request costs each tier to how many machines so many users need, and which tier is
the bottleneck. Pure: it is handed what measuring.py saw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Final, NamedTuple

from emu.planning import queueing
from emu.planning.measuring import Load, Measured, TierLoad
from emu.planning.prices import Prices

AT_MOST: Final = 0.7
"""How busy a planned tier is at the peak: beyond it waiting grows fast."""
CLOSE: Final = 0.8
"""So busy, it is close below its ceiling."""
CONSTANT: Final = 0.5
LEAST_WAIT_S: Final = 1e-5
KNEE_STEPS: Final = 200
SPARE: Final = 1
"""Machines of each tier that may be lost at the peak."""
DAY_S: Final = 86_400.0
MONTH_S: Final = 30 * DAY_S


class Point(NamedTuple):
    """What one of some like members had to do when the site was asked so often."""

    requests_per_s: float
    busy: float
    works: float
    varies: float
    """How much longer or shorter work waited than at random: (Ca² + Cs²) / 2."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Members of a tier among whom work is shared alike, each with a line of its own: who balances
    before them spreads connections, not work."""

    nodes: int
    cores: int
    points: tuple[Point, ...]
    """By rate; two at least. Between them it is as on a straight line."""

    @property
    def demand_s(self) -> float:
        """Core seconds of a request, in each of them."""
        first, last = self.points[0], self.points[-1]
        return max(0.0, (last.busy - first.busy) / (last.requests_per_s - first.requests_per_s))

    @property
    def works(self) -> float:
        """Pieces of work of a request in each of them, each of which may wait for a core."""
        first, last = self.points[0], self.points[-1]
        return max(0.0, (last.works - first.works) / (last.requests_per_s - first.requests_per_s))

    @property
    def idle(self) -> float:
        """Cores' worth of work that each has without requests: checks, heartbeats."""
        first = self.points[0]
        return max(0.0, first.busy - self.demand_s * first.requests_per_s)

    @property
    def ceiling_per_s(self) -> float:
        """Requests a second at which they have no core free. Close below it the last points tell:
        some ask more often where they wait for longer."""
        if not self.cores or self.demand_s <= 0:
            return math.inf
        before, last = self.points[-2:]
        more = last.busy - before.busy
        if last.busy > CLOSE * self.cores and more > 0:
            slope_s = more / (last.requests_per_s - before.requests_per_s)
        else:
            slope_s = self.demand_s
        return last.requests_per_s + max(0.0, self.cores - last.busy) / slope_s

    def at(self, rate_per_s: float) -> Point:
        """What each then has to do."""
        pairs = pairwise(self.points)
        one, other = next((each for each in pairs if rate_per_s <= each[1][0]), self.points[-2:])
        share = (rate_per_s - one.requests_per_s) / (other.requests_per_s - one.requests_per_s)
        line = [was + share * (then - was) for was, then in zip(one, other, strict=True)]
        varies = one.varies + min(1.0, max(0.0, share)) * (other.varies - one.varies)
        return Point(rate_per_s, max(0.0, line[1]), max(0.0, line[2]), varies)

    def waiting_s(self, rate_per_s: float) -> float:
        """What a request waits for their cores, all its pieces of work together."""
        seen = self.at(rate_per_s)
        if not self.cores or rate_per_s <= 0 or seen.works <= 0:
            return 0.0
        wait_s = queueing.wait_s(self.cores, seen.busy / seen.works, seen.works, varies=seen.varies)
        return self.nodes * self.works * wait_s if self.works else 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request costs one tier."""

    tier: str
    nodes: int
    cores: int
    queues: tuple[Queue, ...]
    """One of all members; where one leads, its own comes first, and then that of the others."""
    written_bytes: float
    led: bool

    @property
    def demand_s(self) -> float:
        """Core seconds, all members together."""
        return sum(each.nodes * each.demand_s for each in self.queues)

    @property
    def works(self) -> float:
        return sum(each.nodes * each.works for each in self.queues)

    @property
    def idle(self) -> float:
        """Cores' worth of work that is there without requests."""
        return sum(each.nodes * each.idle for each in self.queues)

    @property
    def ceiling_per_s(self) -> float:
        """Requests a second at which it, as it stands, or its leader, has no core free; infinite
        where no cpu is declared or nothing is charged."""
        return min(each.ceiling_per_s for each in self.queues)

    def served_per_s(self, seen: TierLoad, ceiling_per_s: float) -> float:
        """How many requests what was seen of it comes to, by those of it that bear least: at their
        ceiling they work off what is then asked of them."""
        queue, members = min(
            zip(self.queues, alike(seen), strict=True), key=lambda each: each[0].ceiling_per_s
        )
        return ceiling_per_s * _mean(members).works / queue.at(ceiling_per_s).works

    def utilization(self, rate_per_s: float, nodes: int | None = None) -> float | None:
        """Of its cores, or of its leader's; None where nothing says what it can do."""
        if not self.cores:
            return None
        if self.led and self.nodes > 1:
            return (rate_per_s * self.queues[0].demand_s + self.queues[0].idle) / self.cores
        return (rate_per_s * self.demand_s + self.idle) / ((nodes or self.nodes) * self.cores)

    def needed(self, rate_per_s: float) -> int:
        """Machines at the peak, with one to lose; what it has where that is not a matter of cpu."""
        if not self.cores or self.demand_s <= 0 or (self.led and self.nodes > 1):
            return self.nodes
        busy = rate_per_s * self.demand_s + self.idle
        return queueing.machines(busy, self.cores, at_most=AT_MOST, spare=SPARE)

    def waiting_s(self, rate_per_s: float) -> float:
        """What a request waits for its cores there, all its pieces of work together."""
        return sum(each.waiting_s(rate_per_s) for each in self.queues)


@dataclass(frozen=True, slots=True)
class Model:
    """What the measurements come to."""

    costs: tuple[Cost, ...]
    unloaded_s: float
    """What a request takes where it waits for no core."""
    most_per_s: float = math.inf
    """So many were asked for once, and it did not bear them."""

    @property
    def bottleneck(self) -> Cost | None:
        """The tier that is the first to have no core free; None where no tier has a ceiling."""
        found = min(self.costs, key=lambda each: each.ceiling_per_s, default=None)
        return found if found is not None and found.ceiling_per_s < math.inf else None

    @property
    def ceiling_per_s(self) -> float:
        ceiling_per_s = self.bottleneck.ceiling_per_s if self.bottleneck else math.inf
        return min(ceiling_per_s, self.most_per_s)

    def mean_s(self, rate_per_s: float) -> float:
        """The mean response at that rate; infinite beyond the ceiling."""
        return self.unloaded_s + sum(each.waiting_s(rate_per_s) for each in self.costs)

    @property
    def knee_per_s(self) -> float:
        """Where throughput over response is greatest (Kleinrock's power): beyond it, more asked
        for costs more waiting than it brings. The model must have a ceiling."""
        rates = [self.ceiling_per_s * share / KNEE_STEPS for share in range(1, KNEE_STEPS)]
        return max(rates, key=lambda rate_per_s: rate_per_s / self.mean_s(rate_per_s))


def model(low: Measured, high: Measured, close: Measured | None = None) -> Model:
    """From two rates: what grows with the requests is theirs, the rest is there anyway. `close`, of
    a third one, says what is asked of the tiers shortly below their ceiling. Raises ValueError
    where the site did not answer more when it was asked more often."""
    runs = [low, high] if close is None else [low, high, close]
    if any(other.requests_per_s <= one.requests_per_s for one, other in pairwise(runs)):
        raise ValueError("the site answered no more requests when it was asked more often")
    costs = []
    for name, tier in high.tiers.items():
        queues = tuple(
            _queue(tier.cores, runs, groups)
            for groups in zip(*(alike(each.tiers[name]) for each in runs), strict=True)
        )
        written = tier.written_bytes - low.tiers[name].written_bytes
        written = max(0.0, written / (high.requests_per_s - low.requests_per_s))
        costs.append(Cost(name, len(tier.members), tier.cores, queues, written, tier.led))
    waited_s = sum(each.waiting_s(low.requests_per_s) for each in costs)
    return Model(tuple(costs), max(0.0, low.mean_s - waited_s))


def alike(seen: TierLoad) -> list[Sequence[Load]]:
    """Members that have the same work: all; or who has most of it, which is who leads, and the
    others."""
    if not seen.led or len(seen.members) == 1:
        return [seen.members]
    ordered = sorted(seen.members, reverse=True)
    return [ordered[:1], ordered[1:]]


def _queue(cores: int, runs: Sequence[Measured], groups: Sequence[Sequence[Load]]) -> Queue:
    """Of members that are alike, as each run saw them. Close below the ceiling waits tell little in
    a short run: they are as random as at the rate before."""
    loads = [_mean(members) for members in groups]
    varies = [_varies(cores, each) for each in loads[:2]]
    points = tuple(
        Point(run.requests_per_s, load.busy, load.works, varies[min(number, 1)])
        for number, (run, load) in enumerate(zip(runs, loads, strict=True))
    )
    return Queue(len(groups[0]), cores, points)


def _mean(members: Sequence[Load]) -> Load:
    return Load(*(fmean(figures) for figures in zip(*members, strict=True)))


def _varies(cores: int, seen: Load) -> float:
    """What makes the formula's wait the one that was seen; Poisson arrivals of constant work where
    that was too little to tell."""
    if not cores or not seen.works:
        return CONSTANT
    at_random_s = queueing.wait_s(cores, seen.busy / seen.works, seen.works, varies=1.0)
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
    """Of the machines, and of what one month writes."""
    storage_cost_per_month: float
    """Of what one month writes: the next one adds as much."""
    prices_of: str
    currency: str
    tiers: tuple[TierPlan, ...]
    cautions: tuple[str, ...]


def answer(
    found: Model,
    users: float,
    rate_per_s: float,
    mean_per_s: float,
    step: str,
    prices: Prices,
    cautions: Sequence[str] = (),
) -> Answer:
    """For so many requests at the peak, and over a day. `cautions`: what the caller has to say."""
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
        round(storage_gb * prices.gb_month, 2),
        prices.of,
        prices.currency,
        tiers,
        (*cautions, *_cautions(found, rate_per_s)),
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
