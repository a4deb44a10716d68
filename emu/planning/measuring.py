"""What a request of a user costs each tier, measured: the same nodes in virtual time, at a rate.

Nothing is read off the file's service times: a slow disk, a cache, a retry are in the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import stdev
from typing import Any, Final, NamedTuple

from emu.model.topology import Tier, Topology
from emu.scenario import Scenario, cluster
from emu.sim.run import in_virtual_time
from emu.sim.world import Knobs
from nodes.kind import Scaling
from nodes.metrics import Histogram
from nodes.parts.histogram import LogHistogram

WARM_UP_S: Final = 12.0
"""Before the figures count: elections, checks, full caches, steady queues."""
LEAST_WARM_UP_S: Final = 5.0
WARM_REQUESTS: Final = 1000
"""Where there are so many before it ends, it ends with them."""
BUSY: Final = "cpu_busy_seconds_total"
WAITS: Final = "cpu_queue_wait_seconds"
WAITED: Final = f"{WAITS}_sum"
WRITTEN: Final = "disk_written_bytes_total"
PARTS: Final = 6
STUDENT: Final = 2.571
"""97.5% of Student's t with five degrees of freedom."""
ROUNDS: Final = 5
"""So often it is asked whether that was enough, at even distances."""
WARM_PARTS: Final = 10
"""So often it is told how far the warm-up is."""
PRECISE: Final = 0.04
"""A run is long enough when its mean response is known so well, as a share of itself."""
MOST_REQUESTS: Final = 2500
"""It is not longer than for so many: some means are never known so well."""


class NoUsers(ValueError):
    """The file has nobody whose requests could be counted."""


class Load(NamedTuple):
    """What one member did, in a second."""

    busy: float
    """Cores' worth of work."""
    works: float
    """Pieces of work that got a core."""
    waited: float
    """Seconds that they had waited for it, together."""


