"""What a broker group agrees on: topics, producers, consumer groups, work queues. Pure.

It changes by facts only. Whoever is primary decides them (desk.py and its neighbours), by its
own clock where time matters: a fact says what follows, as a length of time at most, so that all
replicas come to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgpack

from nodes.queue.cursor import ACQUIRED, DYING, Cursor
from nodes.queue.groups import ConsumerGroup
from nodes.queue.partition import Backlog, Partition
from nodes.queue.producers import Batch, Producers
from nodes.queue.topics import TopicOptions

DECLARE: Final = 0
BEGIN: Final = 1
PUBLISH: Final = 2
TRIM: Final = 3
JOIN: Final = 4
LEAVE: Final = 5
REPORT: Final = 6
COMMIT: Final = 7
SEEK: Final = 8
WORK: Final = 9
ACQUIRE: Final = 10
SETTLE: Final = 11
GIVE_BACK: Final = 12
TERMINATE: Final = 13
RESTED: Final = 14
BURY: Final = 15
SKIP: Final = 16
RENEW: Final = 17
NAMES: Final = (
    "declare", "begin", "publish", "trim", "join", "leave", "report", "commit", "seek", "work",
    "acquire", "settle", "give_back", "terminate", "rested", "bury",
    "skip", "renew",
)  # fmt: skip

Fact = Sequence[Any]


class Topic:
    """A topic, and of its partitions those that this broker group has."""

    def __init__(
        self, name: str, options: TopicOptions, numbers: Sequence[int], backlog: Backlog
    ) -> None:
        self.name = name
        self.options = options
        self.partitions = {
            number: Partition(name, number, options.segment_bytes, backlog) for number in numbers
        }
        self.cursors: dict[str, dict[int, Cursor]] = {}
        """Work group → partition → how far."""
        self.buried: dict[int, dict[int, None]] = {number: {} for number in numbers}
        """Offsets of each partition that are among the dead letters."""
        self.lost = 0
        """Records that were dropped before a work group had done, or a consumer group read them."""

    def work(self, group: str) -> None:
        """A work group begins, with what is there."""
        self.cursors[group] = {
            number: Cursor(partition.start) for number, partition in self.partitions.items()
        }

    def work_off(self, number: int) -> None:
        """Drop what every work group has done, if this topic's records go by that."""
        if self.options.retention == "worked_off" and self.cursors:
            floor = min(each[number].floor for each in self.cursors.values())
            partition = self.partitions[number]
            if floor > partition.start:
                partition.trim(floor)
                self._forget_buried(number, floor)

    def trim(self, number: int, start: int) -> None:
        """Drop what is before `start`, done or not."""
        self.partitions[number].trim(start)
        for cursors in self.cursors.values():
            self.lost += cursors[number].trim(start)
        self._forget_buried(number, start)

    def _forget_buried(self, number: int, start: int) -> None:
        buried = self.buried[number]
        for offset in [each for each in buried if each < start]:
            del buried[offset]

    def to_wire(self) -> list[Any]:
        return [
            self.options.to_wire(),
            [[number, each.to_wire()] for number, each in self.partitions.items()],
            {
                group: [[number, each.to_wire()] for number, each in cursors.items()]
                for group, cursors in self.cursors.items()
            },
            [[number, list(each)] for number, each in self.buried.items()],
            self.lost,
        ]

    @classmethod
    def from_wire(cls, name: str, value: Sequence[Any], backlog: Backlog) -> Topic:
        options, partitions, cursors, buried, lost = value
        made = cls(name, TopicOptions.from_wire(options), [each[0] for each in partitions], backlog)
        for number, each in partitions:
            made.partitions[number].take(each)
        for group, of_group in cursors.items():
            made.cursors[group] = {number: Cursor.from_wire(each) for number, each in of_group}
        made.buried = {number: dict.fromkeys(each) for number, each in buried}
        made.lost = lost
        return made


