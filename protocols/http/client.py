"""HTTP/1.1 without I/O, for the end that asks: bytes in, whole responses out.

What is ordinary is read and written by hand (plain.py), all else by h11, as connection.py does it.
"""

from __future__ import annotations

from typing import NamedTuple

import h11

from protocols.http import plain
from protocols.http.connection import (
    Headers,
    LocalProtocolError,
    RemoteProtocolError,
    Response,
)


class _Asked(NamedTuple):
    """A request as it was sent."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


class ClientConnection:
    """The asking end: one request at a time; reuse it while `reusable`."""

    def __init__(self, *, max_body_bytes: int = 8 << 20, by_h11: bool = False) -> None:
        """`by_h11`: from the start, whatever comes."""
        self._by_h11 = by_h11
        self._asked: _Asked | None = None
        """The ordinary request that waits for its answer."""
        self._buffer = bytearray()
        self._max_body_bytes = max_body_bytes
        self._h11 = h11.Connection(h11.CLIENT)
        self._head: h11.Response | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent now."""
        if not self._by_h11:
            return self._asked is None
        return self._h11.our_state is h11.IDLE and self._h11.their_state is h11.IDLE

    def send_request(
        self, method: str, target: str, headers: Headers = (), body: bytes = b""
    ) -> bytes:
        """`headers` must hold `host`. Raises LocalProtocolError."""
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        if not self._by_h11:
            written = plain.write_request(method, target, pairs, body)
            if written is not None and self._asked is None:
                self._asked = _Asked(method, target, pairs, body)
                return written
            self._hand_to_h11()
        return self._send_by_h11(_Asked(method, target, pairs, body))

    def _hand_to_h11(self) -> None:
        """It shall see what we have seen, from the request that waits for its answer on."""
        self._by_h11 = True
        self._buffer.clear()
        if self._asked is not None:
            self._send_by_h11(self._asked)

    def _send_by_h11(self, asked: _Asked) -> bytes:
        method, target, pairs, body = asked
        if body or method in ("POST", "PUT", "PATCH"):
            pairs = [*pairs, (b"content-length", b"%d" % len(body))]
        try:
            request = h11.Request(method=method, target=target, headers=pairs)
            data = self._h11.send(request) or b""
            if body:
                data += self._h11.send(h11.Data(data=body)) or b""
            data += self._h11.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError as error:
            raise LocalProtocolError(str(error)) from error
        return data

    def receive_data(self, data: bytes | bytearray) -> Response | None:
        """The response, once it is whole; b"" means that the peer closed.

        Raises RemoteProtocolError for garbage and for an end in the middle.
        """
        if self._by_h11:
            return self._receive_by_h11(bytes(data))
        self._buffer += data
        asked = self._asked
        if data and asked is not None and asked.method != "HEAD":
            found = plain.read_response(self._buffer, self._max_body_bytes)
            if isinstance(found, plain.PlainResponse):
                if found.size_bytes == len(self._buffer):
                    return self._take(found)
            elif found is not None:
                return None
        seen = [bytes(self._buffer)] if self._buffer else []
        self._hand_to_h11()
        return self._receive_by_h11(*seen, *([] if data else [b""]))

    def _take(self, found: plain.PlainResponse) -> Response:
        self._asked = None
        self._buffer.clear()
        headers = [(name.decode("ascii"), value.decode("ascii")) for name, value in found.headers]
        return Response(found.status, headers, found.body)

    def _receive_by_h11(self, *pieces: bytes) -> Response | None:
        try:
            for data in pieces:
                self._h11.receive_data(data)
            while True:
                event = self._h11.next_event()
                match event:
                    case h11.Response():
                        self._head, self._body, self._body_bytes = event, [], 0
                    case h11.Data():
                        self._body_bytes += len(event.data)
                        if self._body_bytes > self._max_body_bytes:
                            raise RemoteProtocolError("the response's body is too long", 502)
                        self._body.append(bytes(event.data))
                    case h11.EndOfMessage():
                        return self._finish()
                    case h11.ConnectionClosed():
                        raise RemoteProtocolError("closed without an answer", 502)
                    case h11.InformationalResponse():
                        continue
                    case _:
                        return None
        except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
            raise RemoteProtocolError(str(error), 502) from error

    def _finish(self) -> Response:
        head, self._head = self._head, None
        assert head is not None
        headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers]
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        return Response(head.status_code, headers, b"".join(self._body))
