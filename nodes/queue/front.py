"""The front of a queue tier: protocols/queue/words.py for clients that know nothing of partitions.

It is client.py behind a listener, and keeps nothing but whom it answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import trio

from nodes.base import RPC_PORT, Context
from nodes.queue.arguments import bad, key_bytes, only
from nodes.queue.client import DEFAULT_TIMEOUT_S, QueueClient
from nodes.queue.ties import Ties
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory
from nodes.wire.service import Call, Service
from protocols.errors import RpcError
from protocols.queue import words
from protocols.queue.placement import partition_of

GROUPED: Final = (words.HEARTBEAT, words.COMMIT, words.COMMITTED, words.SEEK)
SETTLING: Final = (words.ACK, words.NACK, words.RENEW, words.TERMINATE)


@dataclass(frozen=True, slots=True)
class QueueFrontConfig:
    """A front of the queue tier `queue`."""

    queue: str
    """The queue tier that it stands for: `queue: queue`."""
    timeout_s: float = DEFAULT_TIMEOUT_S
    """The time a request may take, if its caller names none."""


class QueueFrontNode:
    """One front."""

    def __init__(self, ctx: Context, config: QueueFrontConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.client: QueueClient
        self._ties = Ties(self._gone)
        self._attempts: dict[str, int] = {}
        self._leaving: dict[str, trio.Event] = {}
        """Consumers whose connection has ended, until what they had is given back."""
        self._nursery: trio.Nursery
        self._spread = ctx.rng("queue-front")

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        ctx = self.ctx
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self.client = QueueClient(ctx, nursery, Directory(ctx, nursery), self.config.queue)
            service = self._service()
            admin = Admin(ctx, service=service)
            listener = await ctx.network.listen(RPC_PORT)
            nursery.start_soon(admin.listen_and_serve)
            nursery.start_soon(service.serve, listener)
            task_status.started()

    def _service(self) -> Service:
        service = Service(self.ctx)
        service.add(words.TOPICS, self._topics)
        service.add(words.DECLARE, self._declare)
        service.add(words.PRODUCER, self._producer)
        service.add(words.PUBLISH, self._publish)
        service.add(words.POLL, self._poll, waits=True)
        service.add(words.OFFSETS, self._offsets)
        for name in GROUPED:
            service.add(name, self._at_home(name))
        service.add(words.ACQUIRE, self._acquire, waits=True)
        for name in SETTLING:
            service.add(name, self._settling(name))
        service.add(words.RELEASE, self._release)
        service.add(words.REVIVE, self._revive)
        service.add(words.GROUPS, self._groups)
        service.add(words.STANDING, self._standing)
        return service

    def _left_s(self, call: Call) -> float:
        """What the caller has left, or a request may take."""
        if call.deadline_s is None:
            return self.config.timeout_s
        return max(0.0, call.deadline_s - self.ctx.clock.monotonic_s())

    async def _tier_of(self, partition: Any, call: Call) -> str:
        if type(partition) is not int or not 0 <= partition < words.MAX_PARTITIONS:
            raise bad("a partition is a whole number")
        await self.client.all_tiers(self._left_s(call))
        return self.client.tier_of(partition)

    # --- topics and records --------------------------------------------------------------

    async def _topics(self, call: Call) -> dict[str, Any]:
        await self.client.look(self._left_s(call))
        return {"tiers": self.client.tiers, "topics": self.client.topics}

    async def _declare(self, call: Call, topic: str, options: dict[str, Any] | None = None) -> bool:
        return await self.client.declare(topic, options or {}, timeout_s=self._left_s(call))

    async def _producer(
        self, call: Call, name: str = "", options: dict[str, Any] | None = None
    ) -> list[Any]:
        partition = only(options, "partition").get("partition", 0)
        tier = await self._tier_of(partition, call)
        how = {"partition": partition}
        answer = await self.client.ask(
            tier, words.PRODUCER, name, how, timeout_s=self._left_s(call)
        )
        return list(answer)

    async def _publish(
        self, call: Call, topic: str, records: list[Any], options: dict[str, Any] | None = None
    ) -> list[list[int]]:
        given = only(options, "partition", "producer")
        partitions = await self.client.partitions_of(topic, self._left_s(call))
        if "producer" in given:
            tier = await self._tier_of(given.get("partition"), call)
            answer = await self.client.ask(
                tier, words.PUBLISH, topic, records, given, timeout_s=self._left_s(call)
            )
            return list(answer)
        fixed = given.get("partition")
        if fixed is not None:
            await self._tier_of(fixed, call)
        deadline_s = self.ctx.clock.monotonic_s() + self._left_s(call)
        found: list[list[int]] = [[] for _ in records]
        for number, places in self._by_partition(records, fixed, partitions).items():
            some = [records[place] for place in places]
            published = await self.client.publish_to(topic, number, some, deadline_s=deadline_s)
            for place, at in zip(places, published, strict=True):
                found[place] = list(at)
        return found

    def _by_partition(
        self, records: list[Any], fixed: int | None, partitions: int
    ) -> dict[int, list[int]]:
        """Partition → which of the records go there."""
        if not 0 < len(records) <= words.MAX_BATCH:
            raise bad(f"records are a list of 1 to {words.MAX_BATCH}")
        found: dict[int, list[int]] = {}
        keyless = self._spread.randrange(partitions)
        for place, record in enumerate(records):
            key = record[0] if type(record) is list and record else None
            number = keyless if fixed is None else fixed
            if fixed is None and isinstance(key, (str, bytes)):
                number = partition_of(key_bytes(key), partitions)
            found.setdefault(number, []).append(place)
        return found

    async def _poll(
        self,
        call: Call,
        topic: str,
        partition: int,
        offset: int,
        options: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        tier = await self._tier_of(partition, call)
        wait_s = _wait_s(options)
        answer = await self.client.ask(
            tier, words.POLL, topic, partition, offset, options or {},
            timeout_s=self._left_s(call),
            wait_s=wait_s,
        )  # fmt: skip
        return dict(answer)

    async def _offsets(
        self, call: Call, topic: str, options: dict[str, Any] | None = None
    ) -> list[list[int]]:
        time_ms = only(options, "time_ms").get("time_ms")
        rows = await self.client.offsets(topic, time_ms=time_ms, timeout_s=self._left_s(call))
        return [[number, *rest] for number, rest in rows.items()]

    # --- consumer groups -----------------------------------------------------------------

    def _at_home(self, name: str) -> Any:
        """Where the group lives."""

        async def handle(call: Call, group: str, *params: Any) -> Any:
            tier = await self.client.home_of(group, self._left_s(call))
            return await self.client.ask(tier, name, group, *params, timeout_s=self._left_s(call))

        return handle

    # --- work queues ---------------------------------------------------------------------

    async def _acquire(
        self,
        call: Call,
        topic: str,
        group: str,
        consumer: str,
        options: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """At each broker group in turn; what a client does not number is numbered here."""
        left_s = self._left_s(call)
        partitions = await self.client.partitions_of(topic, left_s)
        tiers = self.client.tiers[:partitions]
        given = dict(options or {})
        wait_s = _wait_s(given) / len(tiers)
        self._ties.tie(consumer, call.ending)
        while (leaving := self._leaving.get(consumer)) is not None:
            await leaving.wait()  # else what it gets now would be given back with that
        self._attempts[consumer] = self._attempts.get(consumer, 0) + 1
        given.setdefault("attempt", self._attempts[consumer])
        given["wait_ms"] = int(1000 * wait_s)
        first = self._spread.randrange(len(tiers))
        for place in range(len(tiers)):
            answer = await self.client.ask(
                tiers[(first + place) % len(tiers)], words.ACQUIRE, topic, group, consumer, given,
                timeout_s=left_s,
                wait_s=wait_s,
            )  # fmt: skip
            if answer["deliveries"]:
                break
        return dict(answer)

    def _gone(self, consumer: str) -> None:
        self._attempts.pop(consumer, None)
        left = self._leaving[consumer] = trio.Event()
        self._nursery.start_soon(self._give_up, consumer, left)

    async def _give_up(self, consumer: str, left: trio.Event) -> None:
        for tier in self.client.tiers:
            try:
                await self.client.ask(tier, words.RELEASE, "", "", consumer, {"failed": True})
            except RpcError as error:
                self.ctx.log.debug("not given back", consumer=consumer, why=str(error))
        if self._leaving.get(consumer) is left:
            del self._leaving[consumer]
        left.set()

    def _settling(self, name: str) -> Any:
        """Where the deliveries are from."""

        async def handle(
            call: Call, topic: str, group: str, deliveries: list[Any], *options: Any
        ) -> Any:
            tiers: dict[str, None] = {}
            for each in deliveries:
                if type(each) is not list or not each:
                    raise bad("a delivery is [partition, offset, delivery]")
                tiers[await self._tier_of(each[0], call)] = None
            if len(tiers) != 1:
                raise bad("deliveries are of one broker group, at least one")
            answer = await self.client.settle(
                next(iter(tiers)), name, topic, group, deliveries, *options,
                timeout_s=self._left_s(call),
            )  # fmt: skip
            unheard: Any = {"published": []} if name == words.ACK else len(deliveries)
            return unheard if answer is None else answer

        return handle

    async def _standing(self, call: Call, topic: str, group: str) -> list[list[Any]]:
        return await self.client.standing(topic, group, timeout_s=self._left_s(call))

    async def _release(
        self,
        call: Call,
        topic: str,
        group: str,
        consumer: str,
        options: dict[str, Any] | None = None,
    ) -> int:
        params = topic, group, consumer, options or {}
        return sum(await self._everywhere(call, words.RELEASE, *params))

    async def _revive(self, call: Call, topic: str) -> int:
        return sum(await self._everywhere(call, words.REVIVE, topic))

    async def _groups(self, call: Call) -> list[dict[str, Any]]:
        """Of all broker groups together."""
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for told in await self._everywhere(call, words.GROUPS):
            for row in told:
                known = rows.setdefault((row["topic"], row["group"]), row)
                if known is not row:
                    for name in ("lag", "in_flight", "failed_for_good", "lost"):
                        known[name] += row[name]
                    known["members"] = max(known["members"], row["members"])
        return list(rows.values())

    async def _everywhere(self, call: Call, method: str, *params: Any) -> list[Any]:
        ask, tiers = self.client.ask, await self.client.all_tiers(self._left_s(call))
        return [await ask(tier, method, *params, timeout_s=self._left_s(call)) for tier in tiers]


def _wait_s(options: dict[str, Any] | None) -> float:
    wait_ms = (options or {}).get("wait_ms", 0)
    if type(wait_ms) is not int or wait_ms < 0:
        raise bad("`wait_ms` is a whole number of at least 0")
    return min(wait_ms, words.MAX_WAIT_MS) / 1000
