"""The metrics of a broker: what came, what went, and who is how far behind.

Series of groups follow the groups; only the primary has them. Lag is what is there and not read:
records that were dropped unread are lost, and counted as that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from nodes.base import Context
from nodes.queue.cursor import DYING
from nodes.queue.desk import Desk
from nodes.queue.grouping import Grouping
from nodes.queue.publishing import Publishing
from nodes.queue.reading import Reading
from nodes.queue.state import Topic
from nodes.queue.working import Working
from protocols.errors import RpcError

LOOK_S: Final = 1.0
MAX_LOOKED_AT: Final = 200
"""Partitions of groups whose oldest record is looked up at a time."""
NOTHING: Final[Mapping[str, int]] = {
    "members": 0, "lag": 0, "in_flight": 0, "failed_for_good": 0, "lost": 0,
}  # fmt: skip
PER_GROUP: Final = ("consumer_lag", "oldest_unacked_seconds", "records_in_flight")


class Behind(NamedTuple):
    """How far a group is in one partition."""

    topic: Topic
    group: str
    number: int
    offset: int
    """The first record that it has not read, or done."""
    lag: int
    in_flight: int


def behind(desk: Desk) -> Iterator[Behind]:
    """Every work group in every partition that lives here, and every consumer group that does."""
    state = desk.state
    for topic, group, number, cursor in state.cursor_list():
        part = topic.partitions[number]
        offset = max(cursor.floor, part.start)
        lag = cursor.lag(part.start, part.end)
        yield Behind(topic, group, number, offset, lag, cursor.in_flight)
    for name, consumers in state.groups.items():
        for (topic_name, number), committed in consumers.committed.items():
            found = state.topics.get(topic_name)
            if found is None:
                continue
            read = found.partitions.get(number) or desk.elsewhere.get((topic_name, number))
            if read is not None:
                offset = max(committed, read.start)
                yield Behind(found, name, number, offset, max(0, read.end - offset), 0)


def told_of_groups(desk: Desk) -> list[dict[str, Any]]:
    """See protocols/queue/words.py."""
    state = desk.state
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for topic, group, number, cursor in state.cursor_list():
        part = topic.partitions[number]
        row = rows.setdefault((topic.name, group), {**NOTHING, "kind": "work"})
        row["lag"] += cursor.lag(part.start, part.end)
        row["in_flight"] += cursor.in_flight
        row["lost"] += cursor.lost
        row["failed_for_good"] += sum(each.state == DYING for each in cursor.entries.values())
    for each in behind(desk):
        consumers = state.groups.get(each.group)
        if consumers is not None and each.group not in each.topic.cursors:
            row = rows.setdefault((each.topic.name, each.group), {**NOTHING, "kind": "consumers"})
            row["lag"] += each.lag
            row["members"] = len(consumers.members)
            row["lost"] += consumers.lost.get((each.topic.name, each.number), 0)
    return [{"topic": topic, "group": group, **row} for (topic, group), row in rows.items()]


class Series:
    """One broker's."""

    def __init__(
        self,
        ctx: Context,
        desk: Desk,
        publishing: Publishing,
        grouping: Grouping,
        working: Working,
        reading: Reading,
        is_primary: Callable[[], bool],
    ) -> None:
        self._ctx = ctx
        self._desk = desk
        self._state = desk.state
        self._reading = reading
        self._is_primary = is_primary
        self._oldest_ms: dict[tuple[str, str], int] = {}
        self._known: dict[tuple[str, str], None] = {}
        metrics, state = ctx.metrics, desk.state
        metrics.counter("published_total", "Records published here.", lambda: publishing.published)
        metrics.counter(
            "delivered_total", "Records handed out to readers and workers.",
            lambda: working.delivered + reading.polled,
        )  # fmt: skip
        metrics.counter(
            "redelivered_total", "Records handed out to workers again.", lambda: working.redelivered
        )
        metrics.counter(
            "dead_lettered_total", "Records moved to the dead letters.", lambda: working.buried
        )
        metrics.counter(
            "rebalances_total", "Changes of who reads what in consumer groups.",
            lambda: grouping.rebalances,
        )  # fmt: skip
        metrics.counter(
            "records_dropped_total", "Records that went by age, or to make room.",
            lambda: publishing.dropped,
        )  # fmt: skip
        metrics.gauge(
            "records_lost", "Records that went before a group had read or done them.",
            lambda: sum(each.lost for each in state.topics.values()),
        )  # fmt: skip
        metrics.gauge(
            "records_parked", "Records that failed for good, and that nobody takes.", self._parked
        )
        metrics.gauge(
            "queue_records", "Records kept here.",
            lambda: sum(each.end - each.start for each in state.partition_list()),
        )  # fmt: skip
        metrics.gauge(
            "queue_bytes", "Bytes of records kept here.",
            lambda: sum(each.size_bytes for each in state.partition_list()),
        )  # fmt: skip
        self._seconds = metrics.histogram("commit_seconds", "Seconds from execution to commit.")
        metrics.collectors.append(self._collect)

    def committed(self, requests: int, seconds: float) -> None:
        """desk.Counting."""
        self._seconds.observe(seconds, requests)

    def refused(self, requests: int) -> None:
        """desk.Counting. (requests_total has their codes.)"""

    def _parked(self) -> int:
        return sum(not topic.options.dead_letters for topic, *_ in self._state.dying())

    def lags(self) -> dict[tuple[str, str], int]:
        """(topic, group) → records that are there, and not read or done."""
        return {key: lag for key, (lag, _) in self._by_group().items()}

    def _by_group(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(topic, group) → its lag, and what is in flight, in all partitions together."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for each in behind(self._desk):
            key = each.topic.name, each.group
            lag, in_flight = found.get(key, (0, 0))
            found[key] = lag + each.lag, in_flight + each.in_flight
        return found

    def _collect(self) -> None:
        """Before each scrape."""
        metrics, now_ms = self._ctx.metrics, int(self._ctx.clock.wall_s() * 1000)
        groups = self._by_group() if self._is_primary() else {}
        for topic, group in [each for each in self._known if each not in groups]:
            for series in PER_GROUP:
                metrics.forget(series, topic=topic, group=group)
        self._known = dict.fromkeys(groups)
        for (topic, group), (lag, in_flight) in groups.items():
            since_ms = self._oldest_ms.get((topic, group), now_ms) if lag else now_ms
            metrics.gauge(
                "consumer_lag", "Records that are there, and not read or done by a group.",
                topic=topic, group=group,
            ).value = lag  # fmt: skip
            metrics.gauge(
                "oldest_unacked_seconds", "Age of the oldest record that a group has not done.",
                topic=topic, group=group,
            ).value = max(0, now_ms - since_ms) / 1000  # fmt: skip
            metrics.gauge(
                "records_in_flight", "Records that are with workers now.",
                topic=topic, group=group,
            ).value = in_flight  # fmt: skip

    async def run(self) -> None:
        """Look how old the oldest record of each group is, until cancelled."""
        while True:
            await self._ctx.clock.sleep(LOOK_S)
            if self._is_primary():
                await self._look()

    async def _look(self) -> None:
        oldest: dict[tuple[str, str], int] = {}
        waiting = [each for each in behind(self._desk) if each.lag]
        for each in waiting[:MAX_LOOKED_AT]:
            time_ms = self._desk.next_ms.get((each.group, each.topic.name, each.number))
            if each.number in each.topic.partitions:
                time_ms = await self._time_ms(each.topic, each.number, each.offset)
            if time_ms is not None:
                key = each.topic.name, each.group
                oldest[key] = min(time_ms, oldest.get(key, time_ms))
        self._oldest_ms = oldest

    async def _time_ms(self, topic: Topic, number: int, offset: int) -> int | None:
        """Of a record; None while it cannot be read."""
        try:
            found = await self._reading.one(topic, number, offset)
        except RpcError as error:  # the state is taken from a peer, or was replaced meanwhile
            self._ctx.log.debug("record not read", why=str(error))
            return None
        return found.time_ms if found is not None else None
