"""What a replica finds on its disk when it comes up: state, snapshot and log, each judged.

A torn tail is cut. What is damaged beyond that is set aside if peers have it, and else refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from nodes.base import Context
from nodes.parts.timing import take_steps
from nodes.replica import reach
from nodes.replica.event_words import LOG_DAMAGED
from nodes.replica.segments import CorruptLog, Segment, Segments, segment_lsn
from nodes.replica.snapshot_files import OWN, PEERS, SNAPSHOT, SnapshotFiles
from protocols.replication import log as log_format
from protocols.replication.log import CorruptFile
from protocols.replication.log_memory import LATEST_BYTES, MemoryLog
from protocols.replication.messages import Members
from protocols.replication.pieces import PIECE_BYTES, Pieces
from protocols.replication.replica import MEMBERS, VOTER, HardState, Snapshot
from protocols.replication.storage import decode_members

STATE: Final = "state"
SHORT_BYTES: Final = 2 << 10
"""Of the log in memory, where a simulation wants it read from files."""


class Recovered(NamedTuple):
    """What the files held."""

    state: HardState
    storage: MemoryLog


class Files(Protocol):
    """Whose they are (files.ReplicaFiles)."""

    ctx: Context
    log: Segments
    snapshots: SnapshotFiles

    async def replace(self, name: str, data: bytes) -> None: ...


class _End(NamedTuple):
    """Where the log ends, though there are more bytes in its files."""

    place: int
    """Of the file, among the log's, that it ends in or before."""
    good: bytes = b""
    """What that file has before the end."""
    where: str = ""
    why: str = ""
    """It is damage; "" if it is a torn tail."""


