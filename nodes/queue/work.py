"""A worker's side of a work queue: take records, say what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nodes.queue.client import DEFAULT_TIMEOUT_S, Place, QueueClient
from nodes.wire.answers import deadline_in
from protocols.errors import RpcError
from protocols.queue import words
from protocols.queue.placement import partition_of


class Job(NamedTuple):
    """A record that this worker has, until it says what became of it or its lock ends."""

    topic: str
    partition: int
    offset: int
    delivery: int
    """The how-manieth it is."""
    failed: int
    """How often the record has failed before."""
    time_ms: int
    key: str | bytes | None
    value: Any
    headers: Mapping[str, Any]

    @property
    def named(self) -> list[int]:
        return [self.partition, self.offset, self.delivery]


class WorkQueue:
    """One consumer of one work group. Use one for each task that takes jobs: it asks once at a
    time."""

    def __init__(self, client: QueueClient, topic: str, group: str, consumer: str) -> None:
        """`consumer`: no other has this name."""
        self._client = client
        self.topic = topic
        self.group = group
        self.consumer = consumer
        self._attempt = 0
        self._turn = 0

    async def acquire(
        self,
        most: int = 1,
        *,
        wait_s: float = 0.0,
        lock_s: float = 0.0,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> list[Job]:
        """Up to `most` jobs, waiting so long for the first; at each broker group in turn. Raises
        RpcError. (What was handed out and not heard is handed out again to the next call.)"""
        await self._client.partitions_of(self.topic, timeout_s)
        tiers = self._tiers()
        options: dict[str, Any] = {"max": most, "attempt": self._attempt + 1}
        if lock_s:
            options["lock_ms"] = max(1, int(lock_s * 1000))
        for place in range(len(tiers)):
            tier = tiers[(self._turn + place) % len(tiers)]
            wait_ms = int(wait_s * 1000 / len(tiers))
            answer = await self._client.ask(
                tier, words.ACQUIRE, self.topic, self.group, self.consumer,
                {**options, "wait_ms": wait_ms}, timeout_s=timeout_s,
                wait_s=wait_s / len(tiers),
            )  # fmt: skip
            if answer["deliveries"]:
                self._attempt += 1
                self._turn += place + 1
                return [Job(self.topic, *each) for each in answer["deliveries"]]
        self._turn += 1
        return []

    def _tiers(self) -> list[str]:
        """The broker groups that have partitions of the topic."""
        partitions = int(self._client.topics[self.topic]["partitions"])
        return self._client.tiers[:partitions]

    async def ack(self, jobs: Sequence[Job], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """They are done. Raises RpcError: `stale_delivery` if one is another's by now. (That one
        is done already is right where a call before was not answered.)"""
        await self._tell(words.ACK, jobs, {}, timeout_s)

    async def ack_and_publish(
        self,
        job: Job,
        topic: str,
        value: Any,
        *,
        key: str | bytes | None = None,
        headers: Mapping[str, Any] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Place:
        """It is done, and this is published: both or neither, however often this is repeated.
        The record goes to a partition that lives beside the job's: by its key, if that does; else
        `bad_request`. Raises RpcError."""
        client = self._client
        deadline_s = deadline_in(client.ctx.clock, timeout_s)
        partitions = await client.partitions_of(topic, timeout_s)
        partition = job.partition % partitions if key is None else partition_of(key, partitions)
        if client.tier_of(partition) != client.tier_of(job.partition):
            raise RpcError("bad_request", f"{topic}/{partition} lives in another broker group")
        record = [key, value, dict(headers or {})]

        async def send(stamp: list[Any], left_s: float) -> Any:
            batch = [topic, [record], {"partition": partition, "producer": stamp}]
            return await client.ask(
                client.tier_of(job.partition), words.ACK, job.topic, self.group, [job.named],
                {"publish": [batch]}, timeout_s=left_s,
            )  # fmt: skip

        producer = client.producer_of(partition)
        answer = await producer.in_turn((topic, partition), [record], deadline_s, send)
        return Place(*answer["published"][0])

    async def nack(
        self,
        jobs: Sequence[Job],
        *,
        delay_s: float | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """They failed; to be tried again after `delay_s`, or as the topic says. Raises RpcError."""
        options = {} if delay_s is None else {"delay_ms": int(delay_s * 1000)}
        await self._tell(words.NACK, jobs, options, timeout_s)

    async def renew(
        self,
        jobs: Sequence[Job],
        *,
        lock_s: float = 0.0,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """They take longer: so long from now on. Raises RpcError."""
        options = {"lock_ms": max(1, int(lock_s * 1000))} if lock_s else {}
        await self._tell(words.RENEW, jobs, options, timeout_s)

    async def terminate(self, jobs: Sequence[Job], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Not to be tried again: to the dead letters. Raises RpcError."""
        await self._tell(words.TERMINATE, jobs, None, timeout_s)

    async def release(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Give back all that this consumer has, unharmed. Raises RpcError."""
        for tier in self._tiers():
            await self._client.ask(
                tier, words.RELEASE, self.topic, self.group, self.consumer, timeout_s=timeout_s
            )

    async def _tell(
        self, method: str, jobs: Sequence[Job], options: dict[str, Any] | None, timeout_s: float
    ) -> None:
        """Those of each broker group together."""
        by_tier: dict[str, list[list[int]]] = {}
        for job in jobs:
            by_tier.setdefault(self._client.tier_of(job.partition), []).append(job.named)
        last = () if options is None else (options,)
        for tier, named in by_tier.items():
            await self._client.settle(
                tier, method, self.topic, self.group, named, *last, timeout_s=timeout_s
            )
