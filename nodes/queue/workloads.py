"""Workloads on a queue tier: partitions that are written and read, a work queue, a consumer group.

What is published carries a producer's sequence, so that it is there once; what is taken is done
once it is acknowledged.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import trio

from nodes.parts.lives import of_this_run
from nodes.queue.client import QueueClient, Record
from nodes.queue.consumer import Consumer
from nodes.queue.work import Job, WorkQueue
from nodes.workloads.base import Session, Setting, Step, Workload
from protocols.errors import RpcError
from protocols.queue import words

PARTITIONS: Final = 2
SHARED: Final = 8
"""Partitions of a group's topic: most members have one, some have two, and pass it on."""
POLLED: Final = 100
WAIT_S: Final = 0.2
LOCK_S: Final = 1.0
MEMBERS: Final = 3
SESSION_S: Final = 2.0
RELEASE_S: Final = 2.0
TOO_LONG_S: Final = 3.0
"""More than a session, and more than the time to let go of a partition."""
AT_ONCE: Final = 5
FILL: Final = "." * 400
"""Of each job, so that a partition has several segments, and old ones go."""
REST_S: Final = 0.1
LEAST_REST_S: Final = 0.05
"""As a clock that runs at another rate may count it."""


class QueueWorkload:
    """What they have in common: the client, a topic of their own, unique values."""

    model = "queue"
    guarantee = ""
    options: Mapping[str, Any] = {}

    def __init__(self, setting: Setting) -> None:
        ctx = setting.ctx
        self.ctx = ctx
        self.name = of_this_run(ctx, f"{ctx.name}.{ctx.generation}")
        self.topic = of_this_run(ctx, f"{ctx.tier}.topic")
        self.timeout_s = setting.options.timeout_s
        self.client = QueueClient(ctx, setting.nursery, setting.directory, setting.options.asks)

    async def prepare(self) -> None:
        await self.client.declare(self.topic, {"partitions": PARTITIONS, **self.options})

    def value(self, number: int) -> str:
        """No other operation of the run publishes this one."""
        return f"{self.name}-{number}"


