"""What the bytes of a trace said: MessagePack-RPC, HTTP and DNS, one Message each, in words.

Pure. It reads what a run has kept (emu/machine/trace.py) and never fails: what it cannot read is so
many bytes. Drawing is done in diagram.py.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import msgpack

from emu.machine.trace import TraceEvent
from protocols import proxy, rpc
from protocols.http import message as http
from protocols.numerals import whole

REQUEST: Final = "request"
RESPONSE: Final = "response"
NOTICE: Final = "notice"
BYTES: Final = "bytes"
SHOWN_PARAM_CHARS: Final = 24
SHOWN_DETAIL_CHARS: Final = 400
MAX_BUFFERED_BYTES: Final = 1 << 16
Labels = Mapping[str, Callable[[list[Any]], str]]
"""Method → how its params read, as the kinds of the nodes tell (nodes/kind.py)."""


@dataclass(slots=True)
class Message:
    """One message between two nodes. `arrived_s` is None if it never arrived."""

    source: str
    target: str
    sent_s: float
    arrived_s: float | None
    label: str
    kind: str = BYTES
    protocol: str = ""
    detail: str = ""
    failed: bool = False
    """It says that something went wrong."""
    trace: int | None = None
    """The user's request that it belongs to, where the protocol tells."""
    request: int = 0
    """The number of that request among all of the run, from 1 (0: none)."""
    answered_s: float | None = None
    """Of a request: when the answer was sent."""
    port: int = 0
    connection: str = ""


def read_messages(events: Iterable[TraceEvent], labels: Labels) -> list[Message]:
    """The messages of a trace in the order of their sending."""
    reader = _Reader(labels)
    for event in events:
        if event.kind in ("message", "datagram", "lost"):
            reader.take(event)
    found = reader.found
    return sorted(found, key=lambda message: message.sent_s)


class Parser(Protocol):
    """The reader of one connection: both directions, as they come."""

    def receive(self, event: TraceEvent, data: bytes, from_client: bool) -> list[Message]: ...


class _Reader:
    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.found: list[Message] = []
        self._connections: dict[tuple[str, str], _Connection] = {}

    def take(self, event: TraceEvent) -> None:
        port, _, _ = event.connection.partition("/")
        if not event.in_stream:
            self.found.append(_read_datagram(event, int(port)))
            return
        ends = sorted((event.source, event.target))
        key = " ".join(ends), event.connection
        connection = self._connections.get(key)
        if connection is None:
            connection = self._connections[key] = _Connection(event.source, self.labels)
        lost = event.kind == "lost"
        for message in connection.receive(event):
            message.port, message.connection = int(port), event.connection
            if lost:
                message.arrived_s = None
            self.found.append(message)


class _Connection:
    """Finds out what a connection speaks, by its first byte, as the servers do."""

    def __init__(self, client: str, labels: Labels) -> None:
        self.client = client
        self.labels = labels
        self.parser: Parser | None = None

    def receive(self, event: TraceEvent) -> list[Message]:
        data = event.data
        from_client = event.source == self.client
        if self.parser is None:
            data = _without_proxy_header(data)
            self.parser = _parser_for(data, self.labels)
        return self.parser.receive(event, data, from_client)


def _without_proxy_header(data: bytes) -> bytes:
    try:
        decoded = proxy.decode(data)
    except proxy.RemoteProtocolError:
        return data
    return data[decoded[1] :] if decoded is not None else data


def _parser_for(data: bytes, labels: Labels) -> Parser:
    first = data[:1]
    if first.isalpha() and first.isupper():
        return _HttpParser()
    if first and (first[0] & 0xF0 == 0x90 or first[0] in (0xDC, 0xDD)):
        return _RpcParser(labels)
    return _NoParser()


def _message(event: TraceEvent, label: str, **more: Any) -> Message:
    return Message(event.source, event.target, event.sent_s, event.time_s, label, **more)


class _NoParser:
    """Bytes that nobody here understands."""

    def receive(self, event: TraceEvent, data: bytes, from_client: bool) -> list[Message]:
        return [_message(event, event.detail)]


# --- MessagePack-RPC ---------------------------------------------------------------------------


