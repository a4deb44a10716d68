"""Bugs of the message queue, as somebody might have written them.

Each is a function whose docstring says what is wrong; `emu sim`'s own load, faults and verdict must
find it under tests/sim/planted/queue.yaml. How they are hunted is test_queue_planted.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nodes.queue import (
    backlog,
    broker,
    client,
    consumer,
    cursor,
    desk,
    grouping,
    groups,
    partition,
    producers,
    state,
    working,
)
from nodes.queue import publishing as publishing_module
from nodes.replica import files as replica_files
from nodes.replica.group_commit import Commits
from protocols.replication.quorum import AckRule
from tests.planting import Bug, Swap, listed

BUGS: list[Bug] = []
bug = listed(BUGS, Bug)


# --- durability ----------------------------------------------------------------------------------


@bug
def _acknowledged_by_the_leader_alone(swap: Swap) -> None:
    """a publisher hears of its record before a majority has it"""
    sound = broker.QueueBrokerNode._group

    def group(self: Any) -> Any:
        return replace(sound(self), ack=AckRule.parse("local"))

    swap.setattr(broker.QueueBrokerNode, "_group", group)


@bug
def _answered_at_once(swap: Swap) -> None:
    """an answer leaves when its record is proposed"""

    def settle_at(self: Any, lsn: int, futures: Sequence[Any]) -> None:
        for future in futures:
            future.settle(future.result, future.error)

    swap.setattr(Commits, "_settle_at", settle_at)


@bug
def _read_before_it_is_safe(swap: Swap) -> None:
    """records are read before a majority has them"""

    def high_watermark(self: Any, topic: Any, number: int, committed_lsn: int) -> int:
        return int(topic.partitions[number].end)

    swap.setattr(desk.Desk, "high_watermark", high_watermark)


@bug
def _tail_not_in_snapshots(swap: Swap) -> None:
    """a snapshot leaves out what is not in a file yet"""

    def parts_of(self: Any, place: Any) -> list[Any]:
        parts = self._segments[place].parts
        return [backlog.StateFile(each.name, each.size_bytes) for each in parts if each.size_bytes]

    swap.setattr(backlog.Backlog, "write_all", lambda self: None)
    swap.setattr(backlog.Backlog, "parts_of", parts_of)


@bug
def _log_never_synced(swap: Swap) -> None:
    """the log is never synced"""

    async def sync(self: Any, synced: Any) -> None:
        import trio

        await trio.lowlevel.checkpoint()
        synced(self.written_mark, 0)

    for room in (replica_files.ReplicaFiles,):
        swap.setattr(room, "begin_sync", lambda self: None)
        swap.setattr(room, "sync", sync)


# --- publishers ----------------------------------------------------------------------------------


@bug
def _retry_is_taken_as_new(swap: Swap) -> None:
    """a retry of a publisher is taken as new"""
    swap.setattr(producers.Producers, "published", lambda *_: None)


@bug
def _sequence_goes_on_after_an_unknown_outcome(swap: Swap) -> None:
    """a publisher gives another record the sequence of one whose outcome it does not know"""
    swap.setattr(client.Producer, "_failed", lambda self, error: None)


@bug
def _sequences_not_in_snapshots(swap: Swap) -> None:
    """a snapshot forgets how far publishers are"""
    sound = producers.Producers.to_wire

    def to_wire(self: Any) -> list[Any]:
        given, known = sound(self)
        return [given, [[name, epoch, word, []] for name, epoch, word, _ in known]]

    swap.setattr(producers.Producers, "to_wire", to_wire)


@bug
def _epoch_not_compared(swap: Swap) -> None:
    """a publisher whose successor has begun is heard"""
    sound = producers.Producers.published

    def published(self: Any, producer: str, epoch: int, *rest: Any) -> Any:
        known = self._known.get(producer)
        return sound(self, producer, epoch if known is None else known.epoch, *rest)

    swap.setattr(producers.Producers, "published", published)


# --- partitions ----------------------------------------------------------------------------------


@bug
def _offsets_given_again_after_truncation(swap: Swap) -> None:
    """a partition that was emptied begins to count anew after a restart"""
    sound = partition.Partition.take

    def take(self: Any, value: Sequence[Any]) -> None:
        sound(self, value)
        if not self.segments:
            self.start = self.end = 0

    swap.setattr(partition.Partition, "take", take)


@bug
def _full_is_forgotten(swap: Swap) -> None:
    """what makes room drops records that are not done"""
    sound = publishing_module.Publishing.check

    def check(self: Any, batch: Any) -> Any:
        topic = self._desk.topic(batch.topic)
        part = topic.partitions[batch.number]
        if len(part.segments) and part.size_bytes > 600 and topic.cursors:
            self._trim(topic, batch.number, part.start + 1)
        return sound(self, batch)

    swap.setattr(publishing_module.Publishing, "check", check)


@bug
def _segment_too_many(swap: Swap) -> None:
    """what is worked off takes the segment after it along"""
    sound = partition.Partition.trim

    def trim(self: Any, start: int) -> None:
        sound(self, start)
        if start and len(self.segments) > 1:
            gone = self.segments.popleft()
            self.size_bytes -= gone.size_bytes
            self._backlog.drop(partition.Place(self.topic, self.number, gone.base))

    swap.setattr(partition.Partition, "trim", trim)


@bug
def _polled_past_the_next(swap: Swap) -> None:
    """a read that begins behind a partition's first record passes over one"""
    sound = backlog.Backlog.read

    async def read(self: Any, place: Any, offset: int, before: int, *most: int) -> Any:
        found = await sound(self, place, offset, before, *most)
        return found[1:] if offset and len(found) > 1 else found

    swap.setattr(backlog.Backlog, "read", read)


