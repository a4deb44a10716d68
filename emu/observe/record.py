"""A run as one plain object: its summary, events, samples and tiers. The report is drawn from it.

JSON-able, so that it can be kept (`emu report --json`) and drawn later.
"""

from __future__ import annotations

from typing import Any, Final

from emu.machine.events import packable
from emu.observe.annotations import spans
from emu.observe.sampling import Sampler
from emu.observe.status import status
from emu.running.supervisor import Cluster

VERSION: Final = 1
MAX_EVENTS: Final = 2000
"""The first and the last of a longer story."""

Record = dict[str, Any]


def record(cluster: Cluster, sampler: Sampler, summary: dict[str, Any]) -> Record:
    """`samples`: `[time_s, seconds, {tier: what Counts.to_json makes}]`."""
    events = list(cluster.events)
    if len(events) > MAX_EVENTS:
        events = events[: MAX_EVENTS // 2] + events[-MAX_EVENTS // 2 :]
    return {
        "version": VERSION,
        "file": cluster.topology.path,
        "seed": cluster.topology.seed,
        "ready_s": cluster.ready_s or 0.0,
        "summary": summary,
        "status": status(cluster, sampler) | {"events": []},
        "spans": spans(
            cluster.timeline, cluster.events, tuple(cluster.active), cluster.topology.kinds
        ),
        "events": [packable(event) for event in events],
        "samples": [
            [
                round(sample.time_s, 3),
                round(sample.seconds, 3),
                {tier: counts.to_json() for tier, counts in sample.tiers.items()},
            ]
            for sample in sampler.samples
        ],
    }
