"""What a primary decides about work queues: who gets a record, and what becomes of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from nodes.queue import reach
from nodes.queue.cursor import ACQUIRED, DYING, RESTING, Cursor, Entry
from nodes.queue.desk import Desk
from nodes.queue.publishing import Batch, Publishing
from nodes.queue.state import (
    ACQUIRE,
    BURY,
    GIVE_BACK,
    RENEW,
    RESTED,
    SETTLE,
    TERMINATE,
    WORK,
    Topic,
)
from nodes.queue.topics import MAX_GROUPS
from protocols.errors import RpcError
from protocols.queue import words
from protocols.queue.words import MAX_GIVEN_UP, MAX_REVIVED

MAX_RELEASED: Final = 10_000
"""Of one consumer's records, at once: more are free when their locks end."""
LOCK: Final = "lock"
REST: Final = "rest"


class Asked(NamedTuple):
    """What a consumer asks for."""

    topic: str
    group: str
    consumer: str
    attempt: int
    """0: it has no number, and is no repetition."""
    most: int
    lock_ms: int
    """0: as the topic says."""
    keys: Mapping[int, tuple[int, Sequence[int | None]]]
    """Of an ordered topic: partition → (an offset, the keys of the records from there on)."""


class Delivered(NamedTuple):
    """A record that a consumer has."""

    number: int
    offset: int
    delivery: int
    failed: int


class Delivery(NamedTuple):
    """How a consumer names it."""

    number: int
    offset: int
    delivery: int