@bug
def _sequence_of_a_topic(swap: Swap) -> None:
    """a publisher's sequence is kept for a topic, not for each of its partitions"""
    sound, noted = producers.Producers.published, producers.Producers.note

    def published(self: Any, *params: Any) -> Any:
        *told, where = params
        return sound(self, *told, (where[0], 0))

    def note(self: Any, producer: str, batch: Any, where: Any) -> None:
        noted(self, producer, batch, (where[0], 0))

    swap.setattr(producers.Producers, "published", published)
    swap.setattr(producers.Producers, "note", note)


# --- consumer groups -----------------------------------------------------------------------------


@bug
def _generation_unchecked(swap: Swap) -> None:
    """a commit of an old generation is taken"""
    swap.setattr(groups.ConsumerGroup, "check_commit", lambda *_: None)


@bug
def _partition_passes_too_early(swap: Swap) -> None:
    """a partition is given to a member while another still reads it"""

    def free(self: Any, name: str) -> list[Any]:
        mine = self.members[name].assigned
        return [where for where in self.target.get(name, ()) if where not in mine]

    swap.setattr(groups.ConsumerGroup, "_free", free)


@bug
def _committed_with_what_was_polled(swap: Swap) -> None:
    """a member passes over records whose commit was refused"""

    def give_up(self: Any, records: Sequence[Any]) -> None:
        self._over([(record.topic, record.partition) for record in records])

    swap.setattr(consumer.Consumer, "give_up", give_up)


@bug
def _goes_back(swap: Swap) -> None:
    """a commit that comes late takes a group back"""

    def commit(self: Any, group: str, member: str, epoch: int, offsets: Any) -> int:
        found = self._group_for(group, offsets)
        wheres = [(topic, number) for topic, number, _ in offsets]
        (found or groups.ConsumerGroup()).check_commit(member, epoch, wheres)
        self._check_ends(offsets)
        self._desk.do(state.SEEK, group, [list(each) for each in offsets])
        return len(offsets)

    swap.setattr(grouping.Grouping, "commit", commit)


@bug
def _commits_not_in_snapshots(swap: Swap) -> None:
    """a snapshot forgets how far groups are"""
    sound = groups.ConsumerGroup.to_wire

    def to_wire(self: Any) -> list[Any]:
        return [*sound(self)[:-1], []]

    swap.setattr(groups.ConsumerGroup, "to_wire", to_wire)


@bug
def _begins_at_the_beginning(swap: Swap) -> None:
    """a member that gets a partition reads it from its beginning"""

    async def begin(self: Any, home: str, fresh: list[Any]) -> dict[Any, int]:
        await self._client.ask(home, "committed", self.group)
        return dict.fromkeys(fresh, 0)

    swap.setattr(consumer.Consumer, "_begin", begin)


