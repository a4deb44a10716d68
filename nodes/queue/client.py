"""The asking side of a queue tier: it knows where partitions live, finds their primaries, and
repeats what is safe to repeat.

Whoever names a queue tier in its edges uses this; the front is this behind a listener. Members of
consumer groups are in consumer.py, workers that take from a work queue in work.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, Final, NamedTuple

import trio

from nodes.base import Context
from nodes.parts.timing import move_on_after
from nodes.replica.client import ELSEWHERE, LEAST_LEFT_S, GroupClients, earlier
from nodes.wire.answers import PATIENCE, deadline_in
from nodes.wire.directory import Directory
from protocols.errors import RpcError
from protocols.queue import words
from protocols.queue.placement import home_of, partition_of, place_of

DEFAULT_TIMEOUT_S: Final = 5.0
BROKER: Final = "queue_broker"
PAUSE_S: Final = 0.01
TRY_S: Final = 1.0
"""After so long without an answer another member is asked who leads."""


class Record(NamedTuple):
    """A record as a consumer reads it."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    key: str | bytes | None
    value: Any
    headers: Mapping[str, Any]


class Polled(NamedTuple):
    """What a poll brought."""

    records: list[Record]
    start: int
    """The first offset that there is."""
    end: int
    """The high watermark."""


class Place(NamedTuple):
    """Where a record is."""

    partition: int
    offset: int