class Working:
    """Decisions, each a fact or a refusal."""

    def __init__(self, desk: Desk, publishing: Publishing, end_of: Callable[[Topic, int], int]):
        """`end_of(topic, partition)`: up to where its records are safe to be handed out."""
        self._desk = desk
        self._publishing = publishing
        self._end_of = end_of
        self._turn = 0
        self.redelivered = 0
        self.delivered = 0
        self.buried = 0

    def begin_office(self) -> None:
        """Every lock and every rest has its whole length from now on."""
        for topic, group, number, cursor in self._desk.state.cursor_list():
            for offset, entry in cursor.entries.items():
                if entry.state == ACQUIRED:
                    self._desk.reached(reach.HEIR)
                if entry.state in (ACQUIRED, RESTING):
                    self._wait(topic.name, group, number, offset, entry)

    def _wait(self, topic: str, group: str, number: int, offset: int, entry: Entry) -> None:
        word = LOCK if entry.state == ACQUIRED else REST
        due_s = self._desk.now_s() + entry.wait_ms / 1000
        self._desk.deadlines.set((word, topic, group, number, offset), due_s)

    # --- to get a record -----------------------------------------------------------------

    def cursors(self, topic: Topic, group: str) -> dict[int, Cursor]:
        """Of a work group, which begins if there is none of that name."""
        found = topic.cursors.get(group)
        if found is not None:
            return found
        if len(topic.cursors) >= MAX_GROUPS:
            raise RpcError("overloaded", f"{topic.name} has {MAX_GROUPS} work groups already")
        self._desk.do(WORK, topic.name, group)
        return topic.cursors[group]

    def acquire(self, asked: Asked) -> list[Delivered]:
        """What the consumer has now; nothing, where nothing may be handed out."""
        topic = self._desk.topic(asked.topic)
        cursors = self.cursors(topic, asked.group)
        if asked.attempt and (again := self._given_before(asked, cursors)):
            return again
        options = topic.options
        in_flight = sum(each.in_flight for each in cursors.values())
        most = min(asked.most, options.max_ack_pending - in_flight)
        found: list[Delivered] = []
        self._turn += 1
        numbers = sorted(cursors)
        for place in range(len(numbers)):
            if most <= len(found):
                break
            number = numbers[(self._turn + place) % len(numbers)]
            found += self._take(topic, asked, number, cursors[number], most - len(found))
        return found

    def _given_before(self, asked: Asked, cursors: Mapping[int, Cursor]) -> list[Delivered]:
        """To an attempt that was answered, but not heard."""
        return [
            Delivered(number, offset, entry.delivered, entry.failed)
            for number, cursor in cursors.items()
            if cursor.in_flight
            for offset, entry in cursor.entries.items()
            if entry.state == ACQUIRED
            and entry.attempt == asked.attempt
            and entry.consumer == asked.consumer
        ]

    def _take(
        self, topic: Topic, asked: Asked, number: int, cursor: Cursor, most: int
    ) -> list[Delivered]:
        base, keys = 0, None
        if topic.options.ordered:
            base, keys = asked.keys.get(number, (cursor.next, ()))
            if base > cursor.next:
                base, keys = cursor.next, ()
        records = cursor.find(self._end_of(topic, number), most, keys, base)
        if not records.taken:
            return []
        taken = zip(records.taken, records.keys, strict=True)
        rows = [*((*each, True) for each in taken), *((*each, False) for each in records.passed)]
        lock_ms = asked.lock_ms or int(topic.options.ack_wait_s * 1000)
        self._desk.do(
            ACQUIRE, asked.topic, asked.group, asked.consumer, asked.attempt, lock_ms, number,
            sorted(rows, key=lambda row: row[0]),
        )  # fmt: skip
        found = []
        for offset in records.taken:
            entry = cursor.entries[offset]
            self._wait(asked.topic, asked.group, number, offset, entry)
            found.append(Delivered(number, offset, entry.delivered, entry.failed))
            self.redelivered += entry.delivered > 1
        self.delivered += len(found)
        return found

    def standing(self, name: str, group: str) -> list[list[Any]]:
        """How far the group is in each partition (protocols/queue/words.py)."""
        topic = self._desk.topic(name)
        rows = []
        for number, cursor in sorted(topic.cursors.get(group, {}).items()):
            part, buried = topic.partitions[number], topic.buried[number]
            dying = [at for at, entry in cursor.entries.items() if entry.state == DYING]
            given_up = sorted([*list(buried)[-MAX_GIVEN_UP:], *dying[:MAX_GIVEN_UP]])
            undone = cursor.lag(part.start, part.end) - len(dying)
            floor = max(cursor.floor, part.start)
            rows.append([number, part.start, floor, part.end, undone, given_up])
        return rows

    # --- what becomes of it --------------------------------------------------------------

    def ack(
        self, topic: str, group: str, deliveries: Sequence[Delivery], batches: Sequence[Batch]
    ) -> list[list[int]]:
        """Done; and these are published with it, or neither."""
        known = self._publishing.checked(batches)
        if batches and None not in known:
            return self._publishing.add(batches, known)  # it was done, and not heard
        found = self._held(topic, group, deliveries)
        for number, offsets in _by_partition(deliveries).items():
            self._desk.do(SETTLE, topic, group, number, offsets)
            self._over(found, group, number, offsets)
        return self._publishing.add(batches, known)  # which may drop what was done just now

    def nack(
        self, topic: str, group: str, deliveries: Sequence[Delivery], delay_ms: int | None
    ) -> int:
        """They failed; after `delay_ms`, or as long as the topic says, they may be tried again."""
        found = self._held(topic, group, deliveries)
        for number, offsets in _by_partition(deliveries).items():
            self._fail(found, group, number, offsets, delay_ms)
        return len(deliveries)

    def renew(self, topic: str, group: str, deliveries: Sequence[Delivery], lock_ms: int) -> int:
        """They take longer. (Who comes into office gives every lock its whole length anyway: it is
        written only where that is longer than what was said before.)"""
        found = self._held(topic, group, deliveries)
        lock_ms = lock_ms or int(found.options.ack_wait_s * 1000)
        due_s = self._desk.now_s() + lock_ms / 1000
        for number, offsets in _by_partition(deliveries).items():
            entries = found.cursors[group][number].entries
            longer = [offset for offset in offsets if entries[offset].wait_ms < lock_ms]
            if longer:
                self._desk.do(RENEW, topic, group, number, longer, lock_ms)
            for offset in offsets:
                self._desk.deadlines.set((LOCK, topic, group, number, offset), due_s)
        return len(deliveries)

    def terminate(self, topic: str, group: str, deliveries: Sequence[Delivery]) -> int:
        """They shall not be tried again."""
        found = self._held(topic, group, deliveries)
        for number, offsets in _by_partition(deliveries).items():
            self._desk.do(TERMINATE, topic, group, number, offsets)
            self._over(found, group, number, offsets)
        return len(deliveries)

    def release(self, consumer: str, topic: str = "", group: str = "", *, failed: bool) -> int:
        """Whatever a consumer has (of one topic's group) is to be had by others."""
        mine: dict[tuple[str, str, int], list[int]] = {}
        locked = (
            (found.name, its_group, number, offset)
            for found, its_group, number, offset in self._desk.state.locked()
            if found.cursors[its_group][number].entries[offset].consumer == consumer
            and topic in ("", found.name)
            and group in ("", its_group)
        )
        for name, its_group, number, offset in islice(locked, MAX_RELEASED):
            mine.setdefault((name, its_group, number), []).append(offset)
        if mine and failed:
            self._desk.reached(reach.FREED)
        for (name, its_group, number), offsets in mine.items():
            found = self._desk.topic(name)
            if failed:
                self._fail(found, its_group, number, offsets, None)
            else:
                self._give_back(found, its_group, number, offsets, failed=False, delay_ms=0)
        return sum(map(len, mine.values()))

    def take_back(self, topic: str, group: str, deliveries: Sequence[Delivered]) -> None:
        """Nobody has heard of these: they are no failures, and others may have them."""
        found = self._desk.topic(topic)
        cursors = found.cursors.get(group, {})
        for number, offset, delivery, _ in deliveries:
            if number in cursors and not _problem(cursors[number], offset, delivery):
                self._give_back(found, group, number, [offset], failed=False, delay_ms=0)

    def expire(self, word: str, topic: str, group: str, number: int, offset: int) -> None:
        """A lock, or a rest, is over."""
        found = self._desk.state.topics.get(topic)
        cursors = found.cursors.get(group, {}) if found is not None else {}
        entry = cursors[number].entries.get(offset) if number in cursors else None
        if found is None or entry is None:
            return
        if word == LOCK and entry.state == ACQUIRED:
            self._desk.reached(reach.LOCK_ENDED)
            self._fail(found, group, number, [offset], None)
        elif word == REST and entry.state == RESTING:
            self._desk.do(RESTED, topic, group, number, [offset])
            self._desk.woken[topic, number] = None

    def _fail(
        self,
        topic: Topic,
        group: str,
        number: int,
        offsets: Sequence[int],
        delay_ms: int | None,
    ) -> None:
        entries = topic.cursors[group][number].entries
        by_delay: dict[int, list[int]] = {}
        for offset in offsets:
            own_ms = topic.options.delay_ms(entries[offset].failed + 1)
            by_delay.setdefault(own_ms if delay_ms is None else delay_ms, []).append(offset)
        for rest_ms, some in by_delay.items():
            self._give_back(topic, group, number, some, failed=True, delay_ms=rest_ms)

    def _give_back(
        self,
        topic: Topic,
        group: str,
        number: int,
        offsets: Sequence[int],
        *,
        failed: bool,
        delay_ms: int,
    ) -> None:
        self._desk.do(GIVE_BACK, topic.name, group, number, offsets, failed, delay_ms)
        self._over(topic, group, number, offsets)
        entries = topic.cursors[group][number].entries
        for offset in offsets:
            if entries[offset].state == RESTING:
                self._wait(topic.name, group, number, offset, entries[offset])

    def _over(self, topic: Topic, group: str, number: int, offsets: Iterable[int]) -> None:
        """Nobody has these any more, and somebody may want what comes next."""
        entries = topic.cursors[group][number].entries
        for offset in offsets:
            self._desk.deadlines.drop((LOCK, topic.name, group, number, offset))
            if offset in entries and entries[offset].state == DYING:
                self._desk.has_dying = True
        self._desk.woken[topic.name, number] = None

    def _held(self, name: str, group: str, deliveries: Sequence[Delivery]) -> Topic:
        """Raises RpcError unless all of these are the latest deliveries, and not over."""
        topic = self._desk.topic(name)
        cursors = topic.cursors.get(group)
        if cursors is None:
            raise RpcError("not_found", f"{name} has no work group {group[:40]!r}")
        seen: dict[tuple[int, int], None] = {}
        for number, offset, delivery in deliveries:
            self._desk.check_partition(topic, number)
            problem = _problem(cursors[number], offset, delivery)
            if problem == STALE:
                self._desk.reached(reach.STALE_ACK)
            if problem or (number, offset) in seen:
                by = cursors[number].recent.get(offset, words.FORGOTTEN)
                raise RpcError(
                    problem or "bad_request", f"{name}/{number} offset {offset}, delivery"
                    f" {delivery}: {REASONS.get(problem, 'named twice')}",
                    number, offset, *([by] if problem == SETTLED else ()),
                )  # fmt: skip
            seen[number, offset] = None
        return topic

    # --- the dead ------------------------------------------------------------------------

    def bury(self, topic: str, group: str, number: int, offset: int, payload: bytes | None) -> bool:
        """Move it to the dead letters, both in one record; whether it is still to be done.

        `payload`: what it is to be there; None if the record itself is gone.
        """
        found = self._desk.topic(topic)
        entry = found.cursors[group][number].entries.get(offset)
        if entry is None or entry.state != DYING:
            return False
        dead = found.options.dead_letters
        if payload is not None and offset not in found.buried[number]:
            target = self._desk.topic(dead)
            at = number % target.options.partitions
            self._desk.check_partition(target, at)
            self._publishing.publish([Batch(target, at, [payload], len(payload))])
            self.buried += 1
            self._desk.reached(reach.BURIED)
        self._desk.do(BURY, topic, group, number, offset)
        self._desk.woken[topic, number] = None
        return True

    def revive(self, name: str) -> int:
        """What is parked may be tried again, as if it had never failed; how many that are."""
        topic, count = self._desk.topic(name), 0
        if topic.options.dead_letters:
            return 0  # they are on their way to the dead letters
        for group, cursors in topic.cursors.items():
            for number, cursor in cursors.items():
                every = (o for o, each in cursor.entries.items() if each.state == DYING)
                parked = list(islice(every, MAX_REVIVED - count))
                if parked:
                    self._desk.do(RESTED, name, group, number, parked)
                    self._desk.woken[name, number] = None
                    count += len(parked)
        return count


STALE: Final = "stale_delivery"
SETTLED: Final = "settled"
REASONS: Final = {
    STALE: "it is not that consumer's any more",
    SETTLED: "it is done already",
}


def _problem(cursor: Cursor, offset: int, delivery: int) -> str:
    entry = cursor.entries.get(offset)
    if entry is None:
        return SETTLED if offset < cursor.floor or offset in cursor.done else STALE
    return "" if entry.state == ACQUIRED and entry.delivered == delivery else STALE


def _by_partition(deliveries: Sequence[Delivery]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for number, offset, _ in deliveries:
        found.setdefault(number, []).append(offset)
    return found