# --- work queues ---------------------------------------------------------------------------------


@bug
def _stale_ack_taken(swap: Swap) -> None:
    """an ack is taken though the record was delivered to another since"""

    def problem(found: Any, offset: int, delivery: int) -> str:
        entry = found.entries.get(offset)
        return "" if entry is not None and entry.state == cursor.ACQUIRED else "stale_delivery"

    swap.setattr(working, "_problem", problem)


@bug
def _floor_beyond_a_hole(swap: Swap) -> None:
    """the floor of a work queue passes records that are not done"""
    sound = cursor.Cursor.settle

    def settle(self: Any, offset: int) -> None:
        sound(self, offset)
        self.floor = max(self.floor, offset + 1)

    swap.setattr(cursor.Cursor, "settle", settle)


@bug
def _dead_before_the_dead_letters_have_it(swap: Swap) -> None:
    """a record that failed for good is done before the dead letters have it"""

    def bury(self: Any, topic: str, group: str, number: int, offset: int, payload: Any) -> bool:
        found = self._desk.topic(topic)
        entry = found.cursors[group][number].entries.get(offset)
        if entry is None or entry.state != cursor.DYING:
            return False
        self._desk.do(state.BURY, topic, group, number, offset)
        return True

    swap.setattr(working.Working, "bury", bury)


@bug
def _buried_twice(swap: Swap) -> None:
    """whoever dies is buried again by each who looks"""
    sound = working.Working.bury

    def bury(self: Any, topic: str, group: str, number: int, offset: int, payload: Any) -> bool:
        found = self._desk.topic(topic)
        if payload is not None:
            dead = self._desk.topic(found.options.dead_letters)
            batch = publishing_module.Batch(dead, number, [payload], 1)
            self._publishing.publish([batch])
        return bool(sound(self, topic, group, number, offset, payload))

    swap.setattr(working.Working, "bury", bury)


@bug
def _locks_end_with_their_leader(swap: Swap) -> None:
    """who comes into office does not know that locks end"""
    swap.setattr(working.Working, "begin_office", lambda self: None)


@bug
def _deliveries_counted_anew(swap: Swap) -> None:
    """a snapshot forgets which delivery of a record it was"""
    sound = cursor.Entry.to_wire

    def to_wire(self: Any) -> list[Any]:
        wire = sound(self)
        wire[1] = min(wire[1], 1)
        return wire

    swap.setattr(cursor.Entry, "to_wire", to_wire)


@bug
def _rest_kept_from_replicas(swap: Swap) -> None:
    """that a record may be tried again is not told to the replicas"""
    sound = desk.Desk.do

    def do(self: Any, *fact: Any) -> None:
        sound(self, *fact)
        if fact[0] == state.RESTED:
            self.facts.pop()

    swap.setattr(desk.Desk, "do", do)


@bug
def _no_rest(swap: Swap) -> None:
    """what failed is handed out again before its delay is over"""
    sound = cursor.Cursor.give_back

    def give_back(self: Any, offset: int, *, delay_ms: int, **how: Any) -> None:
        sound(self, offset, delay_ms=0, **how)

    swap.setattr(cursor.Cursor, "give_back", give_back)


@bug
def _resting_not_in_snapshots(swap: Swap) -> None:
    """a snapshot leaves out what rests"""
    sound = cursor.Cursor.to_wire

    def to_wire(self: Any) -> list[Any]:
        floor, following, lost, done, entries, recent = sound(self)
        held = [[offset, each] for offset, each in entries if each[0] != cursor.RESTING]
        return [floor, following, lost, done, held, recent]

    swap.setattr(cursor.Cursor, "to_wire", to_wire)


@bug
def _one_partition_of_an_ack(swap: Swap) -> None:
    """an ack of records of several partitions is one of those in the first"""
    sound = working._by_partition

    def by_partition(deliveries: Any) -> dict[int, list[int]]:
        return dict(list(sound(deliveries).items())[:1])

    swap.setattr(working, "_by_partition", by_partition)