class _RpcParser:
    """Frames, in both directions; answers are told by the method that they answer."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._unpackers: dict[bool, Any] = {}
        self._asked: dict[tuple[bool, int], Message] = {}

    def receive(self, event: TraceEvent, data: bytes, from_client: bool) -> list[Message]:
        if len(data) < event.size_bytes:  # cut short: what the first frame is can still be told
            self._unpackers.pop(from_client, None)
            return [self._name(event, _first_frame(data), from_client)]
        unpacker = self._unpackers.get(from_client)
        if unpacker is None:
            unpacker = self._unpackers[from_client] = msgpack.Unpacker(strict_map_key=False)
        found = []
        try:
            unpacker.feed(data)
            found = [self._name(event, frame, from_client) for frame in unpacker]
        except Exception:  # msgpack's many; whatever it is, it is no message
            del self._unpackers[from_client]
            return [_message(event, event.detail)]
        return found

    def _name(self, event: TraceEvent, frame: Any, from_client: bool) -> Message:
        match frame:
            case [rpc.REQUEST, int(msgid), str(method), list(params)]:
                message = self._request(event, method, params)
                self._asked[from_client, msgid] = message
                return message
            case [rpc.RESPONSE, int(msgid), error, result]:
                asked = self._asked.pop((not from_client, msgid), None)
                return _response(event, asked, error, result)
            case [rpc.NOTIFY, str(method), params]:
                label = self._label(method, params) or method
                detail = f"{method} {_shown(params, SHOWN_DETAIL_CHARS)}"
                return _message(event, label, kind=NOTICE, protocol="rpc", detail=detail)
        return _message(event, event.detail, protocol="rpc")

    def _request(self, event: TraceEvent, method: str, params: list[Any]) -> Message:
        metadata = params[-1] if params and isinstance(params[-1], dict) else {}
        own = params[:-1] if rpc.REMAINING_MS in metadata else params
        hint = _cut(self._label(method, own)) or _hint(next(_scalars(own), None))
        return _message(
            event,
            f"{method} {hint}".rstrip(),
            kind=REQUEST,
            protocol="rpc",
            detail=_shown(own, SHOWN_DETAIL_CHARS),
            trace=metadata.get(rpc.TRACE),
        )

    def _label(self, method: str, params: Any) -> str:
        tell = self._labels.get(method)
        return tell(params) if tell is not None and isinstance(params, list) else ""


def _response(event: TraceEvent, asked: Message | None, error: Any, result: Any) -> Message:
    method, trace = "answer", None
    if asked is not None:
        method, trace = asked.label.split(" ")[0], asked.trace
        asked.answered_s = event.sent_s
    if error is not None:
        code = error[0] if isinstance(error, list) and error else error
        label = f"{method}: {_shown(code, SHOWN_PARAM_CHARS).strip(chr(34))}"
        detail = _shown(error, SHOWN_DETAIL_CHARS)
    else:
        label, detail = f"{method}: {_hint(result) or 'ok'}", _shown(result, SHOWN_DETAIL_CHARS)
    failed = error is not None
    return _message(event, label, kind=RESPONSE, protocol="rpc", detail=detail, failed=failed,
                    trace=trace)  # fmt: skip


def _first_frame(data: bytes) -> Any:
    """As much of a frame as can be told from its beginning: kind, msgid, method."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(data)
    try:
        size = unpacker.read_array_header()
        frame = [unpacker.unpack() for _ in range(size - 1)]
    except Exception:  # msgpack's many, or not even so much is there
        return None
    return [*frame, []] if frame[0] != rpc.RESPONSE else [*frame, "..."]


def _scalars(values: Any) -> Iterator[Any]:
    """The texts and numbers in nested lists, from the left."""
    for value in values:
        if isinstance(value, list):
            yield from _scalars(value)
        elif isinstance(value, str | int):
            yield value


def _hint(value: Any) -> str:
    """A value in a label: short scalars."""
    if isinstance(value, bool) or value is None or not isinstance(value, str | int | float):
        return ""
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_PARAM_CHARS else f"{text[: SHOWN_PARAM_CHARS - 1]}…"


def _shown(value: Any, most_chars: int) -> str:
    text = json.dumps(value, default=_as_text, ensure_ascii=False)
    return text if len(text) <= most_chars else f"{text[: most_chars - 1]}…"


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


