"""What a primary decides about topics, producers and what they publish. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from nodes.queue import reach
from nodes.queue.desk import Desk
from nodes.queue.partition import FRAME_BYTES
from nodes.queue.state import BEGIN, DECLARE, PUBLISH, TRIM, Topic
from nodes.queue.topics import TopicOptions, with_dead_letters
from protocols.errors import RpcError

MAX_TOPICS: Final = 1000
RESERVED_BYTES: Final = 512 << 10
"""Of the disk, and not for records: what is there can be worked off when no more is taken."""
AMPLE_BYTES: Final = 1 << 20
"""More than one record of the log can hold: with so much beside the reserve none is looked at."""


class ProducerAt(NamedTuple):
    """Who publishes, and which of its records comes first."""

    id: str
    epoch: int
    sequence: int


class Batch(NamedTuple):
    """Packed records for one partition that lives here."""

    topic: Topic
    number: int
    payloads: list[bytes]
    size_bytes: int
    producer: ProducerAt | None = None


class Publishing:
    """Decisions, each a fact or a refusal."""

    def __init__(self, desk: Desk, has_room: Callable[[int], bool] = lambda size: True) -> None:
        """`has_room(bytes)`: whether the disk has room for so much of records, and the reserve."""
        self._desk = desk
        self._has_room = has_room
        self._ample_lsn = -1
        """The record that was begun with ample room."""
        self.published = 0
        self.dropped = 0
        """Records that went to make room for others."""

    def declare_with_dead_letters(self, name: str, options: TopicOptions) -> bool:
        """Whether the topic is new; where nobody has declared the topic of its dead letters, that
        is made, too."""
        topics = self._desk.state.topics
        if name in topics:
            return self.declare(name, options)
        try:
            near = {
                each: topic.options
                for each, topic in topics.items()
                if each == options.dead_letters or topic.options.dead_letters == name
            }
            wanted = with_dead_letters({**near, name: options})
        except ValueError as error:
            raise RpcError("bad_request", str(error)) from error
        new = [each for each in wanted if each not in topics]
        self._expect_places(len(new))
        for each in new:
            self.declare(each, wanted[each])
        return True

    def declare(self, name: str, options: TopicOptions) -> bool:
        """Whether the topic is new."""
        desk = self._desk
        known = desk.state.topics.get(name)
        if known is not None:
            if known.options != options:
                raise RpcError("refused", f"{name} is there, with other options")
            return False
        self._expect_places(1)
        desk.do(DECLARE, name, options.to_wire())
        return True

    def _expect_places(self, topics: int) -> None:
        if len(self._desk.state.topics) + topics > MAX_TOPICS:
            raise RpcError("overloaded", f"more than {MAX_TOPICS} topics are not taken")

    def begin(self, name: str) -> list[Any]:
        """A producer's id and epoch."""
        desk = self._desk
        producer, epoch = desk.state.producers.named(name, desk.lsn)
        desk.do(BEGIN, producer, epoch, name)
        return [producer, epoch]

    def publish(self, batches: Sequence[Batch]) -> list[list[int]]:
        """All of them or none; [partition, offset] of each record."""
        if len(batches) != 1:
            return self.add(batches, self.checked(batches))
        (batch,) = batches
        _, number, payloads, _, _ = batch
        offset = self.check(batch)
        first = self._append(batch) if offset is None else offset
        return [[number, place] for place in range(first, first + len(payloads))]

    def checked(self, batches: Sequence[Batch]) -> list[int | None]:
        """Of each batch what `check` says. Raises RpcError: nothing of them is published."""
        return [self.check(batch) for batch in batches]

    def add(self, batches: Sequence[Batch], known: Sequence[int | None]) -> list[list[int]]:
        """What was `checked`; this may drop the oldest records."""
        found: list[list[int]] = []
        for batch, offset in zip(batches, known, strict=True):
            first, number = self._append(batch) if offset is None else offset, batch.number
            for place in range(first, first + len(batch.payloads)):
                found.append([number, place])
        return found

    def check(self, batch: Batch) -> int | None:
        """The first offset of what was published already; None if it may be published now."""
        topic, number, payloads, _, producer = batch
        desk = self._desk
        if producer is not None:
            where = topic.name, number
            offset = desk.state.producers.published(*producer, len(payloads), where)
            if offset is not None:
                desk.reached(reach.REPEATED)
                return offset
        if self._is_full(batch) and topic.options.when_full != "drop_oldest":
            raise RpcError("full", f"{topic.name}/{number} is full")
        if self._ample_lsn != desk.lsn:
            self._check_disk(batch)
        return None

    def _check_disk(self, batch: Batch) -> None:
        """Raises RpcError where what is left is for working off what is there."""
        desk = self._desk
        if self._has_room(AMPLE_BYTES):
            self._ample_lsn = desk.lsn
        elif not self._has_room(desk.fact_bytes + batch.size_bytes):
            raise RpcError("no_space", "the disk is full but for what working off needs")

    def _is_full(self, batch: Batch) -> bool:
        topic, number, payloads, size_bytes, _ = batch
        wanted_bytes = size_bytes + len(payloads) * FRAME_BYTES
        capacity_bytes = topic.options.capacity_bytes
        if wanted_bytes > capacity_bytes:
            raise RpcError("too_large", f"{topic.name} holds {capacity_bytes} bytes at most")
        return topic.partitions[number].size_bytes + wanted_bytes > capacity_bytes

    def _make_room(self, batch: Batch) -> None:
        """Drop the oldest segments, where the topic says so."""
        partition = batch.topic.partitions[batch.number]
        while self._is_full(batch) and partition.segments:
            self._trim(batch.topic, batch.number, partition.oldest_end)

    def _append(self, batch: Batch) -> int:
        topic, number, payloads, _, producer = batch
        desk, name = self._desk, topic.name
        if topic.options.when_full == "drop_oldest":
            self._make_room(batch)
        first = topic.partitions[number].end
        desk.grows(name, number, first)
        whose, sequence = ("", 0) if producer is None else (producer.id, producer.sequence)
        desk.do(PUBLISH, name, number, desk.record_ms, whose, sequence, payloads)
        self.published += len(payloads)
        return first

    def drop_old(self) -> int:
        """Trim what is older than its topic's `max_age`; how many records that were."""
        now_ms, before = self._desk.now_ms(), self.dropped
        for topic in self._desk.state.topics.values():
            if topic.options.max_age_s > 0:
                oldest_ms = now_ms - int(topic.options.max_age_s * 1000)
                for number, partition in topic.partitions.items():
                    self._trim(topic, number, partition.end_of_older(oldest_ms))
        return self.dropped - before

    def is_any_old(self) -> bool:
        """Whether `drop_old` would find something."""
        now_ms = self._desk.now_ms()
        return any(
            partition.end_of_older(now_ms - int(topic.options.max_age_s * 1000)) > partition.start
            for topic in self._desk.state.topics.values()
            if topic.options.max_age_s > 0
            for partition in topic.partitions.values()
        )

    def _trim(self, topic: Topic, number: int, start: int) -> None:
        before = topic.partitions[number].start
        if start > before:
            self.dropped += start - before
            self._desk.do(TRIM, topic.name, number, start)