class QueueClient:
    """Requests to a queue tier.

    What is published here is published once: this client is one producer in each broker group, and
    repeats itself under the same sequence until it is answered. Publishers that share a client
    wait for each other in a partition only, and those that wait leave together.
    """

    def __init__(
        self, ctx: Context, nursery: trio.Nursery, directory: Directory, queue: str
    ) -> None:
        self.ctx = ctx
        self.queue = queue
        self.tiers: list[str] = []
        """Of the broker groups; empty until the first question."""
        self.topics: dict[str, dict[str, Any]] = {}
        self._directory = directory
        self._groups = GroupClients(ctx, nursery, directory)
        self._producers: dict[str, Producer] = {}
        self._spread = ctx.rng(f"queue-client/{queue}")

    # --- where things are ----------------------------------------------------------------

    async def look(self, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Learn which broker groups and topics there are. Raises RpcError."""
        view = await self._directory.follow(self.queue)
        tiers = sorted({each.tier: None for each in view.members if each.kind == BROKER})
        if not tiers:
            raise RpcError("unavailable", f"{self.queue} has no brokers")
        answer = await self._groups.of(tiers[0]).ask(words.TOPICS, timeout_s=timeout_s)
        self.tiers, self.topics = list(answer["tiers"]), dict(answer["topics"])

    async def partitions_of(self, topic: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> int:
        """How many it has. Raises RpcError not_found."""
        if topic not in self.topics:
            await self.look(timeout_s)
        if topic not in self.topics:
            raise RpcError("not_found", f"there is no topic {topic[:100]!r}")
        return int(self.topics[topic]["partitions"])

    async def ask(
        self,
        tier: str,
        method: str,
        *params: Any,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        wait_s: float = 0.0,
    ) -> Any:
        """A broker group's primary, whoever that is by then; `wait_s` is what the answer itself
        may wait. Raises RpcError, after an attempt whose outcome is unknown with that as its
        cause."""
        more_s = 3 * wait_s  # also where others are asked first, which do not answer
        clock = self.ctx.clock
        deadline_s = deadline_in(clock, timeout_s + more_s)
        unknown: RpcError | None = None
        while True:
            left_s = max(deadline_s - clock.monotonic_s(), LEAST_LEFT_S)
            try:
                attempt_s = min(left_s, TRY_S + more_s)
                return await self._groups.of(tier).ask(
                    method, *params, timeout_s=attempt_s, wait_s=wait_s
                )
            except RpcError as error:
                cause = earlier(error)
                unknown = unknown if cause.definite else cause
                is_over = deadline_s - clock.monotonic_s() <= LEAST_LEFT_S
                again = error.code in ELSEWHERE or self._waits(method, params, error)
                if is_over and unknown is not None:
                    raise unknown from None
                if is_over or not again:
                    raise _about_all(error, unknown) from unknown
            await clock.sleep(PAUSE_S)  # a group gives up at once where little time is left

    def _waits(self, method: str, params: Sequence[Any], error: RpcError) -> bool:
        """Whether a publisher waits for room, as long as it has time."""
        is_full = method == words.PUBLISH and error.code == "full"
        return is_full and self.topics.get(params[0], {}).get("when_full") == "block"

    async def settle(
        self, tier: str, method: str, *params: Any, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> Any:
        """Say what became of deliveries. Raises RpcError; that it is so already is no error after
        an attempt that nobody answered, if it is so by these deliveries."""
        try:
            return await self.ask(tier, method, *params, timeout_s=timeout_s)
        except RpcError as error:
            cause = error.__cause__
            if not isinstance(cause, RpcError) or cause.definite:
                raise
            if method == words.ACK and error.code == "settled":
                if list(error.details) in [list(each) for each in params[2]]:
                    return None  # one of them, and so all
                if error.details[-1:] == (words.FORGOTTEN,):
                    told = f"{cause}; then {error}, and by whom is forgotten"
                    raise RpcError("unknown_outcome", told) from error
            elif method != words.ACK and error.code == "stale_delivery" and len(params[2]) == 1:
                return None
            raise

    def tier_of(self, partition: int) -> str:
        """The broker group that has the partition; `look` first."""
        return self.tiers[place_of(partition, len(self.tiers))]

    async def all_tiers(self, timeout_s: float = DEFAULT_TIMEOUT_S) -> list[str]:
        """Of the broker groups, asked for if need be. Raises RpcError."""
        if not self.tiers:
            await self.look(timeout_s)
        return self.tiers

    async def home_of(self, name: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """The broker group that coordinates that consumer group."""
        tiers = await self.all_tiers(timeout_s)
        return tiers[home_of(name, len(tiers))]

    async def declare(
        self, topic: str, options: Mapping[str, Any], *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> bool:
        """Make a topic; whether any broker group had it not yet. Raises RpcError."""
        new = False
        for tier in await self.all_tiers(timeout_s):
            new |= await self.ask(tier, words.DECLARE, topic, dict(options), timeout_s=timeout_s)
        await self.look(timeout_s)
        return new

    # --- publish -------------------------------------------------------------------------

    async def publish(
        self,
        topic: str,
        value: Any,
        *,
        key: str | bytes | None = None,
        headers: Mapping[str, Any] | None = None,
        partition: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Place:
        """One record, once; where it is. Raises RpcError: an indefinite one if it may be there."""
        deadline_s = deadline_in(self.ctx.clock, timeout_s)
        partitions = await self.partitions_of(topic, timeout_s)
        if partition is None:
            partition = self._choose(key, partitions)
        record = [key, value, dict(headers or {})]
        places = await self.publish_to(topic, partition, [record], deadline_s=deadline_s)
        return places[0]

    def _choose(self, key: str | bytes | None, partitions: int) -> int:
        return self._spread.randrange(partitions) if key is None else partition_of(key, partitions)

    async def publish_to(
        self, topic: str, partition: int, records: Sequence[Any], *, deadline_s: float
    ) -> list[Place]:
        """Records to one partition, all or none. Raises RpcError."""
        producer = self.producer_of(partition)
        return await producer.publish(topic, partition, records, deadline_s)

    def producer_of(self, partition: int) -> Producer:
        """This client as the broker group that has the partition knows it."""
        tier = self.tier_of(partition)
        producer = self._producers.get(tier)
        if producer is None:
            producer = self._producers[tier] = Producer(self, tier)
        return producer

    # --- read ----------------------------------------------------------------------------

    async def poll(
        self,
        topic: str,
        partition: int,
        offset: int,
        *,
        most: int = words.MAX_POLLED,
        wait_s: float = 0.0,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Polled:
        """Records from an offset on, waiting for the first. Raises RpcError; `out_of_range` has
        the first offset that there is and the end as its details."""
        await self.partitions_of(topic, timeout_s)
        options = {"max_records": most, "wait_ms": int(wait_s * 1000)}
        answer = await self.ask(
            self.tier_of(partition), words.POLL, topic, partition, offset, options,
            timeout_s=timeout_s, wait_s=wait_s,
        )  # fmt: skip
        records = [Record(topic, partition, *each) for each in answer["records"]]
        return Polled(records, answer["start"], answer["end"])

    async def offsets(
        self, topic: str, *, time_ms: int | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> dict[int, list[int]]:
        """Partition → [start, end], and with `time_ms` the first offset that is not older. Raises
        RpcError."""
        await self.partitions_of(topic, timeout_s)
        options = {} if time_ms is None else {"time_ms": time_ms}
        found: dict[int, list[int]] = {}
        for tier in self.tiers:
            rows = await self.ask(tier, words.OFFSETS, topic, options, timeout_s=timeout_s)
            found |= {number: rest for number, *rest in rows}
        return dict(sorted(found.items()))

    async def standing(
        self, topic: str, group: str, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[list[Any]]:
        """How far a work group is, by partition: words.STANDING. Raises RpcError."""
        await self.partitions_of(topic, timeout_s)
        rows: list[list[Any]] = []
        for tier in self.tiers:
            rows += await self.ask(tier, words.STANDING, topic, group, timeout_s=timeout_s)
        return sorted(rows, key=lambda row: int(row[0]))


NO_TURN: Final = "not published: those before it were not answered in its time"


class _Carried:
    """Records of several publishers that leave together, when those before them are answered."""

    __slots__ = ("_records_of", "answer", "deadline_s", "error", "over", "publishers")

    def __init__(self) -> None:
        self._records_of: list[Sequence[Any]] = []
        self.deadline_s = 0.0
        """The latest of all."""
        self.publishers = 0
        self.over = trio.Event()
        self.answer: list[Any] | None = None
        self.error: RpcError | None = None
        """Neither: whoever carried them left before they were sent."""

    def __len__(self) -> int:
        return sum(map(len, self._records_of))

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self._records_of)

    def take(self, records: Sequence[Any], deadline_s: float) -> int:
        """The number of whoever publishes these."""
        self.publishers += 1
        self.deadline_s = max(self.deadline_s, deadline_s)
        self._records_of.append(records)
        return len(self._records_of) - 1

    def leave(self, number: int) -> None:
        """Before they are sent."""
        self.publishers -= 1
        self._records_of[number] = ()

    def answer_for(self, number: int) -> list[Any] | None:
        if self.answer is None:
            return None
        first = sum(map(len, self._records_of[:number]))
        return self.answer[first : first + len(self._records_of[number])]


class Producer:
    """One broker group's view of a client that publishes: an id, and a sequence in each
    partition."""

    def __init__(self, client: QueueClient, tier: str, name: str = "") -> None:
        self._client = client
        self._tier = tier
        self._name = name
        self._id: list[Any] | None = None
        self._sequences: dict[tuple[str, int], int] = {}
        self._locks: dict[tuple[str, int], trio.Lock] = {}
        self._next: dict[tuple[str, int], _Carried] = {}
        """What leaves when the publish that is on its way is answered."""

    async def publish(
        self, topic: str, partition: int, records: Sequence[Any], deadline_s: float
    ) -> list[Place]:
        """Again under the same sequence until it is answered, or the time is over. Raises
        RpcError."""
        where = topic, partition
        answer: list[Any] | None = None
        while answer is None:
            carried = self._next.get(where)
            lock = self._locks.get(where)
            if carried is None or len(carried) + len(records) > MOST_TOGETHER:
                if carried is not None or lock is None or not lock.locked():
                    answer = await self._send(where, records, deadline_s)
                    break
                carried = self._next[where] = _Carried()
                mine = carried.take(records, deadline_s)
                await self._carry(where, carried, deadline_s)
            else:
                mine = carried.take(records, deadline_s)
                await self._wait_for(where, carried, mine, deadline_s)
            answer = carried.answer_for(mine)
            if carried.error is not None:
                if not carried.error.definite or carried.publishers == 1:
                    raise carried.error
                answer = await self._send(where, records, deadline_s)  # another's may be wrong
        return [Place(number, offset) for number, offset in answer]

    async def _carry(self, where: tuple[str, int], carried: _Carried, deadline_s: float) -> None:
        """Send what has gathered by then; its answer, or its error, is for all of them."""
        try:
            carried.answer = await self._send(where, carried, deadline_s, carried)
        except RpcError as error:
            if self._next.get(where) is carried:  # its turn did not come in its own time
                raise
            carried.error = error
        except trio.Cancelled:
            if self._next.get(where) is not carried:  # it was on its way
                carried.error = RpcError("unknown_outcome", "who published this too has left")
            raise
        finally:
            if self._next.get(where) is carried:
                del self._next[where]
            carried.over.set()

    async def _wait_for(
        self, where: tuple[str, int], carried: _Carried, mine: int, deadline_s: float
    ) -> None:
        clock = self._client.ctx.clock
        with move_on_after(clock, PATIENCE * self._left_s(deadline_s)):
            await carried.over.wait()
            return
        if self._next.get(where) is carried:
            carried.leave(mine)
            raise RpcError("expired", NO_TURN)
        with move_on_after(clock, self._left_s(deadline_s)):
            await carried.over.wait()
            return
        raise RpcError("timeout", "not answered in time, and perhaps published")

    async def _send(
        self,
        where: tuple[str, int],
        records: Sequence[Any] | _Carried,
        deadline_s: float,
        carried: _Carried | None = None,
    ) -> list[Any]:
        """Raises RpcError."""
        topic, partition = where

        async def send(stamp: list[Any], left_s: float) -> Any:
            options = {"partition": partition, "producer": stamp}
            return await self._client.ask(
                self._tier, words.PUBLISH, topic, list(records), options, timeout_s=left_s
            )

        return list(await self.in_turn(where, records, deadline_s, send, carried))

    async def in_turn(
        self,
        where: tuple[str, int],
        records: Sequence[Any] | _Carried,
        deadline_s: float,
        send: Callable[[list[Any], float], Awaitable[Any]],
        carried: _Carried | None = None,
    ) -> Any:
        """What `send(stamp, seconds left)` answers, which publishes the records there: one at a
        time, so that sequences stay in order. `carried`: no more are added to these once it is
        their turn. Raises RpcError."""
        async with self._turn(where, deadline_s):
            if carried is not None:
                del self._next[where]
                deadline_s = carried.deadline_s
            stamp, count = await self._stamp(where, deadline_s), len(records)
            try:
                answer = await send(stamp, self._left_s(deadline_s))
            except RpcError as error:
                self._failed(error)
                raise
            except trio.Cancelled:
                self._id = None  # whether that sequence was taken nobody knows
                raise
            if self._id == stamp[:2]:
                self._sequences[where] = stamp[2] + count
        return answer

    @asynccontextmanager
    async def _turn(self, where: tuple[str, int], deadline_s: float) -> AsyncIterator[None]:
        """Raises RpcError while whoever wants it still hears so."""
        lock = self._locks.setdefault(where, trio.Lock())
        if lock.locked():
            patience_s = PATIENCE * self._left_s(deadline_s)
            with move_on_after(self._client.ctx.clock, patience_s) as scope:
                await lock.acquire()
            if scope.cancelled_caught:
                raise RpcError("expired", NO_TURN)
        else:
            await lock.acquire()
        try:
            yield
        finally:
            lock.release()

    async def _stamp(self, where: tuple[str, int], deadline_s: float) -> list[Any]:
        """[id, epoch, sequence] of what is published there next."""
        if self._id is None:
            left_s = self._left_s(deadline_s)
            answer = await self._client.ask(
                self._tier, words.PRODUCER, self._name, {"partition": where[1]}, timeout_s=left_s
            )
            self._id = list(answer)
            self._sequences.clear()
        return [*self._id, self._sequences.get(where, 0)]

    def _failed(self, error: RpcError) -> None:
        """After a refusal the sequence is free; after anything else nobody knows, and another
        producer goes on."""
        cause = earlier(error)
        if not (error.definite and cause.definite) or error.code in LOST_PRODUCER:
            self._id = None

    def _left_s(self, deadline_s: float) -> float:
        return max(deadline_s - self._client.ctx.clock.monotonic_s(), LEAST_LEFT_S)


MOST_TOGETHER: Final = 100
"""Records of several publishers in one request."""
TELLING: Final = (
    "bad_request", "no_such_method", "too_large", "moved", "out_of_range", "settled",
    "stale_delivery",
)  # fmt: skip
"""Refusals that also hold of an attempt before them that nobody answered (`settled` and
`stale_delivery`: see `settle`). Any other says only that nothing came of the latest one."""
LOST_PRODUCER: Final = ("unknown_producer", "fenced", "out_of_sequence")


def _about_all(error: RpcError, unknown: RpcError | None) -> RpcError:
    """What is to be told of several attempts, of which the latest was answered by `error`."""
    if unknown is None or not error.definite or error.code in TELLING:
        return error
    return RpcError("unknown_outcome", f"{unknown}; then {error}")
