"""A replica's log on the node's disk: segments, each a file of records; the last of them grows.

Its front goes by whole files. Nothing of what they hold is in memory but where to look: what is
read back is read from the disk. What the records say, and which are needed, is not decided here.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import trio

from nodes.base import Context, Syncing
from nodes.replica import reach
from protocols.replication import log as log_format
from protocols.replication.log import Entry

LOG: Final = "log"
PREFIX: Final = f"{LOG}-"
"""What the names of its files begin with."""
SEGMENT_BYTES: Final = 8 << 20
"""A file of this size is followed by a new one."""
LEAST_BYTES: Final = 64 << 10
SHORT_BYTES: Final = 4 << 10
"""The same, where a simulation wants many of them."""
MARK_BYTES: Final = 64 << 10
"""How exactly it is known where in a file a record is."""
READ_BYTES: Final = 256 << 10


class CorruptLog(Exception):
    """A file is damaged where it had been synced, and no peer can help: it is not guessed at."""


def segment_name(first_lsn: int) -> str:
    return f"{PREFIX}{first_lsn:016d}"


def segment_lsn(name: str) -> int | None:
    """The first record of the segment that is called so; None: it is another file."""
    digits = name[len(PREFIX) :]
    return int(digits) if name.startswith(PREFIX) and digits.isdecimal() else None


class Segment:
    """One file, and where some of its records begin."""

    __slots__ = ("first_lsn", "lsns", "name", "offsets", "size_bytes")

    def __init__(self, first_lsn: int) -> None:
        self.first_lsn = first_lsn
        self.name = segment_name(first_lsn)
        self.size_bytes = 0
        self.lsns = array("Q", [first_lsn])
        self.offsets = array("Q", [0])

    def grow(self, first_lsn: int, size_bytes: int) -> None:
        """So many bytes were appended, which begin with this record."""
        if self.size_bytes - self.offsets[-1] >= MARK_BYTES:
            self.lsns.append(first_lsn)
            self.offsets.append(self.size_bytes)
        self.size_bytes += size_bytes

    def place_before(self, lsn: int) -> tuple[int, int]:
        """A record not after this one, and where it begins."""
        mark = bisect_right(self.lsns, lsn) - 1
        return self.lsns[mark], self.offsets[mark]

    def shorten(self, size_bytes: int) -> None:
        keep = max(1, bisect_right(self.offsets, size_bytes - 1))
        del self.lsns[keep:], self.offsets[keep:]
        self.size_bytes = size_bytes


class Segments:
    """The log of one replica. `cut` and `clear` must not meet an `append`; `drop_before` may."""

    def __init__(self, ctx: Context, segment_bytes: int = SEGMENT_BYTES) -> None:
        """A file is closed once it has so many bytes: older records go by the file."""
        self._ctx = ctx
        self._segments: list[Segment] = []
        self._segment_bytes = SHORT_BYTES if ctx.rare("short segments") else segment_bytes
        self._unsynced: list[str] = []
        """Files that have got records since their last sync began."""
        self.written_bytes = 0
        """All that was ever appended here."""

    def take(self, segment: Segment) -> None:
        """It was found on the disk, and follows those that were."""
        self._segments.append(segment)

    @property
    def names(self) -> list[str]:
        return [each.name for each in self._segments]

    # --- writing -----------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], synced_lsn: int) -> None:
        """Raises OSError, and then nothing was written."""
        data = log_format.encode_batch(entries, synced_lsn)
        segments = self._segments
        if not segments or segments[-1].size_bytes >= self._segment_bytes:
            segment = Segment(entries[0][1])
            self._ctx.disk.append(segment.name, data)
            segments.append(segment)
            if len(segments) > 1:
                self._ctx.reached(reach.LONG_LOG)
        else:
            segment = segments[-1]
            self._ctx.disk.append(segment.name, data)
        segment.grow(entries[0][1], len(data))
        self.written_bytes += len(data)
        if segment.name not in self._unsynced:
            self._unsynced.append(segment.name)

    def begin_sync(self) -> list[Syncing]:
        """Start to make durable all that was appended; it is when all of these are."""
        names, self._unsynced = self._unsynced, []
        return [self._ctx.disk.begin_sync(name) for name in names]

    async def sync_all(self) -> None:
        """What an earlier life may have left unsynced."""
        for syncing in [self._ctx.disk.begin_sync(name) for name in self.names]:
            await syncing.wait()

    async def cut(self, lsn: int) -> bool:
        """Forget the records from `lsn` on, durably; whether there were any."""
        segments = self._segments
        was_cut = await self._remove_from(lsn)
        if segments:
            last, end = segments[-1], await self._end_before(lsn)
            if end < last.size_bytes:
                last.shorten(end)
                await self._ctx.disk.truncate(last.name, end)
                was_cut = True
        return was_cut

    async def clear(self) -> None:
        """Forget everything, durably."""
        await self._remove_from(0)

    async def _remove_from(self, lsn: int) -> bool:
        """The last file first: what a power cut leaves has no gap."""
        segments, was_cut = self._segments, False
        while segments and segments[-1].first_lsn >= lsn:
            await self._remove(segments.pop())
            was_cut = True
        return was_cut

    async def drop_before(self, lsn: int) -> None:
        """Forget the files that have only older records, the first one first."""
        segments = self._segments
        while len(segments) > 1 and segments[1].first_lsn <= lsn:
            await self._remove(segments.pop(0))

    async def _remove(self, segment: Segment) -> None:
        if segment.name in self._unsynced:
            self._unsynced.remove(segment.name)
        await self._ctx.disk.remove(segment.name)

    # --- reading -----------------------------------------------------------------------------

    async def read(self, from_lsn: int, max_bytes: int) -> list[Entry]:
        """Records from there on, of one file: about so many bytes of them; none if they are not
        there (any more). Raises CorruptLog."""
        place = bisect_right(self._segments, from_lsn, key=lambda each: each.first_lsn) - 1
        if place < 0:
            await trio.lowlevel.checkpoint()
            return []
        segment = self._segments[place]
        entries: list[Entry] = []
        size_bytes = 0
        lsn, offset = segment.place_before(from_lsn)
        while offset < segment.size_bytes and size_bytes < max_bytes:
            found, read_bytes = await self._read_some(segment, offset)
            if not found:
                return []
            if found[0][1] != lsn:
                raise CorruptLog(f"file {segment.name}, byte {offset}: not record {lsn}")
            offset, lsn = offset + read_bytes, found[-1][1] + 1
            if lsn > from_lsn:
                size_bytes += read_bytes
                entries += found[max(0, from_lsn - found[0][1]) :]
        return entries

    async def _read_some(self, segment: Segment, offset: int) -> tuple[list[Entry], int]:
        """The whole records of a piece, and how long they are; none if the file was cut or removed
        meanwhile."""
        wanted_bytes = READ_BYTES
        while True:
            try:
                data = await self._ctx.disk.read(segment.name, offset, wanted_bytes)
            except FileNotFoundError:
                return [], 0
            found, read_bytes = log_format.read_records(data)
            if found:
                return found, read_bytes
            if segment not in self._segments or offset + len(data) > segment.size_bytes:
                return [], 0
            if offset + len(data) == segment.size_bytes:
                raise CorruptLog(f"file {segment.name}, byte {offset}: the record is damaged")
            wanted_bytes *= 4

    async def _end_before(self, lsn: int) -> int:
        """Where the record `lsn` begins in the last file, or that ends."""
        segment = self._segments[-1]
        at_lsn, offset = segment.place_before(lsn)
        while at_lsn < lsn and offset < segment.size_bytes:
            found, _ = await self._read_some(segment, offset)
            assert found, "nobody else cuts the log"
            for entry in found[: lsn - at_lsn]:
                offset += log_format.record_bytes(entry)
                at_lsn = entry[1] + 1
        return offset
