"""A replica's files on the node's disk: state, snapshot, log, and what was set aside for people.

What is written when is the driver's business (driver.py); here is how it is written so that a
power cut, a full disk or a flipped bit does no harm.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

import trio

from nodes.base import Context, Syncing
from nodes.parts.timing import move_on_after, take_steps
from protocols.replication import log as log_format
from protocols.replication.log import CorruptFile, Entry
from protocols.replication.messages import Members
from protocols.replication.pieces import PIECE_BYTES, Pieces
from protocols.replication.replica import (
    DATA,
    VOTER,
    Diverged,
    HardState,
    MemoryLog,
    Snapshot,
    Storage,
)
from protocols.replication.storage import SnapshotReader, decode_members

LOG: Final = "log"
SNAPSHOT: Final = "snapshot"
STATE: Final = "state"
LOG_COPY: Final = "log.shorter"
OWN_SNAPSHOT: Final = "snapshot.own"
PEERS_SNAPSHOT: Final = "snapshot.new"
PIECE_PAUSE_S: Final = 0.01
"""Between the pieces of a snapshot file, each of PIECE_BYTES."""
COPY_PIECE_BYTES: Final = 256 << 10
ROOM_PAUSE_S: Final = 0.2


class CorruptLog(Exception):
    """A file is damaged where it had been synced, and no peer can help: it is not guessed at."""


class Recovered(NamedTuple):
    """What the files held."""

    state: HardState
    storage: MemoryLog


class LogCopy:
    """A shorter log that is being made beside the log."""

    __slots__ = ("changes", "first_lsn", "last_epoch", "sizes")

    def __init__(self, changes: int, first_lsn: int) -> None:
        self.changes = changes
        self.first_lsn = first_lsn
        self.last_epoch = 0
        self.sizes: list[int] = []


class ReplicaFiles:
    """The log as one growing file, the snapshot and the state as files that are replaced whole."""

    def __init__(self, ctx: Context, name: str, describe: Callable[[bytes], Any]) -> None:
        """`describe(payload)`: a record for people to read."""
        self.ctx = ctx
        self.written_mark = 0
        """The mark of the last Ready whose records are all in the file."""
        self.sync_interval_s = 0.0
        """Above 0: data is synced once in so long, not as soon as it is written."""
        self._syncing: tuple[Syncing, int, int] | None = None
        """What is under way, the mark that it covers, and the log's size then."""
        self._urgent = trio.Event()
        """A record was written that is no data: an election, or who is a member, waits for it."""
        self._name = name
        self._describe = describe
        self._base_lsn = 1
        self._ends: list[int] = []
        """Where each record of the log file ends; the first is `_base_lsn`."""
        self._unwritten: list[Entry] = []
        """Records that found the disk full, in order, and the mark of the last of them."""
        self._unwritten_mark = 0
        self._changes = 0
        """How often the log was cut or replaced, and not only made longer."""

    # --- recovery ----------------------------------------------------------------------------

    async def recover(self, founders: Members) -> Recovered:
        """Read everything, cut a torn tail, and sync what is left.

        What is damaged beyond that is set aside if peers have it: our word counts again once a
        primary has filled us up. Raises CorruptLog where there is no peer.
        """
        state = await self._recover_state(founders)
        snapshot = await self._recover_snapshot(state, founders)
        if snapshot is None and state.epoch and not state.standing and not self._has(LOG):
            return self._begin(state, None, [])
        records = await self._recover_log(state, snapshot, founders) if self._has(LOG) else []
        if self._doubted:
            state = state._replace(standing=False)
        return self._begin(state, snapshot, records)

    def _begin(
        self, state: HardState, snapshot: Snapshot | None, records: list[Entry]
    ) -> Recovered:
        storage = MemoryLog(records, snapshot)
        kept = storage.entries(storage.first_lsn, storage.last_lsn)
        self._index(map(log_format.record_bytes, kept), storage.first_lsn)
        return Recovered(state, storage)

    _doubted = False
    """Something that was durable is gone: what we once promised may have been in it."""

    async def _recover_state(self, founders: Members) -> HardState:
        if not self._has(STATE):
            return HardState()
        try:
            return HardState.decode(await self.ctx.disk.read(STATE))
        except CorruptFile as error:
            self._need_peers(founders, f"file {STATE}", str(error))
            for name in (STATE, SNAPSHOT, LOG):  # without epoch and vote the rest means nothing
                await self._set_aside(name)
            return HardState()

    async def _recover_snapshot(self, state: HardState, founders: Members) -> Snapshot | None:
        if not self._has(SNAPSHOT):
            return None
        reader = SnapshotReader()
        try:
            await self._read(SNAPSHOT, reader.add)
            return reader.finish()
        except CorruptFile as error:
            self._need_peers(founders, f"file {SNAPSHOT}", str(error))
            await self._doubt(state)
            for name in (SNAPSHOT, LOG):  # the log may begin after what the snapshot had
                await self._set_aside(name)
            return None

    async def _recover_log(
        self, state: HardState, snapshot: Snapshot | None, founders: Members
    ) -> list[Entry]:
        disk, data = self.ctx.disk, Pieces()
        await self._read(LOG, data.append)
        found = await take_steps(self.ctx.clock, log_format.scan_in_steps(data), 0.0)
        records = list(found.records)
        if found.problem is not None:
            members = _members(records, snapshot, founders)
            where = f"file {LOG}, byte {found.problem.position}"
            self._need_peers(members, where, found.problem.reason)
            await self._doubt(state)
            await self._set_aside(LOG)
            await self.replace(LOG, data[: found.good_length])
        elif found.good_length < len(data):
            torn = len(data) - found.good_length
            self.ctx.log.warning("torn log tail cut", bytes=torn, position=found.good_length)
            await disk.truncate(LOG, found.good_length)
        storage = MemoryLog(records, snapshot)
        if records and storage.last_lsn < storage.first_lsn:
            await disk.remove(LOG)  # the snapshot was installed, and a power cut came before this
            return []
        await disk.sync(LOG)
        return records

    async def _read(self, name: str, take: Callable[[bytes], None]) -> None:
        """All of a file, piece by piece."""
        for offset in range(0, self.ctx.disk.size_bytes(name), PIECE_BYTES):
            take(await self.ctx.disk.read(name, offset, PIECE_BYTES))

    def _need_peers(self, members: Members, where: str, why: str) -> None:
        """Say what is damaged; raise CorruptLog unless others have what is lost here."""
        self.ctx.log.error("log damaged", where=where, why=why)
        others = [name for name, role in members if role == VOTER and name != self._name]
        if not others:
            raise CorruptLog(
                f"{where}: {why}. Acknowledged records may be there, so it is not cut, and no peer"
                " has a copy: restore the file, or wipe this node's disk"
            )
        self.ctx.log.warning("log is healed from a peer", where=where, peers=", ".join(others))

    async def _doubt(self, state: HardState) -> None:
        """Durable before anything is cut: after another power cut we must not be trusted either."""
        self._doubted = True
        await self.replace(STATE, state._replace(standing=False).encode())

    async def _set_aside(self, name: str) -> None:
        if self._has(name):
            await self.ctx.disk.rename(name, f"{name}.damaged-{self.ctx.generation}")

    def _has(self, name: str) -> bool:
        return name in self.ctx.disk.names()

    # --- the log -----------------------------------------------------------------------------

    @property
    def size_bytes(self) -> int:
        """Of the log."""
        return self._ends[-1] if self._ends else 0

    @property
    def lacks_room(self) -> bool:
        """Whether records wait in memory because the disk is full."""
        return bool(self._unwritten)

    def bytes_after(self, lsn: int) -> int:
        """Bytes of the log behind a position (all of it, if that is before its start)."""
        place = lsn - self._base_lsn
        before = self._ends[min(place, len(self._ends) - 1)] if place >= 0 and self._ends else 0
        return self.size_bytes - before

    def check_room(self, size_bytes: int) -> None:
        """Raises OSError if the log could not grow by so much just now."""
        if self._unwritten:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.ctx.disk.check_room(size_bytes)

    def append(self, entries: Sequence[Entry], synced_lsn: int, mark: int) -> bool:
        """Write records, or keep them in memory while the disk is full (False): see `retry`.

        Raises OSError for any other failure.
        """
        if self._unwritten:
            self._unwritten += entries
            self._unwritten_mark = mark
            return False
        try:
            self._write(entries, synced_lsn)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._unwritten, self._unwritten_mark = list(entries), mark
            self.ctx.log.warning("disk full: records wait", from_lsn=entries[0][1])
            return False
        self.written_mark = mark
        return True

    def retry(self, synced_lsn: int) -> bool:
        """Write what waits; False while there is still no room."""
        if self._unwritten:
            try:
                self._write(self._unwritten, synced_lsn)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return False
            self.ctx.log.info("disk has room again", records=len(self._unwritten))
            self._unwritten = []
            self.written_mark = self._unwritten_mark
        return True

    def _write(self, entries: Sequence[Entry], synced_lsn: int) -> None:
        self.ctx.disk.append(LOG, log_format.encode_batch(entries, synced_lsn))
        if any(kind != DATA for _, _, kind, _ in entries):
            self._urgent.set()
        end = self.size_bytes
        for entry in entries:
            end += log_format.record_bytes(entry)
            self._ends.append(end)

    async def sync_is_due(self) -> None:
        """Return when what is written should be synced."""
        if self.sync_interval_s:
            with move_on_after(self.ctx.clock, self.sync_interval_s):
                await self._urgent.wait()
            self._urgent = trio.Event()

    def begin_sync(self) -> None:
        """Start what `sync` waits for, unless it is under way, or is to come later."""
        if self._syncing is None and not self.sync_interval_s:
            self._start_sync()

    def _start_sync(self) -> None:
        self._syncing = self.ctx.disk.begin_sync(LOG), self.written_mark, self.size_bytes

    async def sync(self) -> tuple[int, int]:
        """Return when what was written as it began is durable: the mark of that, and the log's
        size in bytes. Raises OSError."""
        if self._syncing is None:
            self._start_sync()
        assert self._syncing is not None
        syncing, mark, size_bytes = self._syncing
        await syncing.wait()
        self._syncing = None
        return mark, size_bytes

    async def cut(self, lsn: int) -> None:
        """Forget the records from `lsn` on; durable when it returns."""
        self._unwritten = [entry for entry in self._unwritten if entry[1] < lsn]
        keep = max(0, lsn - self._base_lsn)
        if keep < len(self._ends):
            self._changes += 1
            end = self._ends[keep - 1] if keep else 0
            del self._ends[keep:]
            await self.ctx.disk.truncate(LOG, end)
            self.ctx.log.info("log cut", from_lsn=lsn)

    async def copy_log(self, storage: Storage, first_lsn: int) -> LogCopy | None:
        """Begin to shorten the log to what is from `first_lsn` on: copy it, in pieces, while others
        go on. None: there is nothing to gain, or it may not be done now."""
        if first_lsn <= self._base_lsn or self._unwritten:
            return None
        if self._has(LOG_COPY):
            await self.ctx.disk.remove(LOG_COPY)
        copy = LogCopy(self._changes, first_lsn)
        try:
            while self._extend(copy, storage, COPY_PIECE_BYTES):
                await self.ctx.disk.sync(LOG_COPY)  # a large sync would hold up the log's own
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return None  # the log stays as it is
        return copy

    async def replace_log(self, copy: LogCopy, storage: Storage) -> None:
        """Put the copy, with what came meanwhile, in the log's place; nothing may be appended
        until this returns. Nothing happens if the log has been cut since."""
        while self._extend(copy, storage, 1 << 60):
            pass
        if self._unwritten or not self._fits(copy, storage):
            return
        await self.ctx.disk.sync(LOG_COPY)
        await self.ctx.disk.rename(LOG_COPY, LOG)
        self._index(copy.sizes, copy.first_lsn)

    def _extend(self, copy: LogCopy, storage: Storage, max_bytes: int) -> bool:
        """Copy some more of what the file has; whether there is more yet."""
        if not self._fits(copy, storage):
            return False
        next_lsn = copy.first_lsn + len(copy.sizes)
        end_lsn = self._base_lsn + len(self._ends) - 1
        entries = storage.entries(next_lsn, end_lsn, max_bytes) if next_lsn <= end_lsn else ()
        self.ctx.disk.append(LOG_COPY, log_format.encode_batch(entries))
        if not entries:
            return False
        copy.sizes += map(log_format.record_bytes, entries)
        copy.last_epoch = entries[-1][0]
        return True

    def _fits(self, copy: LogCopy, storage: Storage) -> bool:
        """Whether the copy is still what the log begins with: nothing of it was cut."""
        if self._changes != copy.changes:
            return False
        last_lsn = copy.first_lsn + len(copy.sizes) - 1
        return not copy.sizes or storage.epoch_at(last_lsn) == copy.last_epoch

    def _index(self, sizes: Iterable[int], first_lsn: int) -> None:
        """The file holds records of these sizes, from `first_lsn` on."""
        self._base_lsn, self._ends = first_lsn, list(accumulate(sizes))

    # --- whole files -------------------------------------------------------------------------

    async def save_state(self, state: HardState) -> None:
        await self.when_there_is_room(lambda: self.replace(STATE, state.encode()))

    async def save_snapshot(self, snapshot: Snapshot, is_wanted: Callable[[], bool]) -> bool:
        """False if the disk is full, or it is not wanted any more: one of our own can wait."""
        try:
            await self._write_aside(OWN_SNAPSHOT, snapshot.pieces())
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self.ctx.log.warning("no snapshot: the disk is full")
            return False
        if not is_wanted():
            await self.ctx.disk.remove(OWN_SNAPSHOT)
            return False
        await self.ctx.disk.rename(OWN_SNAPSHOT, SNAPSHOT)
        return True

    async def receive(self, snapshot: Snapshot) -> None:
        """Write down a peer's snapshot, for `install`."""
        await self.when_there_is_room(lambda: self._write_aside(PEERS_SNAPSHOT, snapshot.pieces()))

    async def install(self, snapshot: Snapshot) -> None:
        """A peer's snapshot, which was received, takes the place of snapshot and log."""
        self._changes += 1
        await self.ctx.disk.rename(PEERS_SNAPSHOT, SNAPSHOT)
        # not cut: what a large file had takes a while to be freed
        await self.when_there_is_room(lambda: self.replace(LOG, b""))
        self._unwritten = []
        self._index((), snapshot.lsn + 1)

    async def _write_aside(self, name: str, pieces: Iterable[bytes]) -> None:
        """Durably, piece by piece: in between others have the processor, and the log its syncs.
        If the disk is full, nothing is left of it."""
        disk, clock = self.ctx.disk, self.ctx.clock
        if self._has(name):
            await disk.remove(name)
        try:
            for number, piece in enumerate(pieces):
                if number:
                    await clock.sleep(PIECE_PAUSE_S if piece else 0)
                if piece:
                    disk.append(name, piece)
                    await disk.sync(name)
        except OSError as error:
            if error.errno == errno.ENOSPC and self._has(name):
                await disk.remove(name)
            raise

    async def replace(self, name: str, data: bytes) -> None:
        """Atomically and durably."""
        disk, aside = self.ctx.disk, f"{name}.new"
        if self._has(aside):
            await disk.remove(aside)
        disk.append(aside, data)
        await disk.sync(aside)
        await disk.rename(aside, name)

    async def when_there_is_room(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do it, again and again while the disk is full: what follows depends on it."""
        told = False
        while True:
            try:
                await action()
                return
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            if not told:
                self.ctx.log.warning("disk full: waiting")
                told = True
            await self.ctx.clock.sleep(ROOM_PAUSE_S)

    async def save_divergent(self, event: Diverged, epoch: int) -> str:
        """Before they are cut: our records that the group does not have, readable. The file's
        name."""
        name = f"divergent-{epoch}-{event.from_lsn}.jsonl"
        lines = []
        for record_epoch, lsn, kind, payload in event.records:
            shown = self._describe(payload) if kind == DATA else None
            line = {"epoch": record_epoch, "lsn": lsn, "record": shown}
            lines.append(json.dumps(line, default=repr))
        data = ("\n".join(lines) + "\n").encode()
        await self.when_there_is_room(lambda: self.replace(name, data))
        return name


def _members(records: Sequence[Entry], snapshot: Snapshot | None, founders: Members) -> Members:
    """The group as the log has it, as far as it can be read."""
    for _, _, kind, payload in reversed(records):
        if kind == log_format.MEMBERS:
            return decode_members(payload)
    return snapshot.members if snapshot is not None else founders
