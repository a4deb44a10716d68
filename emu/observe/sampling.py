"""What each tier and node did, second by second: requests, errors, latencies, kept for a while.

The live page, `emu top` and the report are drawn from it; Prometheus has its own way (http.py). A
sample holds counts, not rates, so that two can be merged into one.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Final

import trio

from emu.observe.link_series import Ways, sum_up
from emu.running.instance import Instance
from emu.running.supervisor import Cluster
from nodes.kind import Traffic
from nodes.metrics import LATENCY_EDGES_S, Counter, Gauge, Histogram, Metrics
from nodes.parts.tally import READ, WRITE

EFFECTS: Final = (READ, WRITE)
RECENT_SAMPLES: Final = 3
"""Rates and percentiles are over so many: one second alone jumps about."""
SHORT_S: Final = 0.5
MAX_SAMPLES: Final = 1200
"""When so many are kept, neighbours are merged: a long run has coarser ones."""
NODES_PER_TURN: Final = 20
"""Nodes that are read before other tasks get their turn."""
NODES_PER_SECOND: Final = 500
"""With more nodes the samples become rarer."""


@dataclass(slots=True)
class Counts:
    """What happened in some time. `buckets`: the place of an edge (the first that is no less) →
    how many latencies; the place behind the last edge has what is beyond it."""

    requests: float = 0.0
    errors: float = 0.0
    buckets: dict[int, int] = field(default_factory=dict)
    effects: dict[str, Counts] = field(default_factory=dict)
    """Of clients: the reads and the writes among them."""

    def add(self, other: Counts) -> None:
        self.requests += other.requests
        self.errors += other.errors
        for place, count in other.buckets.items():
            self.buckets[place] = self.buckets.get(place, 0) + count
        for effect, counts in other.effects.items():
            self.effects.setdefault(effect, Counts()).add(counts)

    def to_json(self) -> list[Any]:
        """`[requests, errors, [[place, count], ...], {effect: the same}]`."""
        buckets = [list(each) for each in sorted(self.buckets.items())]
        effects = {effect: counts.to_json() for effect, counts in self.effects.items()}
        return [self.requests, self.errors, buckets, effects]

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> Counts:
        requests, errors, buckets, *rest = values  # records of before had no effects
        effects = {effect: cls.from_json(each) for effect, each in (rest or [{}])[0].items()}
        return cls(requests, errors, dict(buckets), effects)

    def since(self, before: Counts) -> Counts:
        """What came after `before`."""
        grown = ((each, n - before.buckets.get(each, 0)) for each, n in self.buckets.items())
        later = {place: count for place, count in grown if count}
        effects = {
            effect: counts.since(before.effects.get(effect, Counts()))
            for effect, counts in self.effects.items()
        }
        return Counts(self.requests - before.requests, self.errors - before.errors, later, effects)

    def quantile_s(self, fraction: float) -> float | None:
        """The middle between two edges: within 4.5% of the truth from 10 µs to 100 s; None if
        nothing was measured."""
        rank, seen = fraction * sum(self.buckets.values()), 0
        for place in sorted(self.buckets):
            count = self.buckets[place]
            if seen + count >= rank:
                if place >= len(LATENCY_EDGES_S):
                    break
                return sqrt(LATENCY_EDGES_S[max(0, place - 1)] * LATENCY_EDGES_S[place])
            seen += count
        return LATENCY_EDGES_S[-1] if self.buckets else None


@dataclass(slots=True)
class NodeSample:
    """One node in the newest sample."""

    counts: Counts = field(default_factory=Counts)
    waiting: float = 0.0
    """Requests (or connections) in hand."""
    cpu_busy_ratio: float | None = None
    """None where no cpu is declared."""
    shed_per_s: float = 0.0
    """Requests that it refused, because more urgent ones waited."""
    shed_from: int = 0
    """The most urgent of those, as of now."""


@dataclass(slots=True)
class Sample:
    """All tiers from `time_s - seconds` to `time_s` (the world's time, at `unix_s`)."""

    time_s: float
    unix_s: float
    seconds: float
    tiers: dict[str, Counts]

    def merged(self, later: Sample) -> Sample:
        tiers: dict[str, Counts] = {}
        for sample in (self, later):
            for tier, counts in sample.tiers.items():
                tiers.setdefault(tier, Counts()).add(counts)
        return Sample(later.time_s, later.unix_s, self.seconds + later.seconds, tiers)


@dataclass(slots=True)
class _Reading:
    """What a node's registry said last; a restarted node has another registry."""

    metrics: Metrics
    counts: Counts
    cpu_busy_s: float
    shed: float


class Sampler:
    """Run `run` in the cluster's nursery. `samples` are the run so far, `nodes` the newest."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.samples: list[Sample] = []
        self.nodes: dict[str, NodeSample] = {}
        self._of_nodes: list[Sample] = []
        """The newest samples, with nodes in place of tiers."""
        self.ways: Ways = {}
        """The links, as of the newest sample."""
        self._readings: dict[str, _Reading] = {}
        self._last_s = cluster.world.timers.now_s()

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            await self.cluster.operator.sleep(
                max(1.0, len(self.cluster.instances) / NODES_PER_SECOND)
            )
            await self.sample()

    async def sample(self) -> None:
        """Read every node once, some at a time."""
        now_s = self.cluster.world.timers.now_s()
        unix_s, seconds, self._last_s = time.time(), now_s - self._last_s, now_s
        tiers: dict[str, Counts] = {}
        nodes: dict[str, NodeSample] = {}
        for place, (name, instance) in enumerate(list(self.cluster.instances.items())):
            if place % NODES_PER_TURN == NODES_PER_TURN - 1:
                await trio.lowlevel.checkpoint()
            found = nodes[name] = self._read(instance, seconds)
            tiers.setdefault(instance.spec.tier, Counts()).add(found.counts)
        self.nodes, self.ways = nodes, await sum_up(self.cluster)
        self._readings = {name: each for name, each in self._readings.items() if name in nodes}
        sample = Sample(now_s, unix_s, seconds, tiers)
        of_nodes = Sample(
            now_s, unix_s, seconds, {name: each.counts for name, each in nodes.items()}
        )
        if self.samples and seconds < SHORT_S:  # its rates would be accidents
            sample = self.samples.pop().merged(sample)
            of_nodes = self._of_nodes.pop().merged(of_nodes)
        self.samples.append(sample)
        self._of_nodes = [*self._of_nodes, of_nodes][-RECENT_SAMPLES:]
        if len(self.samples) > MAX_SAMPLES:
            self._thin_out()

    def recent(self, tier: str = "", *, node: str = "") -> tuple[Counts, float]:
        """What the tier, or the node, did in the newest samples, and how long they are together."""
        total, seconds = Counts(), 0.0
        for sample in self._of_nodes if node else self.samples[-RECENT_SAMPLES:]:
            total.add(sample.tiers.get(node or tier, Counts()))
            seconds += sample.seconds
        return total, seconds

    def unix_s(self, time_s: float) -> float:
        """When that was by the calendar, which goes on while the world's time stands still."""
        after = bisect_left(self.samples, time_s, key=lambda sample: sample.time_s)
        if after < len(self.samples):
            sample = self.samples[after]
            return sample.unix_s - (sample.time_s - time_s)
        return time.time() - (self.cluster.world.timers.now_s() - time_s)

    def _read(self, instance: Instance, seconds: float) -> NodeSample:
        metrics, kind = instance.handle.metrics, instance.placement.kind
        traffic = kind.traffic
        cpu_busy_s = metrics.total("cpu_busy_seconds_total") or 0.0
        counts = _counts(metrics, traffic)
        if kind.clients:
            counts.effects = {each: _counts(metrics, traffic, effect=each) for each in EFFECTS}
        now = _Reading(metrics, counts, cpu_busy_s, metrics.total("cpu_shed_total") or 0.0)
        before = self._readings.get(instance.spec.name)
        if before is None or before.metrics is not metrics:
            before = _Reading(metrics, Counts(), 0.0, 0.0)
        self._readings[instance.spec.name] = now
        busy = None
        if instance.handle.cores and seconds > 0:
            busy = min(1.0, (now.cpu_busy_s - before.cpu_busy_s) / seconds / instance.handle.cores)
        waiting = _sum(metrics.series(traffic.in_hand))
        return NodeSample(
            now.counts.since(before.counts),
            waiting if instance.running else 0.0,
            busy,
            (now.shed - before.shed) / seconds if seconds > 0 else 0.0,
            int(_sum(metrics.series("cpu_shed_from"))),
        )

    def _thin_out(self) -> None:
        older = self.samples
        pairs = zip(older[::2], older[1::2], strict=False)
        rest = older[-1:] if len(older) % 2 else []
        self.samples = [*(first.merged(second) for first, second in pairs), *rest]


def _counts(metrics: Metrics, traffic: Traffic, **labels: str) -> Counts:
    requests, errors = (
        _sum(metrics.series(name, **labels)) for name in (traffic.requests, traffic.errors)
    )
    counts = Counts(requests, errors)
    for histogram in metrics.series(traffic.seconds, **labels):
        assert isinstance(histogram, Histogram)
        if histogram.edges is LATENCY_EDGES_S:
            for place, count in enumerate(histogram.counts):
                if count:
                    counts.buckets[place] = counts.buckets.get(place, 0) + count
    return counts


def _sum(series: Iterable[object]) -> float:
    total = 0.0
    for each in series:
        assert isinstance(each, Counter | Gauge)
        total += each.value if each.read is None else each.read()
    return total
