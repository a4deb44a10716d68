"""A replica's snapshots on the node's disk: its own, also as peers get it, and a peer's that comes.

None is in memory but a few pieces. A state that lies in files of its own (KeepsFiles) is part of a
snapshot by their names; what nobody needs of them is removed here.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Final

from nodes.base import Context, Disk
from nodes.replica.state_machine import KeepsFiles, StateMachine
from protocols.replication import snapshot_file
from protocols.replication.log import CorruptFile
from protocols.replication.messages import BadMessage
from protocols.replication.pieces import PIECE_BYTES, Content
from protocols.replication.replica import Snapshot
from protocols.replication.snapshot_file import About, StateFile

SNAPSHOT: Final = "snapshot"
OWN: Final = "snapshot.own"
PEERS: Final = "snapshot.peer-"
"""What the names of those begin with that are on their way here."""
PIECE_PAUSE_S: Final = 0.01
"""Between the pieces of a snapshot file, each of PIECE_BYTES."""
KEPT_PIECES: Final = 4


class StoredState:
    """The state that a snapshot's file has, as Content: read piece by piece, each one checked."""

    def __init__(self, disk: Disk, name: str, state_bytes: int) -> None:
        self._disk, self._name, self._state_bytes = disk, name, state_bytes
        self._pieces: dict[int, bytes] = {}
        """The latest that were looked at."""

    def __len__(self) -> int:
        return self._state_bytes

    def __bytes__(self) -> bytes:
        return self[:]

    def __getitem__(self, part: slice) -> bytes:
        """Raises CorruptFile."""
        start, stop, _ = part.indices(self._state_bytes)
        found = []
        while start < stop:
            number, within = divmod(start, PIECE_BYTES)
            found.append(self._piece(number)[within : within + stop - start])
            start += len(found[-1])
        return found[0] if len(found) == 1 else b"".join(found)

    def _piece(self, number: int) -> bytes:
        piece = self._pieces.get(number)
        if piece is None:
            offset, size_bytes = _place(number, self._state_bytes)
            stored = self._disk.peek(self._name, offset, size_bytes)
            piece = self._pieces[number] = snapshot_file.open_piece(stored, number)
            if len(self._pieces) > KEPT_PIECES:
                del self._pieces[next(iter(self._pieces))]
        return piece


def _place(number: int, state_bytes: int) -> tuple[int, int]:
    """Where a piece is in the file, and how long it is there."""
    offset = number * snapshot_file.STORED_PIECE_BYTES
    return offset, min(
        snapshot_file.STORED_PIECE_BYTES, snapshot_file.stored_bytes(state_bytes) - offset
    )


class Receiving:
    """A peer's snapshot that is being written down, beside what is in use."""

    def __init__(self, disk: Disk, name: str, parts_prefix: str | None) -> None:
        """`parts_prefix`: what the names of the state's own files are to begin with, if it has
        such."""
        self._disk = disk
        self.name = name
        self.parts: tuple[StateFile, ...] = ()
        self._parts_prefix = parts_prefix
        self._begin = b""
        self._head: snapshot_file.Head | None = None
        self._left: list[tuple[str, int]] = []
        """The files that are not whole yet, and what each lacks."""
        self._unsynced: list[str] = []

    def add(self, data: bytes) -> None:
        """What follows, however it is cut. Raises OSError (then it is of no use any more) and
        BadMessage."""
        if self._head is None:
            self._begin += data
            size_bytes = snapshot_file.head_bytes(self._begin)
            if size_bytes is None or len(self._begin) < size_bytes:
                return
            self._take_head(snapshot_file.decode_head(self._begin[:size_bytes]))
            data = self._begin[size_bytes:]
        while data and self._left:
            name, lacks_bytes = self._left[0]
            part, data = data[:lacks_bytes], data[lacks_bytes:]
            self._append(name, part)
            if len(part) == lacks_bytes:
                self._left.pop(0)
            else:
                self._left[0] = name, lacks_bytes - len(part)

    def _take_head(self, head: snapshot_file.Head) -> None:
        self._head = head
        prefix = self._parts_prefix
        if head.part_bytes and prefix is None:
            raise BadMessage("a snapshot has files beside it, which this state has none of")
        self.parts = tuple(
            StateFile(f"{prefix}{n}", size) for n, size in enumerate(head.part_bytes)
        )
        self._append(self.name, b"")
        for part in self.parts:
            self._append(part.name, b"")
        every = [StateFile(self.name, snapshot_file.stored_bytes(head.state_bytes)), *self.parts]
        self._left = [(each.name, each.size_bytes) for each in every if each.size_bytes]

    def _append(self, name: str, data: bytes) -> None:
        self._disk.append(name, data)
        if name not in self._unsynced:
            self._unsynced.append(name)

    async def sync(self) -> None:
        """What is there is durable when this returns."""
        while self._unsynced:
            await self._disk.sync(self._unsynced.pop(0))

    def forget(self) -> None:
        """Nobody needs it: its files may be gone."""
        self._unsynced.clear()

    @property
    def state_bytes(self) -> int:
        assert self._head is not None
        return self._head.state_bytes

    @property
    def names(self) -> list[str]:
        return [self.name, *(each.name for each in self.parts)]

    @property
    def is_whole(self) -> bool:
        return self._head is not None and not self._left

    def state(self) -> StoredState:
        return StoredState(self._disk, self.name, self.state_bytes)