class Log(QueueWorkload):
    """Partitions as logs: records are published to one, and polled from where a process was."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._positions: dict[tuple[str, int], int] = {}

    def next(self, rng: random.Random, number: int) -> Step:
        partition = rng.randrange(PARTITIONS)
        if rng.random() < 0.4:
            return Step("poll", partition)
        return Step("publish", partition, self.value(number))

    async def do(self, step: Step, session: Session) -> Any:
        if step.f == "publish":
            if self.ctx.rare("publisher of an earlier epoch"):
                await self._publish_late(step)
            place = await self.client.publish(
                self.topic, step.value, partition=step.key, timeout_s=self.timeout_s
            )
            return [place.offset, step.value]
        if step.value is not None:
            records = await read_all(self.client, self.topic, step.key, self.timeout_s)
            return [[each.offset, each.value] for each in records]
        where = session.process, step.key
        position = self._positions.get(where, 0)
        polled = await self.client.poll(
            self.topic, step.key, position, most=POLLED, timeout_s=self.timeout_s
        )
        if polled.records:
            self._positions[where] = polled.records[-1].offset + 1
        return [[each.offset, each.value] for each in polled.records]

    async def _publish_late(self, step: Step) -> None:
        """As a publisher whose successor has begun: whatever it is answered, that did not happen,
        and if it is there, nobody published it."""
        ask, tier, named = self.client.ask, self.client.tier_of(step.key), {"partition": step.key}
        records = [[None, f"{step.value} of an earlier epoch"]]
        with suppress(RpcError):
            who = await ask(tier, words.PRODUCER, self.name, named, timeout_s=self.timeout_s)
            await ask(tier, words.PRODUCER, self.name, named, timeout_s=self.timeout_s)
            late = {**named, "producer": [*who, 0]}
            await ask(tier, words.PUBLISH, self.topic, records, late, timeout_s=self.timeout_s)

    def final_reads(self) -> Sequence[Step]:
        return [Step("poll", partition, "all") for partition in range(PARTITIONS)]


class Work(QueueWorkload):
    """A work queue: each record is done by one worker; now and then one fails, or is given up.
    What failed too often is among the dead letters, and nowhere else."""

    guarantee = "unordered"
    options: Mapping[str, Any] = {
        "groups": ["workers"],
        "ack_wait_s": LOCK_S,
        "max_deliver": 3,
        "retention": "worked_off",
        "capacity_bytes": 64 << 10,
        "record_bytes": 4 << 10,
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        ctx = setting.ctx
        self._queues: dict[str, WorkQueue] = {}
        self._rng = setting.ctx.rng("work")
        self._drained: list[Any] = []
        """Also by a drain that failed on its way."""
        self._resting: dict[Any, float] = {}
        """Job → until when nobody may have it."""
        self.dead = of_this_run(ctx, f"{ctx.tier}.dead")

    async def prepare(self) -> None:
        await self.client.declare(self.dead, {"partitions": PARTITIONS, "groups": ["drain"]})
        options = {"partitions": PARTITIONS, "dead_letters": self.dead, **self.options}
        await self.client.declare(self.topic, options)

    def next(self, rng: random.Random, number: int) -> Step:
        if rng.random() < 0.5:
            return Step("dequeue", self.topic)
        return Step("enqueue", self.topic, self.value(number))

    async def do(self, step: Step, session: Session) -> Any:
        match step.f:
            case "enqueue":
                await self.client.publish(
                    self.topic, step.value, headers={"fill": FILL}, timeout_s=self.timeout_s
                )
                return step.value
            case "drain":
                return await self._drain(session)
        return await self._take(session)

    def _queue(self, session: Session) -> WorkQueue:
        queue = self._queues.get(session.process)
        if queue is None:
            queue = WorkQueue(self.client, self.topic, "workers", session.process)
            self._queues[session.process] = queue
        return queue

    async def _take(self, session: Session) -> Any:
        """What is acknowledged is taken. Nothing else is, whatever had been acquired."""
        queue = self._queue(session)
        try:
            jobs = await queue.acquire(wait_s=WAIT_S, timeout_s=self.timeout_s)
        except RpcError as error:
            raise RpcError("unavailable", f"nothing was acquired: {error}") from error
        if not jobs:
            raise RpcError("refused", "there was nothing to take")
        return await self._finish(queue, jobs[0])

    async def _finish(self, queue: WorkQueue, job: Job) -> Any:
        now_s = self.ctx.clock.monotonic_s()
        if now_s < self._resting.pop(job.value, 0.0):
            return f"{job.value} before it had rested"  # which nobody put in
        if self.ctx.rare("slow worker"):
            await self.ctx.clock.sleep(1.5 * LOCK_S)
        if self._rng.random() < (0.5 if self.ctx.rare("failing worker") else 0.05):
            now_s = self.ctx.clock.monotonic_s()
            await queue.nack([job], delay_s=REST_S, timeout_s=self.timeout_s)
            self._resting[job.value] = now_s + LEAST_REST_S
            raise RpcError("refused", "the worker failed")
        await queue.ack([job], timeout_s=self.timeout_s)
        return job.value

    async def _drain(self, session: Session) -> list[Any]:
        """All that is left. Somebody's lock may have to end first."""
        dead = WorkQueue(self.client, self.dead, "drain", session.process)
        for queue in (self._queue(session), dead):
            while jobs := await queue.acquire(10, wait_s=2 * LOCK_S, timeout_s=self.timeout_s):
                await queue.ack(jobs, timeout_s=self.timeout_s)
                self._drained += [job.value for job in jobs]
        return self._drained

    def final_reads(self) -> Sequence[Step]:
        return [Step("drain", self.topic)]


