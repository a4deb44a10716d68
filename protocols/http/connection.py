"""HTTP/1.1 without I/O, for the end that answers (who asks: client.py): bytes in, requests out.

What a head must be is in head.py, where a body ends in bodies.py, how bytes go out in writing.py;
here is their order: one request at a time, its body (collected, or as it comes), its answer. A
broken rule raises RemoteProtocolError with the status to answer, and the connection ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocols.http import writing
from protocols.http.bodies import AnyBody, Chunked, Sized, too_long
from protocols.http.head import Reader, RequestHead, tokens
from protocols.http.message import (
    NO_BODY,
    Headers,
    Limits,
    LocalProtocolError,
    RemoteProtocolError,
    Request,
    Response,
)

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
FIRST_FINAL: Final = 200


def _never(request: Request) -> bool:
    return False


class ServerConnection:
    """The answering end: `receive_data`, then `next_request` until None; answer each in turn.

    Where `streams(request)` is true, a request is given out before its body: `read_body`.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        streams: Callable[[Request], bool] = _never,
        writer: writing.Writer | None = None,
    ) -> None:
        """`writer`: what other connections write with, too."""
        self._writer = writer or writing.Writer()
        self.limits = limits or Limits()
        self._streams = streams
        self._reader = Reader(self.limits)
        self._buffer = bytearray()
        self._ended = False
        self._head: RequestHead | None = None
        """Of the request that is being read, or answered."""
        self._request: Request | None = None
        """It, before its body."""
        self._body: AnyBody | None = None
        self._pieces: list[bytes] = []
        self._answering = False
        """It was given out, and its answer has not ended."""
        self._streamed = False
        """Before its body had come."""
        self._begun = False
        """Nor has that only to begin."""
        self._left: int | None = None
        """To come of the answer's body; None: it is sent in chunks, or until the end."""
        self._chunks = False
        self._close = False
        """Nothing is read after this answer."""
        self._out = b""
        self._broken: RemoteProtocolError | None = None
        self.must_close = False
        """No further request can come on this connection."""

    # --- what comes --------------------------------------------------------------------------

    def receive_data(self, data: bytes | bytearray) -> None:
        """b"" means that the peer closed (perhaps only its half)."""
        if not data:
            self._ended = True
        elif self._broken is None and not self.must_close:
            self._buffer += data

    @property
    def mid_request(self) -> bool:
        """Whether a request has begun that has not ended."""
        if self._answering:
            return self._body is not None and not self._body.ended
        return self._head is not None or bool(self._buffer)

    @property
    def buffered_bytes(self) -> int:
        """Bytes received that nobody has asked for yet."""
        return len(self._buffer)

    @property
    def peer_closed(self) -> bool:
        """The peer has sent its last byte, at the end of a request or before any."""
        return self._ended and not self._buffer and not self.mid_request

    def data_to_send(self) -> bytes:
        """What must go out before we wait for more: `100 Continue`."""
        data, self._out = self._out, b""
        return data

    def next_request(self) -> Request | None:
        """The next one, whole or with its body to be streamed; None: feed more, or answer the last
        one first.

        Raises RemoteProtocolError; `send_response` may still answer it.
        """
        if self._broken is not None:
            raise self._broken
        if self._answering or self.must_close:
            return None
        try:
            if self._head is None and not self._begin():
                return None
            return self._collect()
        except RemoteProtocolError as error:
            self._broken = error
            raise

    def _begin(self) -> bool:
        """Whether a head has come."""
        head = self._reader.request(self._buffer) if self._buffer else None
        if head is None:
            if self._ended and self._buffer:
                raise RemoteProtocolError("the connection ended in the middle of a head")
            return False
        fields = head.fields
        self._head = head
        self._close = fields.close or head.minor == 0
        self._request = Request(head.method, head.target, fields.joined)
        if fields.chunked or fields.length:
            self._begin_body(head, self._request)
        return True

    def _begin_body(self, head: RequestHead, request: Request) -> None:
        fields, most_bytes = head.fields, self.limits.max_body_bytes
        if fields.chunked:
            self._body = Chunked(most_bytes)
        else:
            assert fields.length is not None
            if fields.length > most_bytes:
                raise too_long(most_bytes)
            self._body = Sized(fields.length)
        if "100-continue" in tokens(fields.joined.get("expect", "")) and head.minor:
            self._out = CONTINUE
        self._answering = self._streamed = self._streams(request)

    def _collect(self) -> Request | None:
        """The request, if it is whole or streamed."""
        request, body = self._request, self._body
        assert request is not None
        if self._answering:  # streamed
            return request
        if body is not None:
            data = self.read_body()
            if data:
                self._pieces.append(data)
            if not body.ended:
                return None
            request = Request(request.method, request.target, request.headers, self._joined())
        self._answering = True
        return request

    def _joined(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)

    def read_body(self) -> bytes:
        """What has come of the body of the streamed request. Raises RemoteProtocolError."""
        body = self._body
        assert body is not None
        if self._buffer and not body.ended:
            self._out = b""  # who sends it already does not wait to be told to
        data = body.read(self._buffer)
        if self._ended and not body.ended:
            body.end_of_stream()
        return data

    @property
    def body_ended(self) -> bool:
        """Whether all of it was read."""
        return self._body is None or self._body.ended

    @property
    def streaming(self) -> bool:
        """Whether the request that was given out is one whose body is to be read."""
        return self._answering and self._streamed

    @property
    def trailers(self) -> Headers:
        """What came behind that body."""
        return () if self._body is None else self._body.trailers

    # --- what goes ---------------------------------------------------------------------------

    @property
    def can_answer(self) -> bool:
        return not self._begun and not self.must_close

    def send_response(self, response: Response, common: writing.Common = writing.NOTHING) -> bytes:
        """The bytes of the answer to the request that came last. Raises LocalProtocolError."""
        status, body = response.status, response.body
        head = self._response_head(status, response.headers, common, len(body))
        if self._answers_head() or status in NO_BODY:
            body = b""
        self._finish()
        return head + body

    def start_response(
        self,
        status: int,
        headers: Headers,
        length_bytes: int | None = None,
        common: writing.Common = writing.NOTHING,
    ) -> bytes:
        """The head of an answer whose body follows by `send_data`. None: its length is not known.

        Raises LocalProtocolError.
        """
        return self._response_head(status, headers, common, length_bytes)

    def send_data(self, data: bytes) -> bytes:
        """More of the body. Raises LocalProtocolError for more than was said."""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise LocalProtocolError("the body is longer than was said")
        return writing.chunk(data) if self._chunks else data

    @property
    def body_is_sent(self) -> bool:
        """As much as was said, or as such an answer may have."""
        return self._left == 0

    def end_response(self, trailers: Headers = ()) -> bytes:
        """The end of the body. Raises LocalProtocolError for less than was said."""
        if self._left:
            raise LocalProtocolError("the body is shorter than was said")
        end = writing.last_chunk(trailers) if self._chunks else b""
        self._finish()
        return end

    def send_interim(self, status: int, headers: Headers) -> bytes:
        """An answer below 200, before the one; HTTP/1.0 hears of none."""
        if not 100 < status < FIRST_FINAL or status == 101 or self._begun:
            raise LocalProtocolError(f"no interim answer: {status}")
        if self._head is not None and not self._head.minor:
            return b""
        return writing.response_head(status, self._writer.headers(headers).text, "")

    def _response_head(
        self, status: int, headers: Headers, common: writing.Common, length_bytes: int | None
    ) -> bytes:
        if self._begun or self.must_close or status < FIRST_FINAL:
            raise LocalProtocolError(f"no answer can begin now: {status}")
        text, names, said_bytes, close = self._writer.headers(headers)
        text += common.beside(names)
        if said_bytes is None:
            said_bytes = length_bytes
        elif length_bytes not in (None, said_bytes) and not self._answers_head():
            raise LocalProtocolError(f"content-length {said_bytes} of {length_bytes} bytes")
        framing = self._framing(status, said_bytes)
        if close or self._close or self._broken is not None or not self.body_ended:
            self._close = True
            framing += "connection: close\r\n"
        data = writing.response_head(status, text, framing)
        self._begun = True
        return data

    def _framing(self, status: int, length_bytes: int | None) -> str:
        """The lines for a body of that length; what of it is to come is noted."""
        self._chunks = False
        no_body = status in NO_BODY or self._answers_head()
        self._left = 0 if no_body else length_bytes
        if status in NO_BODY:
            return ""
        if length_bytes is not None:
            return f"{writing.LENGTH}: {length_bytes}\r\n"
        if self._head is None or not self._head.minor:
            self._close = True
            return ""
        self._chunks = not no_body
        return "transfer-encoding: chunked\r\n"

    def _answers_head(self) -> bool:
        return self._head is not None and self._head.method == "HEAD" and self._broken is None

    def _finish(self) -> None:
        """The answer is over."""
        self.must_close = self._close or self._broken is not None or not self.body_ended
        if self.must_close:
            self._buffer.clear()
        self._head = self._request = self._body = None
        self._answering = self._streamed = self._begun = self._close = False
        self._out = b""
