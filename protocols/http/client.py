"""HTTP/1.1 without I/O, for the end that asks (who answers: connection.py)."""

from __future__ import annotations

from typing import Final

from protocols.http import writing
from protocols.http.bodies import AnyBody, Chunked, Sized, UntilClose
from protocols.http.head import Reader
from protocols.http.message import (
    NO_BODY,
    Headers,
    Limits,
    LocalProtocolError,
    RemoteProtocolError,
    Response,
)

WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose requests say how long their body is, even when there is none."""
MAX_INTERIM: Final = 16
LIMITS: Final = Limits(max_head_bytes=65536)


class ClientConnection:
    """The asking end: one request at a time; reuse it while `reusable`."""

    def __init__(self, *, max_body_bytes: int = 8 << 20) -> None:
        self._max_body_bytes = max_body_bytes
        self._reader = Reader(LIMITS)
        self._buffer = bytearray()
        self._ended = False
        self._method = ""
        """Of the request that has no whole answer yet."""
        self._sending = False
        self._left: int | None = 0
        """To be sent of its body; None: in chunks."""
        self._keep = True
        self._head: Response | None = None
        self._body: AnyBody | None = None
        self._pieces: list[bytes] = []
        self._body_bytes = 0
        self.interim: list[tuple[int, Headers]] = []
        """Answers below 200 that came before the one."""

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent now."""
        idle = not self._method and not self._sending
        return idle and self._keep and not self._buffer and not self._ended

    # --- what goes ---------------------------------------------------------------------------

    def send_request(
        self, method: str, target: str, headers: Headers = (), body: bytes = b""
    ) -> bytes:
        """`headers` must hold `host`. Raises LocalProtocolError."""
        length = len(body) if body or method in WITH_BODY else None
        data = self._start(method, target, headers, length)
        return data + body

    def start_request(
        self, method: str, target: str, headers: Headers = (), length_bytes: int | None = None
    ) -> bytes:
        """The head of a request whose body follows by `send_data`; None: in chunks."""
        data = self._start(method, target, headers, length_bytes, chunks=length_bytes is None)
        self._sending, self._left = True, length_bytes
        return data

    def send_data(self, data: bytes) -> bytes:
        """More of the body. Raises LocalProtocolError for more than was said."""
        if self._left is None:
            return writing.chunk(data)
        self._left -= len(data)
        if self._left < 0:
            raise LocalProtocolError("the body is longer than was said")
        return data

    def end_request(self, trailers: Headers = ()) -> bytes:
        """The end of the body. Raises LocalProtocolError for less than was said."""
        if self._left:
            raise LocalProtocolError("the body is shorter than was said")
        self._sending = False
        return writing.last_chunk(trailers) if self._left is None else b""

    def _start(
        self,
        method: str,
        target: str,
        headers: Headers,
        length_bytes: int | None,
        *,
        chunks: bool = False,
    ) -> bytes:
        if not self.reusable:
            raise LocalProtocolError("the last answer has not ended, or was the last")
        if sum(name == "host" or name.lower() == "host" for name, _ in headers) != 1:
            raise LocalProtocolError("a request names one host")
        text, _, said_bytes, close = writing.written(headers)
        if said_bytes is not None and said_bytes != (length_bytes or 0):
            raise LocalProtocolError(f"content-length {said_bytes} of {length_bytes} bytes")
        framing = "" if length_bytes is None else f"{writing.LENGTH}: {length_bytes}\r\n"
        if chunks:
            framing = "transfer-encoding: chunked\r\n"
        if close:
            framing += "connection: close\r\n"
        data = writing.request_head(method, target, text, framing)
        self._method, self._keep = method, not close
        self.interim, self._head, self._body = [], None, None
        return data

    # --- what comes --------------------------------------------------------------------------

    def feed(self, data: bytes | bytearray) -> None:
        """b"" means that the peer closed."""
        if data:
            self._buffer += data
        else:
            self._ended = True

    def receive_data(self, data: bytes | bytearray) -> Response | None:
        """The response, once it is whole; b"" means that the peer closed.

        Raises RemoteProtocolError for garbage and for an end in the middle.
        """
        self.feed(data)
        head = self.next_head()
        if head is None:
            return None
        while piece := self.read_body():
            self._body_bytes += len(piece)
            if self._body_bytes > self._max_body_bytes:
                raise self._break("the response's body is too long")
            self._pieces.append(piece)
        if not self.body_ended:
            return None
        pieces, self._pieces, self._body_bytes = self._pieces, [], 0
        return Response(head.status, head.headers, b"".join(pieces)) if pieces else head

    def receive_head(self, data: bytes | bytearray) -> Response | None:
        """Only its head, once that has come; then `read_body`."""
        self.feed(data)
        return self.next_head()

    def next_head(self) -> Response | None:
        """The answer's status and headers, once they have come; then `read_body`.

        Raises RemoteProtocolError.
        """
        if self._head is None:
            try:
                self._read_head()
            except RemoteProtocolError as error:
                raise self._break(error.reason) from error
        return self._head

    def _read_head(self) -> None:
        while True:
            head = self._reader.response(self._buffer) if self._buffer else None
            if head is None:
                if self._ended:
                    raise RemoteProtocolError("closed without an answer")
                return
            if head.status >= 200:
                break
            if head.status == 101 or len(self.interim) >= MAX_INTERIM:
                raise RemoteProtocolError("another protocol, or no end of interim answers")
            self.interim.append((head.status, head.fields.pairs))
        fields, status = head.fields, head.status
        self._keep = self._keep and not fields.close and head.minor > 0
        if self._method == "HEAD" or status in NO_BODY:
            self._body = None
        elif fields.chunked:
            self._body = Chunked(None)
        elif fields.length is not None:
            self._body = Sized(fields.length)
        else:
            self._body, self._keep = UntilClose(), False
        self._head = Response(status, fields.pairs)
        if self._body is None or self._body.ended:
            self._finish()

    def read_body(self) -> bytes:
        """What has come of the answer's body. Raises RemoteProtocolError."""
        body = self._body
        if body is None:
            return b""
        try:
            data = body.read(self._buffer)
            if self._ended and not body.ended:
                body.end_of_stream()
        except RemoteProtocolError as error:
            raise self._break(error.reason) from error
        if body.ended:
            self._finish()
        return data

    @property
    def body_ended(self) -> bool:
        """Whether all of it was read."""
        return self._body is None or self._body.ended

    @property
    def trailers(self) -> Headers:
        """What came behind that body."""
        return () if self._body is None else self._body.trailers

    def _finish(self) -> None:
        self._method = ""

    def _break(self, reason: str) -> RemoteProtocolError:
        self._keep = False
        return RemoteProtocolError(reason, 502)
