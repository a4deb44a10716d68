"""How the cluster is just now, as one plain object: what `emu top` and the live page show.

It is the same over the control socket and at /status. Numbers come from the sampler; nothing here
changes anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from typing import Any, Final

from emu.alerts.states import FIRING, Firing
from emu.machine.events import packable
from emu.model.topology import Tier, Topology
from emu.observe.sampling import Counts, Sample, Sampler
from emu.observe.wording import fault_text
from emu.running.leaders import leaderless
from emu.running.supervisor import Cluster
from emu.running.views import kinds, ps_row

HISTORY_SAMPLES: Final = 60
MAX_NODES: Final = 400
"""More nodes are summed up in their tiers only; those that are not up come first."""
MAX_EVENTS: Final = 50
MAX_ALERTS: Final = 20
WORDS: Final = {
    "rate/s": "Requests a second, over the last three seconds (of a balancer, which reads none: "
    "each time a client speaks and its server answers).",
    "err/s": "Those of them that failed.",
    "wait": "Requests that have no answer yet.",
    "cpu": "How busy the cores are that its tier declares (`cpu:`).",
    "not trustworthy": "This computer is too busy just now: what is shown may be its doing.",
}
"""What is on `emu top` and the page."""

Status = dict[str, Any]


def status(
    cluster: Cluster, sampler: Sampler, alerts: Sequence[Firing] = (), *, since: int = 0
) -> Status:
    """`since`: the first event's index that the asker has not seen."""
    now_s = cluster.world.timers.now_s()
    fidelity = cluster.world.fidelity()
    topology = cluster.topology
    nodes = [_node(cluster, sampler, name) for name in cluster.instances]
    shown = sorted(nodes, key=lambda node: node["state"] == "up")[:MAX_NODES]
    names = dict.fromkeys(node["name"] for node in shown)
    firing = [each for each in alerts if each.state == FIRING]
    return {
        "name": topology.name,
        "time_s": round(now_s, 3),
        "ready_s": cluster.ready_s,
        "trustworthy": fidelity["trustworthy"],
        "reasons": fidelity["reasons"],
        "loop_lag_s": fidelity["loop_lag_s"],
        "kinds": kinds(topology),
        "tiers": [_tier(cluster, sampler, tier) for tier in topology.tiers],
        "edges": edges(topology),
        "links": [
            {"ends": list(ends), "cut": way.cut > 0, "latency_s": way.latency_s}
            for ends, way in sampler.ways.items()
        ],
        "nodes": [node for node in nodes if node["name"] in names],
        "nodes_left_out": len(nodes) - len(shown),
        "faults": _faults(cluster),
        "leaderless": list(leaderless(topology, cluster.instances).values()),
        "alerts": [each.to_json() for each in firing[:MAX_ALERTS]],
        "alerts_left_out": max(0, len(firing) - MAX_ALERTS),
        "under_way": _under_way(cluster),
        "offered": list(offered(topology)),
        "events": _events(cluster, since),
    }


def edges(topology: Topology) -> list[list[str]]:
    """Who dials whom, by tiers: `[source, target]`."""
    return [
        [tier.name, target]
        for tier in topology.tiers
        for target in tier.dials
        if target != tier.name
    ]


def _tier(cluster: Cluster, sampler: Sampler, tier: Tier) -> dict[str, Any]:
    instances = cluster.tier_instances(tier.name)
    recent = sampler.recent(tier.name)
    history = sampler.samples[-HISTORY_SAMPLES:]
    return {
        "name": tier.name,
        "kind": tier.word,
        "group": tier.group,
        "public": tier.public,
        "clients": tier.kind.clients,
        "nodes": len(instances),
        "up": sum(instance.shown_state == "up" for instance in instances),
        **_rates(*recent),
        "effects": {
            effect: _rates(counts, recent[1])
            for effect, counts in recent[0].effects.items()
            if counts.requests
        },
        "waiting": sum(_waiting(sampler, instance.spec.name) for instance in instances),
        "history": [_per_second(sample, tier.name, "requests") for sample in history],
        "error_history": [_per_second(sample, tier.name, "errors") for sample in history],
    }


def _rates(counts: Counts, seconds: float) -> dict[str, Any]:
    return {
        "rate_per_s": round(counts.requests / seconds, 2) if seconds else 0.0,
        "errors_per_s": round(counts.errors / seconds, 2) if seconds else 0.0,
        "p50_s": _rounded(counts.quantile_s(0.5)),
        "p99_s": _rounded(counts.quantile_s(0.99)),
    }


def _per_second(sample: Sample, tier: str, what: str) -> float:
    counts = sample.tiers.get(tier)
    if counts is None or not sample.seconds:
        return 0.0
    return round(float(getattr(counts, what)) / sample.seconds, 2)


def _waiting(sampler: Sampler, name: str) -> int:
    found = sampler.nodes.get(name)
    return int(found.waiting) if found is not None else 0


def _node(cluster: Cluster, sampler: Sampler, name: str) -> dict[str, Any]:
    """The row of `emu ps`, and the newest samples."""
    row = ps_row(cluster, cluster.instances[name])
    sample = sampler.nodes.get(name)
    if sample is None:
        return {**row, **_rates(Counts(), 0.0), "waiting": 0, "cpu_busy_ratio": None,
                "shed_per_s": 0.0, "shed_from": 0}  # fmt: skip
    busy = sample.cpu_busy_ratio
    return {
        **row,
        **_rates(*sampler.recent(node=name)),
        "waiting": int(sample.waiting),
        "cpu_busy_ratio": None if busy is None else round(busy, 3),
        "shed_per_s": round(sample.shed_per_s, 2),
        "shed_from": sample.shed_from,
    }


def _faults(cluster: Cluster) -> list[dict[str, Any]]:
    """What is broken now."""
    texts = {record["number"]: fault_text(record) for record in cluster.timeline}
    return [
        {
            "number": each.number,
            "text": texts[each.number],
            "since_s": each.since_s,
            "until_s": each.until_s,
        }
        for each in cluster.active.values()
        if each.fault.breaks
    ]


def _under_way(cluster: Cluster) -> list[dict[str, Any]]:
    """The operations that are not over yet, and how far they are."""
    return [
        {
            "text": f"{each.verb} {each.main}",
            "done": each.progress.done if each.progress is not None else 0,
            "of": each.progress.of if each.progress is not None else 0,
            "told": each.progress.text if each.progress is not None else "",
        }
        for each in cluster.operations.values()
        if not each.over.is_set()
    ]


def offered(topology: Topology) -> Iterator[dict[str, Any]]:
    """What a tier's kind lets be done to it without another word: `{"tier", "order", "lasts"}`."""
    for tier in topology.tiers:
        for each in tier.kind.operations:
            word = each.word
            needed = [one.name for one in fields(word) if one.default is MISSING]
            if needed == [word.main] and each.resizing is None:
                order = {"verb": each.verb, word.main: tier.name}
                yield {"tier": tier.name, "order": order, "lasts": each.undo is not None}


def _events(cluster: Cluster, since: int) -> list[dict[str, Any]]:
    return [packable(event) for event in cluster.events.since(since)[-MAX_EVENTS:]]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