class Recovery:
    """One start of one replica."""

    def __init__(self, files: Files, name: str, founders: Members) -> None:
        self._files, self._ctx, self._disk = files, files.ctx, files.ctx.disk
        self._name, self._founders = name, founders
        self._is_doubted = False
        """Something that was durable is gone: what we once promised may have been in it."""

    async def run(self) -> Recovered:
        """Read everything, cut a torn tail, and sync what is left.

        What is damaged beyond that is set aside if peers have it: our word counts again once a
        primary has filled us up. Raises CorruptLog where there is no peer.
        """
        if any(name.startswith((OWN, PEERS)) for name in self._disk.names()):
            self._ctx.reached(reach.HALF_SNAPSHOT)
        state = await self._state()
        snapshot = await self._snapshot(state)
        storage = await self._log(state, snapshot)
        if self._is_doubted:
            state = state._replace(standing=False)
        return Recovered(state, storage)

    async def _state(self) -> HardState:
        if not self._has(STATE):
            return HardState()
        try:
            return HardState.decode(await self._disk.read(STATE))
        except CorruptFile as error:
            self._need_peers(self._founders, f"file {STATE}", str(error))
            # without epoch and vote the rest means nothing
            await self._set_aside([STATE, SNAPSHOT, *self._segments()])
            return HardState()

    async def _snapshot(self, state: HardState) -> Snapshot | None:
        snapshots = self._files.snapshots
        try:
            await snapshots.find()
        except CorruptFile as error:
            self._need_peers(self._founders, f"file {SNAPSHOT}", str(error))
            await self._doubt(state)
            # the log may begin after what the snapshot had
            await self._set_aside([SNAPSHOT, *self._segments()])
        about = snapshots.current
        await snapshots.sweep()
        return about.snapshot if about is not None else None

    # --- the log -----------------------------------------------------------------------------

    async def _log(self, state: HardState, snapshot: Snapshot | None) -> MemoryLog:
        names, log = self._segments(), self._files.log
        latest_bytes = SHORT_BYTES if self._ctx.rare("short memory") else LATEST_BYTES
        storage = MemoryLog((), None, latest_bytes, _first_lsn(names))
        end = _missing(names, snapshot)
        for place in range(len(names)):
            if end is None:
                end = await self._take_segment(names, place, storage)
        if end is not None:
            if end.why:
                members = _members(storage, snapshot, self._founders)
                self._need_peers(members, end.where, end.why)
                await self._doubt(state)
            await self._cut(names, end)
        if not log.names:
            storage = MemoryLog((), None, latest_bytes)
        if snapshot is not None:
            storage.go_with(snapshot)
        if storage.last_lsn < storage.first_lsn:
            # the snapshot was installed, and a power cut came before the log was gone
            await log.clear()
        await log.sync_all()
        return storage

    async def _cut(self, names: Sequence[str], end: _End) -> None:
        """Leave what is before the end. The last file goes first: no gap is ever left."""
        *behind, ends_in = reversed(names[end.place :])
        if end.why:
            await self._set_aside([*behind, ends_in])
            if end.good:
                await self._files.replace(ends_in, end.good)
            return
        for name in behind:
            await self._disk.remove(name)
        position, size_bytes = len(end.good), self._disk.size_bytes(ends_in)
        self._ctx.reached(reach.TORN_OVER if behind else reach.TORN_TAIL)
        self._ctx.log.warning("torn log tail cut", bytes=size_bytes - position, position=position)
        if position:
            await self._disk.truncate(ends_in, position)
        else:
            await self._disk.remove(ends_in)

    async def _take_segment(
        self, names: Sequence[str], place: int, storage: MemoryLog
    ) -> _End | None:
        """Take in what is good of a file. Where the log ends, if it does not go on after it."""
        name, data, next_lsn = names[place], Pieces(), storage.last_lsn + 1
        if segment_lsn(name) != next_lsn:
            return await self._judge(names, place, place, next_lsn, b"")
        for offset in range(0, self._disk.size_bytes(name), PIECE_BYTES):
            data.append(await self._disk.read(name, offset, PIECE_BYTES))
        last_epoch = storage.epoch_at(storage.last_lsn) or 0
        steps = log_format.scan_in_steps(data, first_lsn=next_lsn, last_epoch=last_epoch)
        found = await take_steps(self._ctx.clock, steps, 0.0)
        if found.records:
            segment = Segment(next_lsn)
            for entry in found.records:
                segment.grow(entry[1], log_format.record_bytes(entry))
            self._files.log.take(segment)
            storage.append(found.records)
            storage.release(storage.last_lsn)
        if found.records and found.good_length == len(data):
            return None
        good = data[: found.good_length]
        if found.problem is None:
            return await self._judge(names, place, place + 1, storage.last_lsn + 1, good)
        where = f"file {name}, byte {found.problem.position}"
        return _End(place, good, where, found.problem.reason)

    async def _judge(
        self, names: Sequence[str], place: int, after: int, lsn: int, good: bytes
    ) -> _End:
        """The record `lsn` is not where it belongs: damage, if one in the files from `after` on
        proves that it had once been synced; else a torn tail."""
        for name in names[after:]:
            proof = log_format.proof_of_sync(await self._disk.read(name), lsn)
            if proof is not None:
                why = f"record {lsn} is damaged or missing, and record {proof.lsn} at byte"
                why += f" {proof.position} of {name} was written after it had been synced"
                return _End(place, good, f"file {names[place]}, byte {len(good)}", why)
        return _End(place, good)

    # --- what to do about damage -------------------------------------------------------------

    def _need_peers(self, members: Members, where: str, why: str) -> None:
        """Say what is damaged; raise CorruptLog unless others have what is lost here."""
        self._ctx.log.error(LOG_DAMAGED, where=where, why=why)
        others = [name for name, role in members if role == VOTER and name != self._name]
        if not others:
            raise CorruptLog(
                f"{where}: {why}. Acknowledged records may be there, so it is not cut, and no peer"
                " has a copy: restore the file, or wipe this node's disk"
            )
        self._ctx.log.warning("log is healed from a peer", where=where, peers=", ".join(others))

    async def _doubt(self, state: HardState) -> None:
        """Durable before anything is cut: after another power cut we must not be trusted either."""
        self._is_doubted = True
        await self._files.replace(STATE, state._replace(standing=False).encode())

    async def _set_aside(self, names: Sequence[str]) -> None:
        for name in names:
            if self._has(name):
                await self._disk.rename(name, f"{name}.damaged-{self._ctx.generation}")

    def _segments(self) -> list[str]:
        """The log's files, in order."""
        return [name for name in self._disk.names() if segment_lsn(name) is not None]

    def _has(self, name: str) -> bool:
        return name in self._disk.names()


def _first_lsn(names: Sequence[str]) -> int:
    return (segment_lsn(names[0]) or 1) if names else 1


def _missing(names: Sequence[str], snapshot: Snapshot | None) -> _End | None:
    """Whether there are records that neither the snapshot nor the log has."""
    wanted_lsn, first_lsn = (snapshot.lsn + 1 if snapshot is not None else 1), _first_lsn(names)
    if first_lsn <= wanted_lsn:
        return None
    why = f"records {wanted_lsn}..{first_lsn - 1} are missing"
    return _End(0, b"", f"file {names[0]}, byte 0", why)


def _members(storage: MemoryLog, snapshot: Snapshot | None, founders: Members) -> Members:
    """The group as the log has it, as far as it can be read."""
    for _, _, kind, payload in reversed(storage.own_entries()):
        if kind == MEMBERS:
            return decode_members(payload)
    return snapshot.members if snapshot is not None else founders
