"""Versions of a tier: the same with other options, some of which name Python code; and how well
some of its members have served."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from emu.model.topology import Tier, Topology
from emu.running.instance import Instance
from emu.topology import code
from nodes.metrics import LATENCY_EDGES_S, Histogram
from nodes.parts.canary import Served


def changed(topology: Topology, name: str, changes: Mapping[str, Any]) -> Tier:
    """The tier with these options changed; code that they name is imported as the file's own is
    (none is named by ""). Raises ValueError."""
    tier = topology.tier(name)
    for key, value in changes.items():
        if not hasattr(tier.config, key):
            raise ValueError(f"`{name}` has no `{key}`: it is a {tier.word}")
        if value and key in tier.kind.code:
            found, _ = code.load(str(value), Path(topology.path).resolve().parent)
            code.fit(str(value), found, tier.kind.code[key])
    return replace(tier, config=replace(tier.config, **changes)) if changes else tier


def served(instances: Iterable[Instance]) -> Served:
    """What they answered since each was last started, by their kind's own traffic."""
    requests = errors = 0.0
    times = [0] * (len(LATENCY_EDGES_S) + 1)
    for instance in instances:
        metrics, traffic = instance.handle.metrics, instance.placement.kind.traffic
        requests += metrics.total(traffic.requests) or 0.0
        errors += metrics.total(traffic.errors) or 0.0
        for each in metrics.series(traffic.seconds):
            if isinstance(each, Histogram) and each.edges is LATENCY_EDGES_S:
                times = [total + count for total, count in zip(times, each.counts, strict=True)]
    return Served(requests, errors, tuple(times))
