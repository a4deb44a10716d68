"""The records of a broker's partitions, by segment. What a segment is, partition.py says.

Appending and dropping are steps of the state machine and never wait; reading may.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import trio

from nodes.queue.partition import Place, Stored, decode
from protocols.errors import RpcError

INDEX_BYTES: Final = 4096
"""One record in so many bytes is in a segment's index."""


class _Segment:
    """One segment's bytes, and where some of its offsets are."""

    __slots__ = ("data", "offsets", "positions")

    def __init__(self) -> None:
        self.data = bytearray()
        self.offsets: list[int] = []
        self.positions: list[int] = []

    def append(self, offset: int, frame: bytes) -> None:
        if not self.positions or len(self.data) - self.positions[-1] >= INDEX_BYTES:
            self.offsets.append(offset)
            self.positions.append(len(self.data))
        self.data += frame

    def near(self, offset: int) -> int:
        """A position from which a scan meets the offset soon."""
        return self.positions[bisect_right(self.offsets, offset) - 1]


class Backlog:
    """All segments of one broker."""

    def __init__(self) -> None:
        self._segments: dict[Place, _Segment] = {}

    def append(self, place: Place, offset: int, frame: bytes) -> None:
        """partition.Backlog."""
        segment = self._segments.get(place)
        if segment is None:
            segment = self._segments[place] = _Segment()
        segment.append(offset, frame)

    def drop(self, place: Place) -> None:
        """partition.Backlog."""
        self._segments.pop(place, None)

    def clear(self) -> None:
        """Drop everything."""
        self._segments.clear()

    async def read(
        self, place: Place, offset: int, before: int, max_records: int, max_bytes: int
    ) -> list[Stored]:
        """Records of one segment from `offset` on, up to `before`: at least one, and no more than
        so many, or so many bytes. Raises RpcError if the segment is gone."""
        await trio.lowlevel.checkpoint()
        segment = self._segments.get(place)
        if segment is None:
            raise RpcError("unavailable", f"{place} was dropped meanwhile")
        found: list[Stored] = []
        position, data = segment.near(offset), memoryview(segment.data)
        while len(found) < max_records and max_bytes > 0:
            each = decode(data, position)
            if each is None or each[0].offset >= before:
                break
            stored, position = each
            if stored.offset >= offset:
                max_bytes -= len(stored.payload)
                found.append(stored)
        return found

    def content(self, place: Place) -> bytes:
        """A whole segment, for a snapshot."""
        return bytes(self._segments[place].data)

    def take(self, place: Place, data: bytes) -> None:
        """Have a segment that a snapshot had."""
        position = 0
        while (each := decode(data, position)) is not None:
            stored, end = each
            self.append(place, stored.offset, data[position:end])
            position = end
