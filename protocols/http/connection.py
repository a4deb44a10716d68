"""HTTP/1.1 without I/O, for the end that answers (who asks: client.py): bytes in, requests out.

What is ordinary is read and written by hand (plain.py); a request, or its answer, that is anything
else is handed to h11. What a head must be is in head.py, whoever reads it; a chunk, in chunks.py.

Bodies are collected (bounded), so nobody above sees half a message. What a path means is not known
here. A broken rule raises RemoteProtocolError with the status to answer, and the connection ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import h11

from protocols.http import head, plain
from protocols.http.chunks import Framing

MAX_QUERY_FIELDS: Final = 100
DEADLINE_MS: Final = "x-deadline-ms"
"""Request header: the caller waits so many milliseconds more (never a time of day)."""
TRACE: Final = "x-emu-trace"
NODE: Final = "x-emu-node"
"""Response header: the name of the node that answered."""
NO_BODY: Final = frozenset({204, 304})

Headers = Sequence[tuple[str, str]]


class LocalProtocolError(Exception):
    """We broke the protocol: our bug."""


class RemoteProtocolError(Exception):
    """The peer broke the protocol, or a limit: answer `status` if you can, then close."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection; each has an answer when reached."""

    max_head_bytes: int = 16384
    """Longer request lines and headers are answered 431."""
    max_body_bytes: int = 1 << 20
    """Longer bodies are answered 413."""
    max_buffered_bytes: int = 65536
    """Pipelined requests that wait; above it reading stops (back-pressure)."""
    idle_timeout_s: float = 60.0
    """A connection without a request for so long is closed."""
    request_timeout_s: float = 10.0
    """A request that is begun must end within this, or it is answered 408."""


@dataclass(frozen=True)
class Request:
    """One whole request. Header names are lower case; repeated headers are joined."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @cached_property
    def path(self) -> str:
        """The path, percent-decoded."""
        return unquote(self._split[0], errors="replace")

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's fields; of a repeated one the last. Raises ValueError for too many."""
        return fields(self._split[1])

    @property
    def _split(self) -> tuple[str, str]:
        target = self.target
        if "://" in target[:8]:  # absolute form, as sent to proxies
            rest = target.partition("://")[2]
            target = "/" + rest.partition("/")[2]
        path, _, query = target.partition("?")
        return path, query

    @cached_property
    def cookies(self) -> dict[str, str]:
        pairs = (each.partition("=") for each in self.headers.get("cookie", "").split(";"))
        return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


@dataclass(frozen=True)
class Response:
    """One whole response. content-length is added; `body` of an answer to HEAD is not sent."""

    status: int = 200
    headers: Headers = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header of that (lower case) name."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None


