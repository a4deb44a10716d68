"""What an edge counts."""

from __future__ import annotations

from typing import Final

from nodes.cdn.edge import Edge
from nodes.metrics import Metrics

RESULTS: Final = ("hit", "stale", "revalidated", "expired", "miss", "bypass", "failed")
"""hit: from the store, fresh. stale: from the store, as it may be. revalidated: the origin said
that it holds. expired: it had another. miss: nothing was stored. bypass: it may not be stored."""


class Series:
    """The series of one edge."""

    def __init__(self, metrics: Metrics, edge: Edge) -> None:
        self._results = {
            result: metrics.counter(
                "cdn_requests_total", "Requests by what the edge did for them.", result=result
            )
            for result in RESULTS
        }
        self.hits = self._results["hit"]
        self.collapsed = metrics.counter(
            "cdn_collapsed_total",
            "Requests that waited for what another one had asked the origin.",
        )
        self.purged = metrics.counter("cdn_purged_total", "Objects that a purge took away.")
        metrics.counter(
            "cdn_evicted_total", "Objects that left for want of room.",
            lambda: float(edge.store.evicted),
        )  # fmt: skip
        metrics.gauge("cdn_objects", "Objects that are kept.", lambda: float(len(edge.store)))
        metrics.gauge(
            "cdn_object_bytes", "Bytes of all objects that are kept.",
            lambda: float(edge.store.bytes),
        )  # fmt: skip
        metrics.gauge(
            "cdn_capacity_bytes", "Bytes that there is room for.",
            lambda: float(edge.config.capacity_bytes),
        )  # fmt: skip

    def count(self, result: str) -> None:
        self._results[result].value += 1

    def totals(self) -> dict[str, int]:
        return {result: int(counter.value) for result, counter in self._results.items()}
