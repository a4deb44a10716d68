"""What happened in a simulation: a digest over every event, and (if asked) the events to look at.

Every delivery, disk call, timer and fault passes here, in order, and nothing else decides whether
two runs were the same.
"""

from __future__ import annotations

import hashlib
from collections import deque
from struct import Struct
from typing import Final, NamedTuple

HASH_BYTES: Final = 1 << 16
SHOWN_BYTES: Final = 512
_MESSAGE: Final = Struct("<cdI").pack
_TIMER: Final = Struct("<cdq").pack


class TraceEvent(NamedTuple):
    """One event as a human may see it. `kind`: message, datagram, end, reset, disk,
    or a fault's word."""

    time_s: float
    kind: str
    source: str
    target: str
    detail: str
    sent_s: float
    data: bytes


class Trace:
    """The run's digest. `keep` newest events are remembered for `emu trace` (0: none)."""

    __slots__ = ("_buffer", "_hash", "events", "keep", "kept", "messages", "timers")

    def __init__(self, *, keep: int = 0) -> None:
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self.keep = keep
        self.kept: deque[TraceEvent] = deque(maxlen=keep)
        self.messages = 0
        self.timers = 0
        self.events = 0

    def message(
        self, now_s: float, route: bytes, data: bytes | memoryview, sent_s: float = 0.0
    ) -> None:
        """Bytes were delivered. `route`: b"source>target:port", or with `|` for a datagram."""
        self.messages += 1
        buffer = self._buffer
        buffer += _MESSAGE(b"m", now_s, len(data))
        buffer += route
        buffer += data
        if len(buffer) > HASH_BYTES:
            self._flush()
        if self.keep:
            kind = "datagram" if b"|" in route else "message"
            ends = route.decode().replace("|", ">").split(">")
            shown = bytes(data[:SHOWN_BYTES])
            size = f"{len(data)} bytes"
            self.kept.append(TraceEvent(now_s, kind, ends[0], ends[1], size, sent_s, shown))

    def timer(self, when_s: float, number: int) -> None:
        """A timer fired: the `number`th that was ever armed."""
        self.timers += 1
        self._buffer += _TIMER(b"t", when_s, number)

    def note(
        self, now_s: float, kind: str, source: str, target: str = "", detail: str = ""
    ) -> None:
        """Anything rarer: a fault, a generation's start or end, an end of stream."""
        self.events += 1
        text = f"{kind}\0{source}\0{target}\0{detail}".encode(errors="surrogateescape")
        self._buffer += _MESSAGE(b"n", now_s, len(text))
        self._buffer += text
        if self.keep:
            self.kept.append(TraceEvent(now_s, kind, source, target, detail, now_s, b""))

    def disk(self, now_s: float, line: bytes) -> None:
        """A call of a disk, as emu/sim/files.py words it."""
        self.events += 1
        self._buffer += _MESSAGE(b"d", now_s, len(line))
        self._buffer += line
        if self.keep:
            words = line.decode().split(" ", 2)
            self.kept.append(TraceEvent(now_s, "disk", words[1], "", words[2], now_s, b""))

    def digest(self) -> str:
        """SHA-256 over everything so far, as hex."""
        self._flush()
        return self._hash.copy().hexdigest()

    def _flush(self) -> None:
        self._hash.update(self._buffer)
        self._buffer.clear()
