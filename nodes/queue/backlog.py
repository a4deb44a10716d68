"""The records of a broker's partitions, in files by segment. What a segment is, partition.py says.

Appending and dropping are steps of the state machine and never wait; reading may. What was appended
last is in memory until it is worth a write: the log has it, until a snapshot has its file.
"""

from __future__ import annotations

import errno
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

import trio

from nodes.base import Disk
from nodes.queue.partition import FRAME, Damaged, Place, Stored, decode
from protocols.errors import RpcError
from protocols.queue.words import MAX_RECORD_BYTES
from protocols.replication.snapshot_file import StateFile

PREFIX: Final = "queue."
"""What the names of the files begin with."""
INDEX_BYTES: Final = 4096
"""One record in so many bytes is in a segment's index."""
WRITE_BYTES: Final = 64 << 10
"""So much of a segment is written at once."""
MAX_UNWRITTEN_BYTES: Final = 1 << 20
"""Of all segments together."""
CHUNK_BYTES: Final = 64 << 10
LARGEST_BYTES: Final = MAX_RECORD_BYTES + (4 << 10)
"""Of a record: what may be published, and what is added when it becomes a dead letter. A frame that
says more is damaged."""


class _Part:
    """A piece of a segment: the first bytes of a file."""

    __slots__ = ("name", "size_bytes")

    def __init__(self, name: str, size_bytes: int) -> None:
        self.name = name
        self.size_bytes = size_bytes


class _Segment:
    """One segment's bytes, and where some of its offsets are."""

    __slots__ = ("is_indexed", "is_open", "offsets", "parts", "positions", "tail", "written_bytes")

    def __init__(self, parts: Sequence[StateFile] = ()) -> None:
        self.parts = [_Part(*each) for each in parts]
        self.written_bytes = sum(each.size_bytes for each in self.parts)
        self.is_open = False
        """Whether its last file may be made longer: one that was restored may hold more already."""
        self.tail = bytearray()
        """What is not in a file yet."""
        self.is_indexed = not parts
        self.offsets: list[int] = []
        self.positions: list[int] = []

    @property
    def size_bytes(self) -> int:
        return self.written_bytes + len(self.tail)

    def note(self, offset: int, position: int) -> None:
        """A record begins there."""
        if not self.positions or position - self.positions[-1] >= INDEX_BYTES:
            self.offsets.append(offset)
            self.positions.append(position)

    def near(self, offset: int) -> int:
        """A position from which a scan meets the offset soon."""
        return self.positions[bisect_right(self.offsets, offset) - 1] if self.positions else 0


