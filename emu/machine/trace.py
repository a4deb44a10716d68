"""What happened in a simulation: a digest over every event, and (if asked) the events to look at.

Every delivery, disk call, timer and fault passes here, in order, and nothing else decides whether
two runs were the same.
"""

from __future__ import annotations

import hashlib
from collections import deque
from struct import Struct
from typing import Final, NamedTuple, Protocol

HASH_BYTES: Final = 1 << 16
SHOWN_BYTES: Final = 4096
_MESSAGE: Final = Struct("<cdI").pack
_TIMER: Final = Struct("<cdq").pack


class TraceEvent(NamedTuple):
    """One event as a human may see it.

    `kind`: message, datagram, lost (never delivered), end, reset, disk, or a fault's word.
    """

    time_s: float
    kind: str
    source: str
    target: str
    detail: str
    sent_s: float
    data: bytes = b""
    """Of a message: the first SHOWN_BYTES of it."""
    size_bytes: int = 0
    connection: str = ""
    """Of a message: `port/number`, the listener's port and the connection's number (of a datagram:
    both ports)."""
    in_stream: bool = True
    """Of a message: whether others come before it; a datagram stands alone."""


class Rules(Protocol):
    """What reads along what streams deliver, and says what was wrong with it."""

    problems: dict[str, None]

    def take(self, route: bytes, data: bytes | memoryview) -> None: ...
    def overtaken(self, route: bytes) -> None:
        """On this stream bytes arrived that were not those that were sent next."""
        ...


class _Sent:
    """What has been put on one way (a direction of a connection) and not arrived yet."""

    __slots__ = ("data", "left_bytes", "time_s")

    def __init__(self, time_s: float, data: bytes) -> None:
        self.time_s = time_s
        self.data = data[:SHOWN_BYTES]
        self.left_bytes = len(data)


class Trace:
    """The run's digest. `keep` newest events are remembered for `emu trace` (0: none); `rules`
    reads along."""

    __slots__ = (
        "_buffer", "_hash", "_on_their_way", "events", "keep", "kept", "messages", "reached",
        "rules", "timers",
    )  # fmt: skip

    def __init__(self, *, keep: int = 0, rules: Rules | None = None) -> None:
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self._on_their_way: dict[bytes, deque[_Sent]] = {}
        self.keep = keep
        self.rules = rules
        self.kept: deque[TraceEvent] = deque(maxlen=keep)
        self.reached: dict[str, int] = {}
        """How often the run met each state that matters; no part of the digest."""
        self.messages = 0
        self.timers = 0
        self.events = 0

    def message(
        self, now_s: float, route: bytes, data: bytes | memoryview, sent_s: float | None = None
    ) -> None:
        """Bytes were delivered.

        `route`: b"source>target:port/number", or with `|` for a datagram, which says when it was
        sent (a stream's bytes were told by `sent`).
        """
        self.messages += 1
        buffer = self._buffer
        buffer += _MESSAGE(b"m", now_s, len(data))
        buffer += route
        buffer += data
        if len(buffer) > HASH_BYTES:
            self._flush()
        if self.rules is not None and sent_s is None:
            self.rules.take(route, data)
        if self.keep:
            kind = "message" if sent_s is None else "datagram"
            sent_s = self._arrived(route, len(data)) if sent_s is None else sent_s
            self.kept.append(_message(now_s, kind, route, data, len(data), sent_s))

    def sent(self, now_s: float, route: bytes, data: bytes) -> None:
        """Bytes were put on their way. Only for looking at, so call it only where `keep` is set."""
        self._on_their_way.setdefault(route, deque()).append(_Sent(now_s, data))

    def lost(self, now_s: float, route: bytes, data: bytes) -> None:
        """A datagram was sent that will not arrive; like `sent`, only for looking at."""
        if self.keep:
            self.kept.append(_message(now_s, "lost", route, data, len(data), now_s))

    def looked_at(self) -> list[TraceEvent]:
        """The events that were kept, and then what was sent and has not arrived."""
        undelivered = [
            _message(each.time_s, "lost", route, each.data, each.left_bytes, each.time_s)
            for route, waiting in self._on_their_way.items()
            for each in waiting
        ]
        return [*self.kept, *undelivered]

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
            self.kept.append(TraceEvent(now_s, kind, source, target, detail, now_s))

    def disk(self, now_s: float, line: bytes) -> None:
        """A call of a disk, as emu/sim/files.py words it."""
        self.events += 1
        self._buffer += _MESSAGE(b"d", now_s, len(line))
        self._buffer += line
        if self.keep:
            words = line.decode().split(" ", 2)
            self.kept.append(TraceEvent(now_s, "disk", words[1], "", words[2], now_s))

    def reach(self, state: str) -> None:
        """A state that matters was met."""
        self.reached[state] = self.reached.get(state, 0) + 1

    def digest(self) -> str:
        """SHA-256 over everything so far, as hex."""
        self._flush()
        return self._hash.copy().hexdigest()

    def _flush(self) -> None:
        self._hash.update(self._buffer)
        self._buffer.clear()

    def _arrived(self, route: bytes, size_bytes: int) -> float:
        """When the first of these bytes was sent; all of them are no longer on their way."""
        waiting = self._on_their_way.get(route)
        if not waiting:
            return 0.0
        sent_s = waiting[0].time_s
        while waiting and size_bytes >= waiting[0].left_bytes:
            size_bytes -= waiting.popleft().left_bytes
        if waiting:
            waiting[0].left_bytes -= size_bytes
        else:
            del self._on_their_way[route]
        return sent_s


def _message(
    now_s: float, kind: str, route: bytes, data: bytes | memoryview, size_bytes: int, sent_s: float
) -> TraceEvent:
    way, _, connection = route.decode().partition(":")
    in_stream = ">" in way
    source, _, target = way.partition(">" if in_stream else "|")
    shown = bytes(data[:SHOWN_BYTES])
    detail = f"{size_bytes} bytes"
    return TraceEvent(
        now_s, kind, source, target, detail, sent_s, shown, size_bytes, connection, in_stream
    )