class Group(QueueWorkload):
    """A consumer group: members share the partitions, work records off, and commit. Now and then
    one leaves, and comes again; a rare one falls silent, or does not let go."""

    options: Mapping[str, Any] = {"partitions": SHARED}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._nursery = setting.nursery
        self._rng = setting.ctx.rng("members")
        self._members: list[Consumer] = []
        self._idle: list[Consumer] = []
        self._speaking: dict[str, trio.CancelScope] = {}
        """Member → what ends its heartbeats for a while."""
        self._drained: list[list[Any]] = []
        """Also by a drain that failed on its way."""

    async def prepare(self) -> None:
        await super().prepare()
        for number in range(len(self._members), MEMBERS):
            consumer = Consumer(
                self.client, self.topic, f"{self.name}/m{number}", [self.topic],
                session_s=SESSION_S, release_s=RELEASE_S,
            )  # fmt: skip
            self._members.append(consumer)
            self._idle.append(consumer)
            self._nursery.start_soon(self._stay, consumer)

    async def _stay(self, consumer: Consumer) -> None:
        while True:
            with trio.CancelScope() as scope:
                self._speaking[consumer.member] = scope
                await consumer.run()
            await self.ctx.clock.sleep(TOO_LONG_S)

    def next(self, rng: random.Random, number: int) -> Step:
        if rng.random() < 0.5:
            return Step("consume", self.topic)
        return Step("publish", self.topic, self.value(number))

    async def do(self, step: Step, session: Session) -> Any:
        match step.f:
            case "publish":
                place = await self.client.publish(self.topic, step.value, timeout_s=self.timeout_s)
                return [*place, step.value]
            case "drain":
                return await self._drain()
        if not self._idle:
            raise RpcError("refused", "all members are at work")
        member = self._idle.pop(0)
        try:
            if self._rng.random() < 0.05:
                await member.leave()
            return await self._consume(member)
        except RpcError as error:
            if error.code == "stale_generation":
                raise RpcError("refused", str(error)) from error
            raise
        finally:
            self._idle.append(member)

    async def _consume(self, member: Consumer) -> list[list[Any]]:
        """What was committed; asked again until that is known."""
        records = await member.poll(most=AT_ONCE, wait_s=WAIT_S)
        if not records:
            return []
        if self._rng.random() < 0.1:
            member.give_up(records)
            raise RpcError("refused", "the member failed")
        if self.ctx.rare("silent member"):
            self._speaking[member.member].cancel()
            await self.ctx.clock.sleep(TOO_LONG_S)
        elif self.ctx.rare("member that does not let go"):
            await self.ctx.clock.sleep(2 * TOO_LONG_S)
        await member.commit(records, timeout_s=self.timeout_s)
        if self.ctx.rare("commit that comes late"):
            await self._commit_back(member, records[0])
        return _rows(records)

    async def _commit_back(self, member: Consumer, record: Record) -> None:
        """As it was before that record: what comes late takes nobody back."""
        home = await self.client.home_of(self.topic)
        back = [self.topic, record.partition, record.offset]
        with suppress(RpcError):
            await self.client.ask(
                home, words.COMMIT, self.topic, member.member, member.epoch, [back],
                timeout_s=self.timeout_s,
            )  # fmt: skip

    async def _drain(self) -> list[list[Any]]:
        """Until the group has committed all that there is."""
        while not await self._is_worked_off():
            for member in self._members:
                records = await member.poll(most=AT_ONCE, wait_s=WAIT_S)
                if records:
                    await member.commit(records, timeout_s=self.timeout_s)
                    self._drained += _rows(records)
        return self._drained

    async def _is_worked_off(self) -> bool:
        home = await self.client.home_of(self.topic)
        told = await self.client.ask(home, "committed", self.topic)
        done = {number: offset for _, number, offset in told["offsets"]}
        ends = await self.client.offsets(self.topic)
        return all(done.get(number, 0) >= end for number, (_, end) in ends.items())

    def final_reads(self) -> Sequence[Step]:
        return [Step("drain", self.topic)]


async def read_all(
    client: QueueClient, topic: str, partition: int, timeout_s: float
) -> list[Record]:
    """From the first record to the last."""
    found: list[Record] = []
    while True:
        polled = await client.poll(topic, partition, len(found), most=POLLED, timeout_s=timeout_s)
        found += polled.records
        if len(found) >= polled.end or not polled.records:
            return found


def _rows(records: Sequence[Record]) -> list[list[Any]]:
    return [[each.partition, each.offset, each.value] for each in records]


WORKLOADS: Final[Mapping[str, Callable[[Setting], Workload]]] = {
    "log": Log,
    "work": Work,
    "group": Group,
}