# --- HTTP --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _HttpSide:
    """One direction: bytes of a head that has not ended, and how much of a body is to come."""

    head: bytes = b""
    body_left: int = 0
    chunked: bool = False


class _HttpParser:
    """Heads only; a response belongs to the oldest request that has none."""

    def __init__(self) -> None:
        self._sides = {True: _HttpSide(), False: _HttpSide()}
        self._asked: deque[Message] = deque()

    def receive(self, event: TraceEvent, data: bytes, from_client: bool) -> list[Message]:
        side = self._sides[from_client]
        unseen = event.size_bytes - len(event.data)
        found: list[Message] = []
        while data:
            if side.body_left:
                skipped = min(side.body_left, len(data))
                side.body_left -= skipped
                data = data[skipped:]
                continue
            if side.chunked and not data.startswith((b"HTTP/", b"GET ", b"POST ")):
                break
            side.chunked = False
            head, end, rest = (side.head + data).partition(b"\r\n\r\n")
            if not end:
                side.head = head[:MAX_BUFFERED_BYTES]
                break
            side.head, data = b"", rest
            found.append(self._head(event, head, side, from_client))
        side.body_left = max(0, side.body_left - unseen)
        return found

    def _head(self, event: TraceEvent, head: bytes, side: _HttpSide, from_client: bool) -> Message:
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }
        length = headers.get("content-length", "0")
        side.body_left = whole(length) or 0
        side.chunked = "chunked" in headers.get("transfer-encoding", "")
        detail = "\n".join(lines)[:SHOWN_DETAIL_CHARS]
        if from_client:
            message = _message(
                event,
                " ".join(lines[0].split(" ")[:2])[:60],
                kind=REQUEST,
                protocol="http",
                detail=detail,
                trace=_trace_of(headers.get(http.TRACE, "")),
            )
            self._asked.append(message)
            return message
        status = lines[0].partition(" ")[2][:40]
        did = _DID.search(headers.get("cache-status", ""))
        return self._response(event, f"{status} {did[1]}" if did else status, detail, side)

    def _response(self, event: TraceEvent, status: str, detail: str, side: _HttpSide) -> Message:
        asked = self._asked.popleft() if self._asked else None
        if asked is not None:
            asked.answered_s = event.sent_s
        if asked is not None and asked.label.startswith("HEAD "):
            side.body_left = 0
        if status.startswith("304"):
            side.body_left = 0
        return _message(
            event,
            status,
            kind=RESPONSE,
            protocol="http",
            detail=detail,
            failed=status[:1] in ("4", "5"),
            trace=asked.trace if asked is not None else None,
        )


_DID: Final = re.compile(r'.*detail="(\w+)')
"""What the cache that spoke last did: HIT, MISS ..."""


def _trace_of(text: str) -> int | None:
    try:
        return int(text, 16) if text else None
    except ValueError:
        return None


# --- DNS ---------------------------------------------------------------------------------------


def _read_datagram(event: TraceEvent, port: int) -> Message:
    """Told by what it says, as streams are: DNS, or so many bytes."""
    label, detail, kind, failed, protocol = event.detail, "", BYTES, False, ""
    try:
        query = dns.message.from_wire(event.data)
    except dns.exception.DNSException:
        query = None
    if query is not None and query.question:
        label, kind, failed = _dns_label(query)
        detail, protocol = query.to_text()[:SHOWN_DETAIL_CHARS], "dns"
    arrived_s = None if event.kind == "lost" else event.time_s
    return Message(
        event.source,
        event.target,
        event.sent_s,
        arrived_s,
        label,
        kind,
        protocol,
        detail,
        failed,
        port=port,
        connection=event.connection,
    )


def _dns_label(message: dns.message.Message) -> tuple[str, str, bool]:
    """(label, kind, failed)."""
    question = message.question[0]
    name = f"{dns.rdatatype.to_text(question.rdtype)} {question.name.to_text(True)}"
    if not message.flags & dns.flags.QR:
        return name, REQUEST, False
    code = message.rcode()
    if code != dns.rcode.NOERROR:
        return f"{name}: {dns.rcode.to_text(code)}", RESPONSE, True
    answers = [str(record) for answer in message.answer for record in answer]
    return f"{name}: {', '.join(answers[:3]) or 'none'}", RESPONSE, False
