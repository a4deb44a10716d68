"""What a broker's clients may call (protocols/queue/words.py), each method: checked, decided in the
order of the log, answered when that is as durable as the queue promises.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import trio

from nodes.base import Context
from nodes.parts.timing import move_on_after
from nodes.queue.arguments import (
    Packing,
    bad,
    check_together,
    checked_name,
    checked_offset,
    deliveries_of,
    number_of,
    offsets_of,
    only,
    owned_of,
    topics_of,
)
from nodes.queue.desk import Desk, Request
from nodes.queue.grouping import Beat, Grouping
from nodes.queue.publishing import Publishing
from nodes.queue.reading import Reading
from nodes.queue.series import told_of_groups
from nodes.queue.ties import Ties
from nodes.queue.topics import TopicOptions
from nodes.queue.working import Asked, Delivered, Working
from nodes.replica.driver import ReplicaDriver
from nodes.replica.group_commit import Gathering
from nodes.wire.service import Call, Service
from protocols.errors import RpcError
from protocols.queue import words
from protocols.queue.names import name_problem
from protocols.queue.words import (
    LEAVING,
    MAX_ACQUIRED,
    MAX_DELAY_MS,
    MAX_LOCK_MS,
    MAX_POLLED,
    MAX_POLLED_BYTES,
    MAX_SESSION_MS,
    MAX_WAIT_MS,
)

MAX_BLOCKED: Final = 1000
"""Publishers that may wait for room; others are refused."""
BLOCKED_S: Final = 30.0
"""How long one waits that names no time of its own."""
BLOCKED_POLL_S: Final = 0.05
SESSION_MS: Final = 30_000
RELEASE_MS: Final = 60_000
LEAST_SESSION_MS: Final = 100
"""Also the least time to let go of a partition."""


class Handlers:
    """One broker's."""

    def __init__(
        self,
        ctx: Context,
        driver: ReplicaDriver,
        gathering: Gathering[Request],
        desk: Desk,
        publishing: Publishing,
        grouping: Grouping,
        working: Working,
        reading: Reading,
    ) -> None:
        self._clock = ctx.clock
        self._driver = driver
        self._gathering = gathering
        self._desk = desk
        self._publishing = publishing
        self._grouping = grouping
        self._working = working
        self._reading = reading
        self._packing = Packing(desk)
        self._blocked = 0
        self._ties = Ties(self._give_up)

    def add_to(self, service: Service) -> None:
        for name, handler in (
            (words.TOPICS, self._topics),
            (words.DECLARE, self._declare),
            (words.PRODUCER, self._producer),
            (words.PUBLISH, self._publish),
            (words.POLL, self._poll),
            (words.OFFSETS, self._offsets),
            (words.HEARTBEAT, self._heartbeat),
            (words.COMMIT, self._commit),
            (words.COMMITTED, self._committed),
            (words.SEEK, self._seek),
            (words.ACQUIRE, self._acquire),
            (words.ACK, self._ack),
            (words.NACK, self._nack),
            (words.RENEW, self._renew),
            (words.TERMINATE, self._terminate),
            (words.RELEASE, self._release),
            (words.REVIVE, self._revive),
            (words.GROUPS, self._groups),
            (words.STANDING, self._standing),
        ):
            service.add(name, handler, waits=name in words.WAITING)
        service.fuse(words.PUBLISH, self._publish_soon)

    async def _decide(self, request: Request) -> Any:
        """Raises RpcError."""
        return await self._gathering.add(request).wait()

    # --- topics --------------------------------------------------------------------------

    async def _topics(self, call: Call) -> dict[str, Any]:
        return dict(await self._decide(self._all_topics))

    def _all_topics(self) -> dict[str, Any]:
        topics = self._desk.state.topics
        return {
            "tiers": list(self._desk.home.tiers),
            "topics": {name: topic.options.to_wire() for name, topic in topics.items()},
        }

    async def _declare(self, call: Call, topic: str, options: dict[str, Any] | None = None) -> bool:
        if problem := name_problem(topic):
            raise bad(problem)
        try:
            wanted = TopicOptions.from_wire(options or {})
        except ValueError as error:
            raise bad(str(error)) from error
        declare = self._publishing.declare_with_dead_letters
        return bool(await self._decide(partial(declare, topic, wanted)))

    # --- producers -----------------------------------------------------------------------

    async def _producer(
        self, call: Call, name: str = "", options: dict[str, Any] | None = None
    ) -> list[Any]:
        only(options, "partition")
        if name:
            checked_name(name, "a producer's name")
        return list(await self._decide(partial(self._publishing.begin, name)))

    def _publish_soon(self, params: list[Any], epoch: int | None) -> Any:
        """Where a publisher need not wait for room: no task of its own."""
        count = len(params)
        if count != 2 and (count != 3 or type(params[2]) is not dict):
            return NotImplemented
        topic = params[0]
        known = self._desk.state.topics.get(topic) if type(topic) is str else None
        if known is None or known.options.when_full == "block":
            return NotImplemented
        return self._gathering.add(partial(self._decide_publish, *params))

    def _decide_publish(
        self, topic: Any, records: Any, options: dict[str, Any] | None = None
    ) -> list[list[int]]:
        given = only(options, "partition", "producer")
        return self._publishing.publish(self._packing.batches(topic, records, given))

    async def _publish(
        self, call: Call, topic: str, records: list[Any], options: dict[str, Any] | None = None
    ) -> list[list[int]]:
        request = partial(self._decide_publish, topic, records, options)
        now_s = self._clock.monotonic_s()
        until_s = now_s + call.patience_s(now_s, BLOCKED_S)
        while True:
            event = self._reading.arrivals.of(topic)
            try:
                return list(await self._decide(request))
            except RpcError as refusal:
                known = self._desk.state.topics.get(topic)
                blocks = known is not None and known.options.when_full == "block"
                if refusal.code != "full" or not blocks:
                    raise
                if self._clock.monotonic_s() + BLOCKED_POLL_S >= until_s:
                    raise
            await self._wait_for_room(event)

    async def _wait_for_room(self, event: trio.Event) -> None:
        """Until something was taken out, or for a moment."""
        if self._blocked >= MAX_BLOCKED:
            raise RpcError("overloaded", f"{MAX_BLOCKED} publishers wait for room already")
        self._blocked += 1
        try:
            with move_on_after(self._clock, BLOCKED_POLL_S):
                await event.wait()
        finally:
            self._blocked -= 1

    # --- to read -------------------------------------------------------------------------

    async def _poll(
        self,
        call: Call,
        topic: str,
        partition: int,
        offset: int,
        options: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        given = only(options, "max_records", "max_bytes", "wait_ms")
        return await self._reading.poll(
            topic,
            partition,
            checked_offset(offset),
            number_of(given, "max_records", MAX_POLLED, 1, MAX_POLLED),
            number_of(given, "max_bytes", MAX_POLLED_BYTES, 1, MAX_POLLED_BYTES),
            number_of(given, "wait_ms", 0, 0, MAX_WAIT_MS) / 1000,
        )

    async def _offsets(
        self, call: Call, topic: str, options: dict[str, Any] | None = None
    ) -> list[list[int]]:
        given = only(options, "time_ms")
        time_ms = number_of(given, "time_ms", -1, 0, 1 << 53)
        rows = await self._decide(partial(self._all_offsets, topic))
        if time_ms >= 0:
            found = self._desk.topic(topic)
            for row in rows:
                row.append(await self._reading.first_at(found, row[0], time_ms))
            self._driver.check_can_read()
        return list(rows)

    def _all_offsets(self, name: str) -> list[list[int]]:
        topic = self._desk.topic(name)
        return [
            [number, partition.start, self._reading.end_of(topic, number)]
            for number, partition in topic.partitions.items()
        ]

    # --- consumer groups -----------------------------------------------------------------

    async def _heartbeat(
        self, call: Call, group: str, member: str, epoch: int, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        given = only(options, "topics", "owned", "session_ms", "release_ms", "beat")
        session_ms = number_of(given, "session_ms", SESSION_MS, LEAST_SESSION_MS, MAX_SESSION_MS)
        release_ms = number_of(given, "release_ms", RELEASE_MS, LEAST_SESSION_MS, MAX_SESSION_MS)
        if epoch < LEAVING:
            raise bad(f"an epoch is a whole number of at least {LEAVING}")
        beat = Beat(
            checked_name(group, "a group"),
            checked_name(member, "a member"),
            epoch,
            topics_of(given.get("topics", [])),
            owned_of(given.get("owned", [])),
            session_ms,
            release_ms,
            number_of(given, "beat", 0, 0, 1 << 53),
        )
        return dict(await self._decide(partial(self._grouping.heartbeat, beat)))

    async def _commit(
        self, call: Call, group: str, member: str, epoch: int, offsets: list[Any]
    ) -> int:
        checked_name(group, "a group")
        rows = offsets_of(offsets)
        return int(await self._decide(partial(self._grouping.commit, group, member, epoch, rows)))

    async def _seek(self, call: Call, group: str, offsets: list[Any]) -> int:
        checked_name(group, "a group")
        rows = offsets_of(offsets)
        return int(await self._decide(partial(self._grouping.seek, group, rows)))

    async def _committed(self, call: Call, group: str) -> dict[str, Any]:
        checked_name(group, "a group")
        return dict(await self._decide(partial(self._grouping.told, group)))

    # --- work queues ---------------------------------------------------------------------

    async def _standing(self, call: Call, topic: str, group: str) -> list[Any]:
        checked_name(group, "a group")
        return list(await self._decide(partial(self._working.standing, topic, group)))

    async def _acquire(
        self,
        call: Call,
        topic: str,
        group: str,
        consumer: str,
        options: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        given = only(options, "max", "wait_ms", "lock_ms", "attempt")
        asked = Asked(
            topic,
            checked_name(group, "a group"),
            checked_name(consumer, "a consumer"),
            number_of(given, "attempt", 0, 0, 1 << 53),
            number_of(given, "max", 1, 1, MAX_ACQUIRED),
            number_of(given, "lock_ms", 0, 1, MAX_LOCK_MS),
            {},
        )
        wait_s = number_of(given, "wait_ms", 0, 0, MAX_WAIT_MS) / 1000
        self._ties.tie(consumer, call.ending)
        until_s = self._clock.monotonic_s() + wait_s
        while True:
            event = self._reading.arrivals.of(topic)
            found = await self._try_to_acquire(asked)
            if found:
                return {"deliveries": await self._reading.delivered(topic, found)}
            if not await self._reading.arrived(event, until_s):
                return {"deliveries": []}

    async def _try_to_acquire(self, asked: Asked) -> list[Delivered]:
        known = self._desk.state.topics.get(asked.topic)
        times = self._driver.times_replaced
        keys = {}
        if known is not None and known.options.ordered and self._driver.is_primary:
            keys = await self._reading.keys(known, asked.group)

        found: list[Delivered] = []

        def acquire() -> list[Delivered]:
            same = times == self._driver.times_replaced
            found[:] = self._working.acquire(asked._replace(keys=keys if same else {}))
            return found

        try:
            return list(await self._decide(acquire))
        except trio.Cancelled:  # nobody will hear what it got
            self._decide_soon(partial(self._working.take_back, asked.topic, asked.group, found))
            raise

    def _give_up(self, consumer: str) -> None:
        self._decide_soon(partial(self._working.release, consumer, failed=True))

    def _decide_soon(self, request: Callable[[], Any]) -> None:
        """Where this is the primary: elsewhere locks end by themselves."""
        if self._driver.is_primary:
            try:
                self._gathering.add(request)
            except RpcError:
                pass  # not now: the locks end when their time is over

    async def _ack(
        self,
        call: Call,
        topic: str,
        group: str,
        deliveries: list[Any],
        options: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        given = only(options, "publish")
        rows = deliveries_of(deliveries)
        wanted = given.get("publish", [])
        if type(wanted) is not list or len(wanted) > MAX_ACQUIRED:
            raise bad("`publish` is a list of [topic, records, options]")

        def ack() -> list[list[int]]:
            batches = []
            for each in wanted:
                match each:
                    case [str(name), list(records)]:
                        batches += self._packing.batches(name, records, {})
                    case [str(name), list(records), dict(how)]:
                        options = only(how, "partition", "producer")
                        batches += self._packing.batches(name, records, options)
                    case _:
                        raise bad("`publish` is a list of [topic, records, options]")
            check_together(batches)
            return self._working.ack(topic, group, rows, batches)

        return {"published": await self._decide(ack)}

    async def _nack(
        self,
        call: Call,
        topic: str,
        group: str,
        deliveries: list[Any],
        options: dict[str, Any] | None = None,
    ) -> int:
        given = only(options, "delay_ms")
        delay_ms = number_of(given, "delay_ms", -1, 0, MAX_DELAY_MS)
        request = partial(
            self._working.nack, topic, group, deliveries_of(deliveries),
            delay_ms if delay_ms >= 0 else None,
        )  # fmt: skip
        return int(await self._decide(request))

    async def _renew(
        self,
        call: Call,
        topic: str,
        group: str,
        deliveries: list[Any],
        options: dict[str, Any] | None = None,
    ) -> int:
        given = only(options, "lock_ms")
        lock_ms = number_of(given, "lock_ms", 0, 1, MAX_LOCK_MS)
        rows = deliveries_of(deliveries)
        return int(await self._decide(partial(self._working.renew, topic, group, rows, lock_ms)))

    async def _terminate(self, call: Call, topic: str, group: str, deliveries: list[Any]) -> int:
        rows = deliveries_of(deliveries)
        return int(await self._decide(partial(self._working.terminate, topic, group, rows)))

    async def _release(
        self,
        call: Call,
        topic: str,
        group: str,
        consumer: str,
        options: dict[str, Any] | None = None,
    ) -> int:
        failed = bool(only(options, "failed").get("failed"))
        request = partial(self._working.release, consumer, topic, group, failed=failed)
        return int(await self._decide(request))

    async def _revive(self, call: Call, topic: str) -> int:
        return int(await self._decide(partial(self._working.revive, topic)))

    async def _groups(self, call: Call) -> list[dict[str, Any]]:
        return list(await self._decide(partial(told_of_groups, self._desk)))