class Backlog:
    """All segments of one broker."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._segments: dict[Place, _Segment] = {}
        self._unwritten_bytes = 0
        self._next_file = 0
        self._read: dict[str, int] = {}
        """Files that somebody is reading."""

    # --- steps of the state machine ------------------------------------------------------

    def append(self, place: Place, offset: int, frame: bytes) -> None:
        """partition.Backlog."""
        segment = self._segments.get(place)
        if segment is None:
            segment = self._segments[place] = _Segment()
        tail = segment.tail
        if segment.is_indexed:
            segment.note(offset, segment.written_bytes + len(tail))
        tail += frame
        self._unwritten_bytes += len(frame)
        if len(tail) >= WRITE_BYTES:
            self._write(segment)
        elif self._unwritten_bytes >= MAX_UNWRITTEN_BYTES:
            self._write_each()

    def drop(self, place: Place) -> None:
        """partition.Backlog."""
        segment = self._segments.pop(place, None)
        if segment is not None:
            self._unwritten_bytes -= len(segment.tail)

    def write_all(self) -> None:
        """Have everything in files. Raises OSError."""
        self._write_each()
        if self._unwritten_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

    def _write_each(self) -> None:
        for segment in self._segments.values():
            if segment.tail:
                self._write(segment)

    def _write(self, segment: _Segment) -> None:
        """Not where the disk is full: then the log takes no more records, either."""
        if not segment.is_open:
            segment.parts.append(_Part(self._new_name(), 0))
            segment.is_open = True
        part = segment.parts[-1]
        try:
            self._disk.append(part.name, bytes(segment.tail))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return
        part.size_bytes += len(segment.tail)
        segment.written_bytes += len(segment.tail)
        self._unwritten_bytes -= len(segment.tail)
        segment.tail = bytearray()

    def _new_name(self) -> str:
        """One that no file has, and that none will be taken for."""
        taken = dict.fromkeys(self._disk.names()) if not self._next_file else {}
        numbers = [int(name[len(PREFIX) :]) for name in taken
                   if name.startswith(PREFIX) and name[len(PREFIX) :].isdecimal()]  # fmt: skip
        self._next_file = max([self._next_file, *numbers]) + 1
        return f"{PREFIX}{self._next_file}"

    # --- snapshots -----------------------------------------------------------------------

    def parts_of(self, place: Place) -> list[StateFile]:
        """The files of a segment, all of which is written."""
        segment = self._segments[place]
        assert not segment.tail, "write it first"
        return [StateFile(each.name, each.size_bytes) for each in segment.parts if each.size_bytes]

    def names(self) -> list[str]:
        """The files that the segments have, or somebody reads."""
        parts = (each.name for segment in self._segments.values() for each in segment.parts)
        return [*parts, *self._read]

    def become(self, segments: dict[Place, list[StateFile]]) -> None:
        """Have these, and nothing else."""
        self._segments = {place: _Segment(parts) for place, parts in segments.items()}
        self._unwritten_bytes = 0

    # --- to read -------------------------------------------------------------------------

    async def read(
        self, place: Place, offset: int, before: int, max_records: int, max_bytes: int
    ) -> list[Stored]:
        """Records of one segment from `offset` on, up to `before`: at least one, and no more than
        so many, or so many bytes. Raises RpcError if the segment is gone, Damaged."""
        await trio.lowlevel.checkpoint()
        segment = self._segments.get(place)
        try:
            if segment is not None:
                return await self._read_from(segment, offset, before, max_records, max_bytes)
        except FileNotFoundError as error:
            if self._segments.get(place) is segment:
                raise Damaged(f"a file of {place} is gone") from error
        raise RpcError("unavailable", f"{place} was dropped meanwhile")

    async def _read_from(
        self, segment: _Segment, offset: int, before: int, max_records: int, max_bytes: int
    ) -> list[Stored]:
        if not segment.is_indexed:
            await self._index(segment)
        found: list[Stored] = []
        position = segment.near(offset)
        while len(found) < max_records and max_bytes > 0 and position < segment.size_bytes:
            data = await self._bytes(segment, position)
            read_bytes = 0
            for stored, end in _records(data):
                if stored.offset >= before or len(found) >= max_records or max_bytes <= 0:
                    return found
                if stored.offset >= offset:
                    max_bytes -= len(stored.payload)
                    found.append(stored)
                read_bytes = end
            if not read_bytes:
                break
            position += read_bytes
        return found

    async def _index(self, segment: _Segment) -> None:
        """Find where the records of a segment are that was restored."""
        position = 0
        offsets = _Segment()
        while position < segment.size_bytes:
            data = await self._bytes(segment, position)
            begin = position
            for stored, end in _records(data):
                offsets.note(stored.offset, position)
                position = begin + end
            if position == begin:
                break
        if not segment.is_indexed:
            segment.offsets, segment.positions = offsets.offsets, offsets.positions
            segment.is_indexed = True

    async def _bytes(self, segment: _Segment, position: int) -> bytes:
        """What is there from a position on: whole records, at least one, if there is one."""
        data = await self._some_bytes(segment, position, CHUNK_BYTES)
        if len(data) >= FRAME.size:
            size_bytes = FRAME.size + min(FRAME.unpack_from(data)[0], LARGEST_BYTES)
            if len(data) < size_bytes:
                data = await self._some_bytes(segment, position, size_bytes)
        return data

    async def _some_bytes(self, segment: _Segment, position: int, size_bytes: int) -> bytes:
        found: list[bytes] = []
        while size_bytes > 0:
            piece = await self._piece(segment, position, size_bytes)
            if not piece:
                break
            found.append(piece)
            position += len(piece)
            size_bytes -= len(piece)
        return found[0] if len(found) == 1 else b"".join(found)

    async def _piece(self, segment: _Segment, position: int, size_bytes: int) -> bytes:
        """As much of it as one file has, or is in memory."""
        if position >= segment.written_bytes:
            begin = position - segment.written_bytes
            return bytes(segment.tail[begin : begin + size_bytes])
        for part in segment.parts:
            if position < part.size_bytes:
                size_bytes = min(size_bytes, part.size_bytes - position)
                return await self._read_file(part.name, position, size_bytes)
            position -= part.size_bytes
        return b""

    async def _read_file(self, name: str, offset: int, size_bytes: int) -> bytes:
        self._read[name] = self._read.get(name, 0) + 1
        try:
            return await self._disk.read(name, offset, size_bytes)
        finally:
            self._read[name] -= 1
            if not self._read[name]:
                del self._read[name]


def _records(data: bytes) -> Iterator[tuple[Stored, int]]:
    """Those that are whole, each with where it ends. Raises Damaged."""
    position = 0
    while (each := decode(data, position)) is not None:
        stored, position = each
        yield stored, position