@dataclass(frozen=True, slots=True)
class TierLoad:
    """What one tier did, in a second."""

    cores: int
    """Of each node; 0: no `cpu:` is declared, so nothing says what it can do."""
    members: tuple[Load, ...]
    written_bytes: float
    led: bool
    """Whether one member has work that others cannot take over."""

    @property
    def busy(self) -> float:
        """Cores' worth of work, all members together."""
        return sum(each.busy for each in self.members)

    @property
    def works(self) -> float:
        return sum(each.works for each in self.members)

    @property
    def utilization(self) -> float:
        """Of its cores; of its leader's, where there is one. It has some."""
        if self.led:
            return max(each.busy for each in self.members) / self.cores
        return self.busy / (len(self.members) * self.cores)

    @property
    def busier_half(self) -> float:
        """The same of those members that have more to do than the others."""
        if self.led:
            return self.utilization
        busy = sorted(each.busy for each in self.members)[len(self.members) // 2 :]
        return sum(busy) / (len(busy) * self.cores)


@dataclass(frozen=True, slots=True)
class Measured:
    """A run at a steady rate."""

    requests_per_s: float
    ok_per_s: float
    mean_s: float
    """Of all answers that were good or bad."""
    mean_within_s: float
    """Half the 95% interval of that mean, from the means of parts of the run."""
    tiers: Mapping[str, TierLoad]


def precise(seen: Measured) -> bool:
    """Whether its mean response is known well enough."""
    return seen.mean_within_s <= PRECISE * seen.mean_s


def measure(
    topology: Topology,
    rate_per_s: float,
    most_s: float,
    seed: int = 1,
    enough: Callable[[Measured], bool] = precise,
    *,
    stands_for: float = 1.0,
    passes: Callable[[float], object] = lambda _: None,
) -> Measured:
    """Let the file's users ask so often together, in the shares that the file has, and look until
    that was `enough`, for `most_s` or MOST_REQUESTS at the longest. Faults of the file do not
    happen. `stands_for`: how many requests each that is really sent stands for; the others take
    cores alone. `passes` is told the share of the longest time that is over. Raises NoUsers."""
    sent_per_s = rate_per_s / stands_for
    planned = replace(paced(topology, sent_per_s, stands_for), seed=seed, faults=())
    most_s = min(most_s, MOST_REQUESTS / sent_per_s)
    warm_s, part_s = warm_up_s(sent_per_s), most_s / (ROUNDS * PARTS)

    async def program() -> Measured:
        async with cluster(planned, world="sim", knobs=Knobs()) as scenario:
            over_s = 0.0

            async def sleep(for_s: float) -> None:
                nonlocal over_s
                await scenario.sleep(for_s)
                over_s += for_s
                passes(over_s / (warm_s + most_s))

            for _ in range(WARM_PARTS):
                await sleep(warm_s / WARM_PARTS)
            looks = [await _look(scenario, planned)]
            for rounds in range(1, ROUNDS + 1):
                for _ in range(PARTS):
                    await sleep(part_s)
                    looks.append(await _look(scenario, planned))
                seen = _between(planned, looks[::rounds], rounds * PARTS * part_s, stands_for)
                if enough(seen):
                    break
        return seen

    outcome = in_virtual_time(program, seed=seed, max_virtual_s=WARM_UP_S + most_s + 60)
    if outcome.error is not None:
        raise outcome.error
    assert outcome.value is not None
    return outcome.value


def warm_up_s(rate_per_s: float) -> float:
    return min(WARM_UP_S, max(LEAST_WARM_UP_S, WARM_REQUESTS / rate_per_s))


def grown(topology: Topology) -> Topology:
    """What it comes to under load: each tier that another one scales has as many members as it may
    have at the most, and nobody scales it."""
    for tier, scaling in scalings(topology):
        topology = topology.scaled(scaling.tier, scaling.most_nodes).without(tier.name)
    return topology


def scalings(topology: Topology) -> list[tuple[Tier, Scaling]]:
    """Who scales whom."""
    return [(tier, tier.kind.scales(tier.config)) for tier in topology.tiers if tier.kind.scales]


def people(topology: Topology) -> list[Tier]:
    """Those whose requests are counted."""
    return [tier for tier in topology.tiers if tier.kind.outside and tier.kind.paced]


def paced(topology: Topology, rate_per_s: float, stands_for: float = 1.0) -> Topology:
    """The same users, asking so often together, whatever happens; each of them stands for so many.
    Raises NoUsers."""
    shares = {tier.name: _weight(tier) for tier in people(topology)}
    total = sum(shares.values())
    if not total:
        raise NoUsers("nobody visits this site: add `users: {local: {rate: 10/s, visits: ...}}`")
    tiers = []
    for tier in topology.tiers:
        others = 1.0 if tier.kind.clients else stands_for
        tier = replace(tier, cpu=replace(tier.cpu, stands_for=others))  # whatever the file's sample
        if tier.name in shares and tier.kind.paced:
            each_per_s = rate_per_s * shares[tier.name] / total / len(tier.members)
            tier = replace(tier, config=tier.kind.paced(tier.config, each_per_s))
        tiers.append(tier)
    return replace(topology, tiers=tuple(tiers))


def rate_of(topology: Topology) -> float:
    """About how many requests a second the file's users make by themselves."""
    return sum(map(_weight, people(topology)))


def _weight(tier: Tier) -> float:
    demand = tier.kind.demand(tier.config) if tier.kind.demand else None
    each = demand.rate_per_s + demand.waiting if demand else 0.0
    return each * len(tier.members)


# --- reading -------------------------------------------------------------------------------------

_Look = dict[str, Any]


async def _look(scenario: Scenario, topology: Topology) -> _Look:
    """Counters of all nodes, and what users say."""
    found: _Look = {}
    instances = scenario.cluster.instances
    for tier in topology.tiers:
        for name in tier.node_names:
            metrics = instances[name].handle.metrics
            found[name] = {each: metrics.total(each) or 0.0 for each in (BUSY, WAITS, WRITTEN)}
            waits = metrics.series(WAITS)
            found[name][WAITED] = sum(each.sum for each in waits if isinstance(each, Histogram))
    for tier in people(topology):
        for name in tier.node_names:
            found[name] = await instances[name].handle.ask("summary")
    return found


def _between(
    topology: Topology, looks: Sequence[_Look], for_s: float, stands_for: float
) -> Measured:
    asked = [name for tier in people(topology) for name in tier.node_names]
    before, after = looks[0], looks[-1]
    answers = [_answers(asked, look) for look in looks]
    means = [_mean(one, other) for one, other in pairwise(answers)]

    def per_s(count: str) -> float:
        more: int = sum(after[name][count] - before[name][count] for name in asked)
        return more * stands_for / for_s

    return Measured(
        per_s("requests"),
        per_s("ok"),
        _mean(answers[0], answers[-1]),
        STUDENT * stdev(means) / math.sqrt(len(means)),
        {
            tier.name: _tier_load(tier, before, after, for_s, stands_for)
            for tier in topology.tiers
            if not tier.kind.clients
        },
    )


def _answers(names: Sequence[str], look: _Look) -> tuple[int, float]:
    """How many there were, and the seconds that they took together."""
    found = LogHistogram()
    for name in names:
        found.merge(LogHistogram.from_wire(look[name]["latency_wire"]))
    return found.total, found.sum


def _mean(before: tuple[int, float], after: tuple[int, float]) -> float:
    answers = after[0] - before[0]
    return (after[1] - before[1]) / answers if answers else 0.0


def _tier_load(
    tier: Tier, before: _Look, after: _Look, for_s: float, stands_for: float
) -> TierLoad:
    def per_s(name: str, metric: str) -> float:
        return float((after[name][metric] - before[name][metric]) / for_s)

    def load(name: str) -> Load:
        # cores are held by all who come, and only those that were sent are counted
        works, waited = (stands_for * per_s(name, metric) for metric in (WAITS, WAITED))
        return Load(per_s(name, BUSY), works, waited)

    names = tier.node_names
    return TierLoad(
        tier.cpu.cores,
        tuple(map(load, names)),
        stands_for * sum(per_s(name, WRITTEN) for name in names),
        tier.kind.leader is not None,
    )
