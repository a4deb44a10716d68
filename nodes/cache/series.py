"""The metrics of a cache node, and what it says of itself in `describe`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nodes.base import Context
from nodes.cache.desk import Desk


class Series:
    """One node's."""

    def __init__(self, ctx: Context, desk: Desk) -> None:
        self._ctx = ctx
        self._desk = desk
        metrics, store = ctx.metrics, desk.store
        self._count_reads()
        metrics.counter("evicted_total", "Values that left to make room.", lambda: store.evicted)
        metrics.counter("expired_total", "Values whose time ended.", lambda: store.expired)
        metrics.counter(
            "lease_waits_total", "Readers that waited for another's fill.",
            lambda: desk.lease_waits,
        )  # fmt: skip
        metrics.counter(
            "stale_served_total", "Readers that got what was deleted or expired a moment ago.",
            lambda: desk.stale_served,
        )  # fmt: skip
        metrics.counter("cache_fills_total", "Values that were set.", lambda: desk.fills)
        metrics.counter(
            "cache_refused_fills_total", "Fills refused, because their token was void.",
            lambda: desk.refused_fills,
        )  # fmt: skip
        metrics.counter("cache_deletes_total", "Keys that were made old.", lambda: desk.deletes)
        metrics.counter(
            "early_refreshes_total", "Values fetched anew before their time was over.",
            lambda: desk.early,
        )  # fmt: skip
        metrics.gauge("cache_bytes", "Bytes of values kept.", lambda: store.used_bytes)
        metrics.gauge("cache_entries", "Values kept.", lambda: len(store))
        metrics.gauge(
            "cache_capacity_bytes", "Bytes of values that may be kept.",
            lambda: desk.config.capacity_bytes,
        )  # fmt: skip
        metrics.gauge("cache_leases", "Keys that somebody fills now.", lambda: len(desk.leases))

    def _count_reads(self) -> None:
        desk = self._desk

        def count(result: str, read: Callable[[], float]) -> None:
            self._ctx.metrics.counter(
                "cache_requests_total", "Reads of keys, by what they found.", read, result=result
            )

        count("hit", lambda: desk.hits - desk.negative_hits)
        count("negative_hit", lambda: desk.negative_hits)
        count("miss", lambda: desk.misses)
        count("stale", lambda: desk.stale_served)
        count("busy", lambda: desk.busy)
        count("not_fresh", lambda: desk.not_fresh)

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        stats = self._desk.stats()
        follower = self._desk.follower
        fresh = follower is None or follower.is_fresh(self._ctx.clock.monotonic_s())
        return {
            "entries": stats["entries"],
            "bytes": stats["bytes"],
            "hit_ratio": stats["hit_ratio"],
            "evicted": stats["evicted"],
            "fresh": "" if follower is None else "yes" if fresh else "no",
            "log_lsn": follower.lsn if follower is not None else 0,
        }
