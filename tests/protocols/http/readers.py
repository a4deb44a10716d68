"""The first request in some bytes, as each of three readers has it: ours, h11 and httptools."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import h11
import httptools

from protocols.http.connection import ServerConnection
from protocols.http.message import Limits, RemoteProtocolError

LIMITS = Limits(max_head_bytes=4096, max_body_bytes=1000)


class Read(NamedTuple):
    """A whole request."""

    method: str
    target: str
    body: bytes


@dataclass(frozen=True)
class Refused:
    status: int
    reason: str = field(default="", compare=False)


def ours(data: bytes, *, pieces: int = 1) -> Read | Refused | None:
    """None: it would wait for more."""
    server = ServerConnection(LIMITS)
    step = -(-len(data) // pieces) or 1
    try:
        for start in range(0, len(data), step):
            server.receive_data(data[start : start + step])
            request = server.next_request()
            if request is not None:
                return Read(request.method, request.target, request.body)
    except RemoteProtocolError as error:
        return Refused(error.status, error.reason)
    return None


def by_h11(data: bytes) -> Read | Refused | None:
    server, head, body = h11.Connection(h11.SERVER), None, b""
    server.receive_data(data)
    try:
        while True:
            match event := server.next_event():
                case h11.Request():
                    head = event
                case h11.Data():
                    body += bytes(event.data)
                case h11.EndOfMessage():
                    assert head is not None
                    return Read(head.method.decode(), head.target.decode(), body)
                case _:
                    return None
    except h11.RemoteProtocolError as error:
        return Refused(error.error_status_hint)


class _Seen:
    """httptools' callbacks."""

    def __init__(self) -> None:
        self.target = self.body = b""
        self.done: Read | None = None
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        if self.done is None:
            self.target += url

    def on_body(self, body: bytes) -> None:
        if self.done is None:
            self.body += body

    def on_message_complete(self) -> None:
        if self.done is None:
            method = self.parser.get_method().decode()
            self.done = Read(method, self.target.decode("latin-1"), self.body)


def by_httptools(data: bytes) -> Read | Refused | None:
    seen = _Seen()
    try:
        seen.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        return seen.done
    except httptools.HttpParserError:
        return seen.done or Refused(400)
    return seen.done
