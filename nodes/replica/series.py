"""The metrics of a replicated log: positions, epoch, and what a primary knows of the others.

Every tier that runs on nodes/replica/driver.py calls `measure` once. Series of replicas follow the
membership.
"""

from __future__ import annotations

from nodes.base import Context
from nodes.metrics import Metrics
from nodes.replica.driver import ReplicaDriver
from protocols.replication.progress import Progress
from protocols.replication.replica import WITNESS

PER_REPLICA = (
    "last_sent_lsn",
    "replica_flushed_lsn",
    "replica_replayed_lsn",
    "replica_silence_seconds",
    "replication_lag_seconds",
    "replication_lag_bytes",
    "replica_lacks_room",
)


def measure(ctx: Context, driver: ReplicaDriver) -> None:
    """Register everything. Call it after `driver.recover`."""
    metrics, core = ctx.metrics, driver.core
    metrics.gauge("is_primary", "1 on the primary of its group.", lambda: driver.is_primary)
    metrics.gauge("epoch", "The epoch that this node is in.", lambda: core.epoch)
    metrics.gauge("last_lsn", "The last record in the log.", lambda: core.storage.last_lsn)
    metrics.gauge("last_flushed_lsn", "The last record on disk.", lambda: core.flushed_lsn)
    metrics.gauge("last_replayed_lsn", "The last record in the state.", lambda: driver.state_lsn)
    metrics.gauge("committed_lsn", "The last committed record.", lambda: core.visible_lsn)
    metrics.counter(
        "failovers_total", "Times this node became primary in place of another.",
        lambda: driver.failovers,
    )  # fmt: skip
    metrics.counter(
        "divergent_records_total", "Records that were cut at a rejoin, and saved.",
        lambda: driver.divergent_records,
    )  # fmt: skip
    metrics.counter(
        "foreign_messages_total", "Messages of another group, or founding of it, refused.",
        lambda: core.foreign_messages,
    )  # fmt: skip
    metrics.collectors.append(_Replicas(ctx, driver).collect)


class _Replicas:
    """The series of the other members; only the primary has them."""

    def __init__(self, ctx: Context, driver: ReplicaDriver) -> None:
        self._ctx = ctx
        self._driver = driver
        self._known: tuple[str, ...] = ()

    def collect(self) -> None:
        """Before each scrape."""
        core = self._driver.core
        there = tuple(name for name in core.progress if core.members.get(name) != WITNESS)
        for name in self._known:
            if name not in there:
                for series in PER_REPLICA:
                    self._ctx.metrics.forget(series, replica=name)
        self._known = there
        for name in there:
            self._tell(self._ctx.metrics, name, core.progress[name])

    def _tell(self, metrics: Metrics, name: str, progress: Progress) -> None:
        driver, now_s = self._driver, self._ctx.clock.monotonic_s()
        metrics.gauge(
            "last_sent_lsn", "The last record sent to a replica.", replica=name
        ).value = progress.sent_lsn
        metrics.gauge(
            "replica_flushed_lsn", "The last record on a replica's disk, as it said.", replica=name
        ).value = progress.flushed_lsn
        metrics.gauge(
            "replica_replayed_lsn", "The last record in a replica's state.", replica=name
        ).value = progress.applied_lsn
        metrics.gauge(
            "replica_silence_seconds", "Time since a replica was last heard of.", replica=name
        ).value = now_s - progress.heard_s
        metrics.gauge(
            "replication_lag_seconds",
            "The age of the oldest record that a replica has not on its disk.",
            replica=name,
        ).value = driver.lag.behind_s(progress.flushed_lsn, now_s)
        metrics.gauge(
            "replication_lag_bytes", "Bytes of log that a replica has not on its disk.",
            replica=name,
        ).value = driver.storage.bytes_after(progress.flushed_lsn)  # fmt: skip
        metrics.gauge(
            "replica_lacks_room", "1 while a replica's disk is full, as it said.", replica=name
        ).value = progress.lacks_room