def fields(encoded: str) -> dict[str, str]:
    """Decode `a=1&b=2`. Raises ValueError when there are too many."""
    pairs = parse_qsl(encoded, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    return dict(pairs)


def reason_phrase(status: int) -> str:
    """What follows the status code: `Not Found`."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class ServerConnection:
    """The answering end: `receive_data`, then `next_request` until None; answer each in turn."""

    def __init__(self, limits: Limits | None = None, *, by_h11: bool = False) -> None:
        """`by_h11`: always, whatever comes."""
        self.limits = limits or Limits()
        self._always_h11 = by_h11
        self._by_h11 = False
        """The request in hand."""
        self._h11 = self._fresh_h11()
        self._buffer = bytearray()
        self._ended = False
        self._unanswered = b""
        """The ordinary request that was given out last."""
        self._head: h11.Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._framing: Framing | None = None
        """Of the body, where it comes in chunks."""
        self._method = b""
        self._doubtful = False
        """Both a length and a coding: whoever forwarded this may have cut it elsewhere."""
        self._out = b""
        self._broken: RemoteProtocolError | None = None

    def _fresh_h11(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=self.limits.max_head_bytes)

    @property
    def mid_request(self) -> bool:
        """Whether a request has begun that has not ended."""
        if not self._by_h11:
            return bool(self._buffer) and not self._unanswered
        return self._head is not None or (
            self._h11.their_state is h11.IDLE and bool(self._h11.trailing_data[0])
        )

    @property
    def buffered_bytes(self) -> int:
        """Bytes received that belong to later requests."""
        if not self._by_h11:
            return len(self._buffer)
        return len(self._h11.trailing_data[0])

    @property
    def must_close(self) -> bool:
        """No further request can come on this connection."""
        return self._broken is not None or self._h11.our_state in (
            h11.MUST_CLOSE,
            h11.CLOSED,
            h11.ERROR,
        )

    def receive_data(self, data: bytes | bytearray) -> None:
        """b"" means that the peer closed (perhaps only its half)."""
        if self._broken is not None:
            return
        self._ended = self._ended or not data
        if self._by_h11:
            self._h11.receive_data(bytes(data))
            if self._framing is not None:
                self._framing.take(bytes(data))
        else:
            self._buffer += data

    def data_to_send(self) -> bytes:
        """What must go out before we wait for more: `100 Continue`."""
        data, self._out = self._out, b""
        return data

    def next_request(self) -> Request | None:
        """The next whole request; None: feed more, or answer the last one first.

        Raises RemoteProtocolError; `send_response` may still answer it.
        """
        if self._broken is not None:
            raise self._broken
        if not self._by_h11:
            if self._unanswered:
                return None
            self._skip_empty_lines()
            limits = self.limits
            if not self._always_h11:
                found = plain.read_request(
                    self._buffer, limits.max_head_bytes, limits.max_body_bytes
                )
                if isinstance(found, plain.PlainRequest):
                    return self._take(found)
                if found is not None and not self._ended:
                    return None
            if not self._has_head():
                return None
            self._hand_to_h11()
        return self._next_by_h11()

    def _skip_empty_lines(self) -> None:
        """Before a request they mean nothing (RFC 9112, 2.2)."""
        empty = head.EMPTY_LINES.match(self._buffer)
        if empty is not None:
            del self._buffer[: empty.end()]

    def _has_head(self) -> bool:
        """Whether h11 has something to read, or to refuse. Raises RemoteProtocolError for a head
        that it would read, and that yet must not be answered."""
        found = head.examine(self._buffer, self.limits.max_head_bytes)
        if isinstance(found, head.Refusal):
            raise self._break(found.reason, found.status)
        return found or self._ended

    def _take(self, found: plain.PlainRequest) -> Request:
        self._unanswered = bytes(self._buffer[: found.size_bytes])
        del self._buffer[: found.size_bytes]
        self._method = found.method
        target = found.target.decode("ascii")
        return Request(found.method.decode("ascii"), target, _joined(found.headers), found.body)

    def _hand_to_h11(self) -> None:
        """It shall see what we have seen, from the request that waits for its answer on."""
        self._by_h11 = True
        for data in (self._unanswered, bytes(self._buffer)):
            if data:
                self._h11.receive_data(data)
        if self._ended:
            self._h11.receive_data(b"")
        if self._unanswered:
            while not isinstance(self._h11.next_event(), h11.EndOfMessage):
                pass
        self._unanswered = b""
        self._buffer.clear()

    def _next_by_h11(self) -> Request | None:
        while True:
            if self._framing is not None and self._framing.refusal is not None:
                raise self._break(*self._framing.refusal)
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                what = str(error).partition(": bytearray(")[0]  # a name of Python's
                raise self._break(what, error.error_status_hint) from error
            match event:
                case h11.Request():
                    self._begin(event)
                case h11.Data():
                    self._body_bytes += len(event.data)
                    if self._body_bytes > self.limits.max_body_bytes:
                        raise self._too_long()
                    self._body.append(bytes(event.data))
                case h11.EndOfMessage():
                    return self._finish()
                case h11.NEED_DATA:
                    if self._h11.they_are_waiting_for_100_continue:
                        go_on = h11.InformationalResponse(status_code=100, headers=[])
                        self._out += self._h11.send(go_on) or b""
                    return None
                case _:
                    return None

    @property
    def peer_closed(self) -> bool:
        """The peer has sent its last byte, at the end of a request or before any."""
        if not self._by_h11:
            return self._ended and not self._buffer
        return self._h11.their_state is h11.CLOSED

    def _begin(self, request: h11.Request) -> None:
        self._method = request.method
        size = len(request.target) + sum(
            len(name) + len(value) + 4 for name, value in request.headers
        )
        if size > self.limits.max_head_bytes:
            raise self._break("the request's head is too long", 431)
        for name, value in request.headers:
            if name == b"content-length" and int(value) > self.limits.max_body_bytes:
                raise self._too_long()
        names = {name for name, _ in request.headers}
        self._doubtful = {b"content-length", b"transfer-encoding"} <= names
        self._head, self._body, self._body_bytes = request, [], 0
        if b"transfer-encoding" in names:
            self._framing = Framing(self.limits.max_body_bytes)
            self._framing.take(self._h11.trailing_data[0])

    def _finish(self) -> Request:
        request, self._head, self._framing = self._head, None, None
        assert request is not None
        body, self._body = b"".join(self._body), []
        target = request.target.decode("latin-1")
        return Request(request.method.decode("ascii"), target, _joined(request.headers), body)

    def _too_long(self) -> RemoteProtocolError:
        return self._break(f"the body is over {self.limits.max_body_bytes} bytes", 413)

    def _break(self, reason: str, status: int) -> RemoteProtocolError:
        self._broken = RemoteProtocolError(reason, status)
        return self._broken

    @property
    def can_answer(self) -> bool:
        return self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE)

    def send_response(self, response: Response) -> bytes:
        """The bytes of the answer to the request that came last. Raises LocalProtocolError."""
        headers = [(name.encode(), value.encode("latin-1")) for name, value in response.headers]
        reason = reason_phrase(response.status).encode()
        if self._unanswered:
            to_head = self._method == b"HEAD"
            written = plain.write_response(
                response.status, reason, headers, response.body, to_head=to_head
            )
            if written is not None:
                self._unanswered = self._method = b""
                return written
        if not self._by_h11:
            self._hand_to_h11()
        return self._send_by_h11(response, reason, headers)

    def _send_by_h11(
        self, response: Response, reason: bytes, headers: list[tuple[bytes, bytes]]
    ) -> bytes:
        connection = self._h11
        if response.status not in NO_BODY:
            headers.append((b"content-length", b"%d" % len(response.body)))
        if self._broken is not None or self._doubtful:
            headers.append((b"connection", b"close"))
        try:
            data = connection.send(
                h11.Response(
                    status_code=response.status,
                    headers=headers,
                    reason=reason,
                )
            )
            assert data is not None
            if response.body and self._method != b"HEAD" and response.status not in NO_BODY:
                data += connection.send(h11.Data(data=response.body)) or b""
            data += connection.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError as error:
            raise LocalProtocolError(str(error)) from error
        if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
            self._buffer += connection.trailing_data[0]
            self._h11, self._by_h11 = self._fresh_h11(), False
            self._method = b""  # a refusal of what comes next is no answer to HEAD
        return data


def _joined(headers: Any) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        before = joined.get(name)
        separator = "; " if name == "cookie" else ", "
        joined[name] = value if before is None else before + separator + value
    return joined
