"""The metrics of a broker: what came, what went, and who is how far behind.

Series of groups follow the groups; only the primary has them, for only it knows what is due.
"""

from __future__ import annotations

from nodes.base import Context
from nodes.queue.desk import Desk
from nodes.queue.grouping import Grouping
from nodes.queue.publishing import Publishing
from nodes.queue.working import Working


class Series:
    """One broker's."""

    def __init__(
        self,
        ctx: Context,
        desk: Desk,
        publishing: Publishing,
        grouping: Grouping,
        working: Working,
    ) -> None:
        metrics, state = ctx.metrics, desk.state
        metrics.counter("published_total", "Records published here.", lambda: publishing.published)
        metrics.counter(
            "delivered_total", "Records handed out to workers.", lambda: working.delivered
        )
        metrics.counter(
            "redelivered_total", "Records handed out again.", lambda: working.redelivered
        )
        metrics.counter(
            "dead_lettered_total", "Records moved to the dead letters.", lambda: working.buried
        )
        metrics.counter(
            "rebalances_total", "Changes of who reads what in a consumer group.",
            lambda: grouping.rebalances,
        )  # fmt: skip
        metrics.counter(
            "records_dropped_total", "Records that went by age, or to make room.",
            lambda: publishing.dropped,
        )  # fmt: skip
        metrics.gauge(
            "queue_records", "Records kept here.",
            lambda: sum(each.end - each.start for each in state.partition_list()),
        )  # fmt: skip
        metrics.gauge(
            "queue_bytes", "Bytes of records kept here.",
            lambda: sum(each.size_bytes for each in state.partition_list()),
        )  # fmt: skip
        self._commits = metrics.counter("commits_total", "Requests acknowledged.")
        self._refused = metrics.counter("refused_total", "Requests that changed nothing.")
        self._seconds = metrics.histogram("commit_seconds", "Seconds from execution to commit.")

    def committed(self, requests: int, seconds: float) -> None:
        """desk.Counting."""
        self._commits.value += requests
        self._seconds.observe(seconds, requests)

    def refused(self, requests: int) -> None:
        """desk.Counting."""
        self._refused.value += requests
