"""What a broker knows of one partition: its segments, where it begins and ends. Pure.

All but the records themselves (backlog.py) is here; how they came and may go is decided elsewhere.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final, NamedTuple, Protocol

import msgpack

FRAME: Final = struct.Struct("<IIQQ")
"""Of each record in a segment: its payload's length, the CRC of all that follows, offset, time."""
FRAME_BYTES: Final = FRAME.size
_LENGTH_AND_CRC: Final = struct.Struct("<II")
_OFFSET_AND_TIME: Final = struct.Struct("<QQ")


class Place(NamedTuple):
    """A segment of a partition, by its first offset."""

    topic: str
    partition: int
    base: int


@dataclass(slots=True)
class Segment:
    """Some records in a row; all replicas cut segments alike."""

    base: int
    """Its first offset."""
    size_bytes: int = 0
    last_ms: int = 0
    checksum: int = 0
    """Of all its bytes."""


class Backlog(Protocol):
    """Where the records are kept (backlog.Backlog)."""

    def append(self, place: Place, offset: int, frame: bytes) -> None: ...
    def drop(self, place: Place) -> None: ...


class Partition:
    """Offsets from `start` to `end`, never given twice. Times never decrease."""

    __slots__ = ("_backlog", "_open_place", "_segment_bytes", "end", "last_ms", "number",
                 "segments", "size_bytes", "start", "topic")  # fmt: skip

    def __init__(self, topic: str, number: int, segment_bytes: int, backlog: Backlog) -> None:
        self.topic = topic
        self.number = number
        self.start = 0
        """The first offset that may be read."""
        self.end = 0
        """The next offset that will be given."""
        self.size_bytes = 0
        self.last_ms = 0
        self.segments: deque[Segment] = deque()
        self._open_place = Place(topic, number, 0)
        """Of the last segment, while there is one."""
        self._segment_bytes = segment_bytes
        self._backlog = backlog

    def append(self, payloads: Sequence[bytes], time_ms: int) -> int:
        """Add packed records; the first one's offset."""
        first = self.end
        if time_ms < self.last_ms:
            time_ms = self.last_ms
        self.last_ms = time_ms
        segments, crc32 = self.segments, zlib.crc32
        for offset, payload in enumerate(payloads, first):
            if not segments or segments[-1].size_bytes >= self._segment_bytes:
                segments.append(Segment(offset))
                self._open_place = Place(self.topic, self.number, offset)
            body = _OFFSET_AND_TIME.pack(offset, time_ms) + payload
            frame = _LENGTH_AND_CRC.pack(len(payload), crc32(body)) + body
            self._backlog.append(self._open_place, offset, frame)
            segment, size_bytes = segments[-1], len(frame)
            segment.size_bytes += size_bytes
            segment.last_ms = time_ms
            segment.checksum = crc32(frame, segment.checksum)
            self.size_bytes += size_bytes
        self.end = first + len(payloads)
        return first

    def trim(self, start: int) -> None:
        """Nothing before `start` may be read any more; segments that are wholly before it go."""
        assert start <= self.end, "nothing is trimmed that is not there"
        self.start = max(self.start, start)
        segments = self.segments
        while segments and self._end_of_first() <= self.start:
            gone = segments.popleft()
            self.size_bytes -= gone.size_bytes
            self._backlog.drop(Place(self.topic, self.number, gone.base))

    def _end_of_first(self) -> int:
        return self.segments[1].base if len(self.segments) > 1 else self.end

    @property
    def oldest_end(self) -> int:
        """Where the next segment would begin, were the oldest to go."""
        return self._end_of_first() if self.segments else self.end

    def end_of_older(self, time_ms: int) -> int:
        """The end of the segments whose records are all older."""
        end = self.start
        for segment, segment_end in self._with_ends():
            if segment.last_ms >= time_ms:
                break
            end = segment_end
        return max(end, self.start)

    def _with_ends(self) -> Iterator[tuple[Segment, int]]:
        bases = [segment.base for segment in self.segments]
        yield from zip(self.segments, [*bases, self.end][1:], strict=True)

    def places(self) -> Iterator[Place]:
        """Of its segments."""
        for segment in self.segments:
            yield Place(self.topic, self.number, segment.base)

    def place_of(self, offset: int) -> Place | None:
        """The segment that has it; None if there is none."""
        if not self.start <= offset < self.end:
            return None
        base = 0
        for segment in reversed(self.segments):
            base = segment.base
            if base <= offset:
                break
        return Place(self.topic, self.number, base)

    def to_wire(self) -> list[Any]:
        return [self.start, self.end, self.last_ms, [list(astuple(each)) for each in self.segments]]

    def take(self, value: Sequence[Any]) -> None:
        """Become what `to_wire` gave."""
        self.start, self.end, self.last_ms, segments = value
        self.segments = deque(Segment(*each) for each in segments)
        if self.segments:
            self._open_place = Place(self.topic, self.number, self.segments[-1].base)
        self.size_bytes = sum(each.size_bytes for each in self.segments)


class Stored(NamedTuple):
    """A record as it is kept."""

    offset: int
    time_ms: int
    payload: bytes
    """`[key, value, headers]`, packed."""

    def unpacked(self) -> list[Any]:
        """`[offset, time ms, key, value, headers]`."""
        return [self.offset, self.time_ms, *msgpack.unpackb(self.payload, strict_map_key=False)]


class Damaged(Exception):
    """A segment is not what was once written."""


def decode(data: bytes | memoryview, position: int) -> tuple[Stored, int] | None:
    """The record there and where the next one begins; None if it is not all there. Raises
    Damaged."""
    if len(data) - position < FRAME.size:
        return None
    length, crc, offset, time_ms = FRAME.unpack_from(data, position)
    begin = position + FRAME.size
    if len(data) - begin < length:
        return None
    payload = bytes(data[begin : begin + length])
    if zlib.crc32(payload, zlib.crc32(data[position + _LENGTH_AND_CRC.size : begin])) != crc:
        raise Damaged(f"the record at byte {position} has another checksum")
    return Stored(offset, time_ms, payload), begin + length
