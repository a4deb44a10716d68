"""The links as metrics: as many series as there are pairs of tiers that talk.

What crosses a plain link is not counted: it does not pass the link model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import trio

from emu.running.supervisor import Cluster
from nodes.base import DIRECTORY_HOST, OUTSIDE
from nodes.metrics import Metrics

LINKS_PER_TURN: Final = 2000


@dataclass(slots=True)
class Way:
    """All links from one tier to another."""

    sent_bytes: int = 0
    retransmissions: int = 0
    lost_datagrams: int = 0
    cut: int = 0
    latency_s: float = 0.0
    queue_s: float = 0.0


Ways = dict[tuple[str, str], Way]
"""By the tiers at both ends."""


async def sum_up(cluster: Cluster) -> Ways:
    """Every link that does something, or did; those of emu itself are left out."""
    world = cluster.world
    ways: Ways = {}
    now_s = world.timers.now_s()
    for place, link in enumerate(world.links):
        if place % LINKS_PER_TURN == LINKS_PER_TURN - 1:
            await trio.lowlevel.checkpoint()
        if link.plain and not link.sent_bytes:
            continue
        ends = _tier_of(cluster, link.source), _tier_of(cluster, link.target)
        if not all(ends):
            continue
        way = ways.setdefault(ends, Way())
        way.sent_bytes += link.sent_bytes
        way.retransmissions += link.retransmissions
        way.lost_datagrams += link.lost_datagrams
        way.cut += bool(link.cut)
        way.latency_s = max(way.latency_s, link.latency_s)
        way.queue_s = max(way.queue_s, link.queue_s(now_s))
    return ways


def _tier_of(cluster: Cluster, name: str) -> str:
    """Of a link's end; "" for emu's own."""
    instance = cluster.instances.get(name)
    if instance is not None:
        return instance.spec.tier
    return name if name in (OUTSIDE, DIRECTORY_HOST) else ""


def tell(metrics: Metrics, ways: Ways) -> None:
    """Register and set the series."""
    for (source, target), way in ways.items():
        _tell(metrics, source, target, way)


def _tell(metrics: Metrics, source: str, target: str, way: Way) -> None:
    metrics.counter(
        "link_bytes_total",
        "Bytes sent over links that have a shape or a fault, by the tiers at their ends.",
        source=source, target=target,
    ).value = way.sent_bytes  # fmt: skip
    metrics.counter(
        "link_retransmissions_total",
        "Chunks of streams that were lost and sent again later.",
        source=source, target=target,
    ).value = way.retransmissions  # fmt: skip
    metrics.counter(
        "link_lost_datagrams_total",
        "Datagrams that never arrived.",
        source=source, target=target,
    ).value = way.lost_datagrams  # fmt: skip
    metrics.gauge(
        "link_cuts",
        "Links that a partition (or a dead machine) cuts now.",
        source=source, target=target,
    ).value = way.cut  # fmt: skip
    metrics.gauge(
        "link_latency_seconds",
        "One-way latency now, without jitter: the slowest link.",
        source=source, target=target,
    ).value = way.latency_s  # fmt: skip
    metrics.gauge(
        "link_queue_seconds",
        "How long a byte sent now waits for bandwidth: the fullest link.",
        source=source, target=target,
    ).value = way.queue_s  # fmt: skip