class SnapshotFiles:
    """The snapshots of one replica, the latest of which is in use."""

    def __init__(self, ctx: Context, machine: StateMachine) -> None:
        self._ctx, self._disk = ctx, ctx.disk
        self._machine = machine
        self._prefix = machine.file_prefix if isinstance(machine, KeepsFiles) else ""
        self.current: About | None = None
        """What our own file says of itself."""
        self.dumped: Sequence[StateFile] = ()
        """The files of a dump that waits to be saved: the state may not need them any more."""
        self._receiving: list[Receiving] = []
        self._received = 0
        """How many were begun."""

    # --- what we have ------------------------------------------------------------------------

    async def find(self) -> None:
        """Read the end of our file, if there is one, and look whether all of it is well. Raises
        CorruptFile."""
        self.current = None
        if SNAPSHOT not in self._disk.names():
            return
        size_bytes = self._disk.size_bytes(SNAPSHOT)
        last = await self._disk.read(SNAPSHOT, max(0, size_bytes - snapshot_file.TAIL_BYTES))
        end_bytes = snapshot_file.end_bytes(last)
        if end_bytes > size_bytes:
            raise CorruptFile("not a whole snapshot")
        end = await self._disk.read(SNAPSHOT, size_bytes - end_bytes)
        about = snapshot_file.decode_about(end, size_bytes)
        for number in range(-(-about.state_bytes // PIECE_BYTES)):
            place = _place(number, about.state_bytes)
            snapshot_file.open_piece(await self._disk.read(SNAPSHOT, *place), number)
        for part in about.parts:
            if part.name not in self._disk.names():
                raise CorruptFile(f"file {part.name} is missing, which the snapshot names")
            if self._disk.size_bytes(part.name) < part.size_bytes:
                raise CorruptFile(f"file {part.name} is shorter than the snapshot says")
        self.current = about

    def state(self) -> StoredState | None:
        """What it is a snapshot of; None if there is none."""
        if self.current is None:
            return None
        return StoredState(self._disk, SNAPSHOT, self.current.state_bytes)

    @property
    def parts(self) -> tuple[StateFile, ...]:
        """The files of a KeepsFiles machine that belong to it."""
        return self.current.parts if self.current is not None else ()

    @property
    def lsn(self) -> int:
        """What the state has that it is of; 0 if there is none."""
        return self.current.snapshot.lsn if self.current is not None else 0

    @property
    def sent_bytes(self) -> int:
        """How much of it a peer is sent."""
        return self.current.snapshot.size_bytes if self.current is not None else 0

    @property
    def state_bytes(self) -> int:
        return self.current.state_bytes if self.current is not None else 0

    def full(self) -> None:
        """There is no room for one."""
        self._ctx.log.warning("no snapshot: the disk is full")

    # --- one of our own ----------------------------------------------------------------------

    async def save(
        self,
        made: Snapshot,
        state: Content,
        files: Sequence[StateFile],
        is_wanted: Callable[[], bool],
    ) -> Snapshot | None:
        """Write it down, piece by piece: in between others have the processor, and the log its
        syncs. None if the disk is full, or it is not wanted any more."""
        parts = tuple(files)
        try:
            await self._write_aside(made, state, parts)
        except OSError as error:
            await self._remove([OWN])
            if error.errno != errno.ENOSPC:
                raise
            self.full()
            return None
        if not is_wanted():
            await self._remove([OWN])
            return None
        snapshot = made._replace(size_bytes=snapshot_file.sent_bytes(len(state), parts))
        self.current = ours = About(snapshot, len(state), parts)
        await self._disk.rename(OWN, SNAPSHOT)
        await self.sweep()
        return snapshot if self.current is ours else None  # a peer's came meanwhile

    async def _write_aside(
        self, made: Snapshot, state: Content, parts: tuple[StateFile, ...]
    ) -> None:
        disk, clock = self._disk, self._ctx.clock
        await self._remove([OWN])
        for part in parts:
            await disk.sync(part.name)
        for number, start in enumerate(range(0, len(state), PIECE_BYTES)):
            if number:
                await clock.sleep(PIECE_PAUSE_S)
            disk.append(OWN, snapshot_file.seal_piece(state[start : start + PIECE_BYTES], number))
            await disk.sync(OWN)
        disk.append(OWN, snapshot_file.encode_about(About(made, len(state), parts)))
        await disk.sync(OWN)

    # --- ours on its way to a peer -----------------------------------------------------------

    async def read_sent(self, snapshot_lsn: int, offset: int, size_bytes: int) -> bytes | None:
        """A part of what a peer gets of our snapshot; None if we have another one by now."""
        about = self.current
        if about is None or about.snapshot.lsn != snapshot_lsn:
            return None
        head = snapshot_file.encode_head(about.state_bytes, about.parts)
        found = [head[offset : offset + size_bytes]]
        begin = len(head)
        stored_bytes = snapshot_file.stored_bytes(about.state_bytes)
        for part in (StateFile(SNAPSHOT, stored_bytes), *about.parts):
            start = max(offset, begin) - begin
            stop = min(offset + size_bytes - begin, part.size_bytes)
            if start < stop:
                try:
                    found.append(await self._disk.read(part.name, start, stop - start))
                except FileNotFoundError:
                    return None
            begin += part.size_bytes
        return b"".join(found) if self.current is about else None

    # --- a peer's on its way here ------------------------------------------------------------

    def receive(self) -> Receiving:
        """Begin to write one down, until `install` or `end`: under names that none of this life
        has had, which somebody may be about to remove."""
        taken = self._disk.names()
        while True:
            number, self._received = self._received, self._received + 1
            begins = (f"{PEERS}{number}", f"{self._prefix}peer-{number}-")
            if not any(name.startswith(begins) for name in taken):
                break
        receiving = Receiving(self._disk, begins[0], begins[1] if self._prefix else None)
        self._receiving.append(receiving)
        return receiving

    def end(self, receiving: Receiving) -> None:
        """It is not needed, or not any more; the state that came of it says what it needs."""
        self._receiving.remove(receiving)
        receiving.forget()

    async def complete(self, receiving: Receiving, snapshot: Snapshot) -> None:
        """All of it has come: make it durable. Raises OSError."""
        about = About(snapshot, receiving.state_bytes, receiving.parts)
        await receiving.sync()
        self._disk.append(receiving.name, snapshot_file.encode_about(about))
        await self._disk.sync(receiving.name)

    async def install(self, receiving: Receiving, snapshot: Snapshot) -> None:
        """It, which is complete, takes the place of ours."""
        self.current = About(snapshot, receiving.state_bytes, receiving.parts)
        await self._disk.rename(receiving.name, SNAPSHOT)
        self._receiving.remove(receiving)

    # --- what nobody needs -------------------------------------------------------------------

    async def sweep(self) -> None:
        """Remove the state's files that neither the snapshot nor the state needs, and what was
        left unfinished by an earlier life."""
        needed = [each.name for each in (*self.parts, *self.dumped)]
        for receiving in self._receiving:
            needed += receiving.names
        if isinstance(self._machine, KeepsFiles):
            needed += self._machine.files_in_use()
        begins = (PEERS, self._prefix) if self._prefix else (PEERS,)
        kept = frozenset(needed)
        names = [name for name in self._disk.names() if name.startswith(begins)]
        await self._remove([name for name in names if name not in kept])

    async def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                await self._disk.remove(name)
            except FileNotFoundError:
                pass  # there is none, or another has removed it