class QueueState:
    """All of it. `has` says which partitions of a topic of so many live here."""

    def __init__(self, backlog: Backlog, has: Callable[[int], Sequence[int]]) -> None:
        self.backlog = backlog
        self.has = has
        self.topics: dict[str, Topic] = {}
        self.partitions: dict[str, int] = {}
        """Of each topic, wherever they live."""
        self.producers = Producers()
        self.groups: dict[str, ConsumerGroup] = {}
        self._steps: tuple[Callable[..., object], ...] = (
            self._declare, self._begin, self._publish, self._trim, self._join, self._leave,
            self._report, self._commit, self._seek, self._work, self._acquire, self._settle,
            self._give_back, self._terminate, self._rested, self._bury, self._skip,
            self._renew,
        )  # fmt: skip

    def apply(self, fact: Fact) -> None:
        """Make it so."""
        self._steps[fact[0]](*fact[1:])

    # --- topics and records --------------------------------------------------------------

    def _declare(self, name: str, options: Mapping[str, Any]) -> None:
        wanted = TopicOptions.from_wire(options)
        topic = Topic(name, wanted, self.has(wanted.partitions), self.backlog)
        for group in wanted.groups:
            topic.work(group)
        self.topics[name] = topic
        self.partitions[name] = wanted.partitions

    def _begin(self, producer: str, epoch: int, name: str) -> None:
        self.producers.begin(producer, epoch, name)

    def _publish(
        self,
        topic: str,
        number: int,
        time_ms: int,
        producer: str,
        sequence: int,
        payloads: Sequence[bytes],
    ) -> None:
        offset = self.topics[topic].partitions[number].append(payloads, time_ms)
        if producer:
            batch = Batch(sequence, len(payloads), offset)
            self.producers.note(producer, batch, (topic, number))

    def _trim(self, topic: str, number: int, start: int) -> None:
        found = self.topics[topic]
        before = found.partitions[number].start
        found.trim(number, start)
        for group in self.groups.values():
            found.lost += group.trim((topic, number), before, start)

    # --- consumer groups -----------------------------------------------------------------

    def _join(
        self, group: str, member: str, topics: Sequence[str], session_ms: int, release_ms: int
    ) -> None:
        found = self.groups.setdefault(group, ConsumerGroup())
        found.join(member, topics, session_ms, release_ms, self.partitions)

    def _leave(self, group: str, member: str) -> None:
        self.groups[group].leave(member, self.partitions)

    def _report(self, group: str, member: str, owned: Sequence[Sequence[Any]]) -> None:
        self.groups[group].report(member, [(topic, number) for topic, number in owned])

    def _commit(self, group: str, offsets: Sequence[Sequence[Any]]) -> None:
        found = self.groups.setdefault(group, ConsumerGroup())
        for topic, number, offset in offsets:
            found.commit((topic, number), offset)

    def _seek(self, group: str, offsets: Sequence[Sequence[Any]]) -> None:
        found = self.groups.setdefault(group, ConsumerGroup())
        for topic, number, offset in offsets:
            found.committed[topic, number] = offset

    def _skip(self, group: str, starts: Sequence[Sequence[Any]]) -> None:
        """Where the group goes on, records are gone that it has not read."""
        for topic, number, start in starts:
            self.topics[topic].lost += self.groups[group].skip((topic, number), start)

    # --- work queues ---------------------------------------------------------------------

    def _work(self, topic: str, group: str) -> None:
        self.topics[topic].work(group)

    def _acquire(
        self,
        topic: str,
        group: str,
        consumer: str,
        attempt: int,
        lock_ms: int,
        number: int,
        records: Sequence[Sequence[Any]],
    ) -> None:
        """records: [offset, key, whether it was taken, or else passed over]."""
        cursor = self.topics[topic].cursors[group][number]
        for offset, key, is_taken in records:
            if is_taken:
                cursor.acquire(offset, key, consumer, attempt, lock_ms)
            else:
                cursor.pass_over(offset, key)

    def _settle(self, topic: str, group: str, number: int, offsets: Sequence[int]) -> None:
        found = self.topics[topic]
        cursor = found.cursors[group][number]
        for offset in offsets:
            cursor.settle(offset)
        found.work_off(number)

    def _give_back(
        self,
        topic: str,
        group: str,
        number: int,
        offsets: Sequence[int],
        failed: bool,
        delay_ms: int,
    ) -> None:
        found = self.topics[topic]
        for offset in offsets:
            found.cursors[group][number].give_back(
                offset, failed=failed, delay_ms=delay_ms, max_deliver=found.options.max_deliver
            )

    def _renew(
        self, topic: str, group: str, number: int, offsets: Sequence[int], lock_ms: int
    ) -> None:
        for offset in offsets:
            self.topics[topic].cursors[group][number].renew(offset, lock_ms)

    def _terminate(self, topic: str, group: str, number: int, offsets: Sequence[int]) -> None:
        for offset in offsets:
            self.topics[topic].cursors[group][number].terminate(offset)

    def _rested(self, topic: str, group: str, number: int, offsets: Sequence[int]) -> None:
        for offset in offsets:
            self.topics[topic].cursors[group][number].rested(offset)

    def _bury(self, topic: str, group: str, number: int, offset: int) -> None:
        """It is among the dead letters."""
        self.topics[topic].buried[number][offset] = None
        self._settle(topic, group, number, [offset])

    # --- looked at -----------------------------------------------------------------------

    def partition_list(self) -> Iterator[Partition]:
        for topic in self.topics.values():
            yield from topic.partitions.values()

    def cursor_list(self) -> Iterator[tuple[Topic, str, int, Cursor]]:
        """(topic, work group, partition, how far)."""
        for topic in self.topics.values():
            for group, cursors in topic.cursors.items():
                for number, cursor in cursors.items():
                    yield topic, group, number, cursor

    def locked(self) -> Iterator[tuple[Topic, str, int, int]]:
        """(topic, work group, partition, offset) of what is with somebody."""
        for topic, group, number, cursor in self.cursor_list():
            for offset, entry in cursor.entries.items():
                if entry.state == ACQUIRED:
                    yield topic, group, number, offset

    def dying(self) -> Iterator[tuple[Topic, str, int, int]]:
        """(topic, work group, partition, offset) of what failed for good."""
        for topic, group, number, cursor in self.cursor_list():
            for offset, entry in cursor.entries.items():
                if entry.state == DYING:
                    yield topic, group, number, offset

    def to_wire(self) -> dict[str, Any]:
        """Without the records themselves."""
        return {
            "topics": [[name, each.to_wire()] for name, each in self.topics.items()],
            "partitions": self.partitions,
            "producers": self.producers.to_wire(),
            "groups": {name: each.to_wire() for name, each in self.groups.items()},
        }

    def take(self, value: Mapping[str, Any]) -> None:
        """Become what `to_wire` gave."""
        self.topics = {
            name: Topic.from_wire(name, each, self.backlog) for name, each in value["topics"]
        }
        self.partitions = dict(value["partitions"])
        self.producers = Producers()
        self.producers.take(value["producers"])
        self.groups = {name: ConsumerGroup.from_wire(each)
                       for name, each in value["groups"].items()}  # fmt: skip

    def emptied(self) -> QueueState:
        """A state like this one, with nothing in it."""
        return QueueState(self.backlog, self.has)

    def become(self, other: QueueState) -> None:
        """Have what the other has."""
        self.topics, self.partitions, self.groups = other.topics, other.partitions, other.groups
        self.producers = other.producers


def facts_of(payload: bytes) -> list[list[Any]]:
    """The facts of one record of the log."""
    found: list[list[Any]] = msgpack.unpackb(payload, strict_map_key=False)
    return found
