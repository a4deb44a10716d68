"""A partition of a queue: each record is at one offset, in order, and everybody reads the same
there; what a consumer group committed was worked off, once, in order. `publish` answers a row
(`[offset, value]`, its partition before it where one object has several), `poll` rows (all of them,
invoked with "all"), `consume` what a member worked off and committed; `drain` leaves nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from emu.checks.history import FAIL, INFO, Operation
from emu.checks.result import Finding, at, known_at, show, who
from emu.checks.values import freeze

PUBLISH: Final = "publish"
POLL: Final = "poll"
CONSUME: Final = "consume"
DRAIN: Final = "drain"
ALL: Final = "all"
OPERATIONS: Final = (PUBLISH, POLL, CONSUME)


@dataclass(slots=True)
class _Seen:
    """An offset of one partition: who saw which value there."""

    value: Any
    operation: Operation


@dataclass(slots=True)
class _Partition:
    """Everything that was told of one partition."""

    rows: dict[int, _Seen] = field(default_factory=dict)
    published: dict[int, Operation] = field(default_factory=dict)
    """Offset → the publish that was answered with it."""
    polls: list[tuple[Operation, list[int]]] = field(default_factory=list)
    consumed: list[tuple[Operation, list[int]]] = field(default_factory=list)

    def known(self, offset: int) -> Operation:
        """By which it is known that the record is there."""
        return self.published.get(offset) or self.rows[offset].operation


def check_partitions(operations: Sequence[Operation]) -> Iterator[Finding]:
    """All that is wrong, each with the operations that show it."""
    partitions: dict[Any, _Partition] = {}
    publishes: dict[Any, Operation] = {}
    for operation in operations:
        if operation.f == PUBLISH:
            publishes[freeze(operation.value)] = operation
        if operation.is_ok:
            yield from _take(operation, partitions)
    places: dict[Any, tuple[int, Operation]] = {}
    for partition in partitions.values():
        yield from _values(partition, publishes, places)
        yield from _order_of(partition)
        yield from _polls(partition)
        yield from _consumed(partition)
        yield from _lost(partition)
    yield from _not_consumed(operations, partitions)


def _take(operation: Operation, partitions: dict[Any, _Partition]) -> Iterator[Finding]:
    """Sort its rows by partition; two values at one offset are found here."""
    rows = [operation.result] if operation.f == PUBLISH else operation.result or []
    offsets: dict[Any, list[int]] = {}
    if operation.f == POLL and operation.value == ALL and not rows:
        offsets[None] = []
    for *where, offset, value in rows:
        number = where[0] if where else None
        partition = partitions.setdefault(number, _Partition())
        seen = partition.rows.setdefault(offset, _Seen(value, operation))
        if freeze(seen.value) != freeze(value):
            yield Finding(
                f"offset {offset} had two values: {show(seen.value)} for "
                f"{seen.operation.process} at {at(seen.operation.completed_s)}, {show(value)} for "
                f"{operation.process} at {at(operation.completed_s)}",
                (seen.operation, operation),
            )
        if operation.f == PUBLISH:
            partition.published[offset] = operation
        else:
            offsets.setdefault(number, []).append(offset)
    for number, found in offsets.items():
        partition = partitions.setdefault(number, _Partition())
        told = partition.polls if operation.f == POLL else partition.consumed
        told.append((operation, found))


def _values(
    partition: _Partition,
    publishes: dict[Any, Operation],
    places: dict[Any, tuple[int, Operation]],
) -> Iterator[Finding]:
    """Each value was published, before it was read, and is at one place."""
    for offset, seen in sorted(partition.rows.items()):
        value, operation = freeze(seen.value), seen.operation
        text = f"{operation.process} found {show(seen.value)} at offset {offset}"
        publish = publishes.get(value)
        if publish is None:
            yield Finding(f"{text}, which nobody published", (operation,))
        elif publish.outcome == FAIL:
            yield Finding(f"{text}, but {who(publish)} did not happen", (publish, operation))
        elif operation.f != PUBLISH and publish.begin > operation.end:
            yield Finding(f"{text}, before it was published", (operation, publish))
        if value in places:
            other, before = places[value]
            shown = f"{show(seen.value)} is there twice, at offsets {other} and {offset}"
            yield Finding(shown, (before, operation))
        places[value] = offset, operation


def _order_of(partition: _Partition) -> Iterator[Finding]:
    """What was acknowledged before another was published is before it."""
    by_end = sorted(partition.published.items(), key=lambda each: each[1].end)
    place, latest, latest_offset = 0, None, -1
    for offset, publish in sorted(partition.published.items(), key=lambda each: each[1].begin):
        while by_end[place][1].end < publish.begin:
            if by_end[place][0] > latest_offset:
                latest_offset, latest = by_end[place]
            place += 1
        if latest is not None and offset < latest_offset:
            yield Finding(
                f"{show(publish.value)} is at offset {offset}, before {show(latest.value)} at "
                f"{latest_offset}, which was {known_at(latest)} before it was published",
                (latest, publish),
            )


def _polls(partition: _Partition) -> Iterator[Finding]:
    """A process polls on from where it was; in each poll offsets grow."""
    last: dict[Any, tuple[int, Operation]] = {}
    for poll, offsets in partition.polls:
        for one, other in pairwise(offsets):
            if other <= one:
                yield Finding(f"one poll gave offset {other} after {one}", (poll,))
        if poll.value == ALL or not offsets:
            continue
        before = last.get(poll.process)
        if before is not None and offsets[0] <= before[0]:
            text = f"{poll.process} polled offset {offsets[0]} after {before[0]}"
            yield Finding(text, (before[1], poll))
        elif before is not None:
            yield from _passed_over(partition, before, offsets[0], poll)
        last[poll.process] = offsets[-1], poll


def _passed_over(
    partition: _Partition, before: tuple[int, Operation], offset: int, poll: Operation
) -> Iterator[Finding]:
    """Where a process polled on there was a record, and it did not get it."""
    for between in range(before[0] + 1, offset):
        seen = partition.rows.get(between)
        if seen is not None and seen.operation.end < poll.begin:
            yield Finding(
                f"{poll.process} polled offset {offset} after {before[0]}, and passed over "
                f"{show(seen.value)} at {between}",
                (before[1], seen.operation, poll),
            )
            return


def _lost(partition: _Partition) -> Iterator[Finding]:
    """Acknowledged or read, and a later poll passed over it, or read all and it was not there."""
    known = sorted(partition.rows)
    for poll, offsets in partition.polls:
        there = dict.fromkeys(offsets)
        first, last = min(offsets, default=0), max(offsets, default=-1)
        among = known
        if poll.value != ALL:
            among = known[bisect_right(known, first) : bisect_left(known, last)]
        missing = [
            offset
            for offset in among
            if offset not in there and partition.known(offset).end < poll.begin
        ]
        if missing:
            offset, known_by = missing[0], partition.known(missing[0])
            value = partition.rows[offset].value
            part = "before" if offset < first else "behind" if offset > last else "among"
            rest = f", and {len(missing) - 1} others" if len(missing) > 1 else ""
            yield Finding(
                f"{show(value)} at offset {offset} was lost{rest}: {_how_known(known_by)}, and "
                f"{poll.process} did not find it {part} offsets {first} to {last} at "
                f"{at(poll.completed_s)}",
                (known_by, poll),
            )
            return


def _how_known(operation: Operation) -> str:
    if operation.f == PUBLISH:
        return f"its publish by {operation.process} was {known_at(operation)}"
    return f"{operation.process} had found it at {at(operation.completed_s)}"


def _consumed(partition: _Partition) -> Iterator[Finding]:
    """No row is committed twice, and none before one that is earlier."""
    done: dict[int, Operation] = {}
    latest: tuple[int, Operation] | None = None
    for consume, offsets in sorted(partition.consumed, key=lambda each: each[0].end):
        for offset in offsets:
            if offset in done:
                yield Finding(
                    f"offset {offset} was worked off and committed twice, by "
                    f"{done[offset].process} at {at(done[offset].completed_s)} and by "
                    f"{consume.process} at {at(consume.completed_s)}",
                    (done[offset], consume),
                )
            done[offset] = consume
        if latest is not None and latest[1].end < consume.begin and min(offsets) < latest[0]:
            yield Finding(
                f"{consume.process} committed offset {min(offsets)} after {latest[0]} was",
                (latest[1], consume),
            )
        if latest is None or max(offsets) > latest[0]:
            latest = max(offsets), consume


def _not_consumed(
    operations: Sequence[Operation], partitions: dict[Any, _Partition]
) -> Iterator[Finding]:
    """After a drain every acknowledged record was committed by somebody."""
    drains = [each for each in operations if each.f == DRAIN and each.is_ok]
    consumes = [each for each in operations if each.f in (CONSUME, DRAIN)]
    if not drains:
        return
    last = max(drains, key=lambda each: each.begin)
    most = max((len(each.result or []) for each in consumes if each.f == CONSUME), default=0)
    uncertain = most * sum(each.outcome == INFO for each in consumes)
    missing: list[Operation] = []
    for partition in partitions.values():
        done = {offset: None for _, offsets in partition.consumed for offset in offsets}
        missing += [
            publish
            for offset, publish in partition.published.items()
            if publish.end < last.begin and offset not in done
        ]
    if len(missing) > uncertain:  # so many may have been committed without an answer
        publish = missing[0]
        yield Finding(
            f"{show(publish.value)}, {known_at(publish)}, was passed over: "
            f"{len(missing)} records are committed that no member has worked off",
            (publish, last),
        )
