"""Both ends of a connection as h11 has them: what ours are held against."""

from __future__ import annotations

from typing import Any

import h11

from protocols.http.message import Headers


class Server:
    """Answers each request as it is told; `seen` has the requests."""

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.SERVER)
        self._head: h11.Request | None = None
        self._body = b""
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []

    def receive(self, data: bytes) -> bool:
        """Whether a whole request has come. Raises h11.RemoteProtocolError."""
        self._h11.receive_data(data)
        while True:
            match event := self._h11.next_event():
                case h11.Request():
                    self._head, self._body = event, b""
                case h11.Data():
                    self._body += bytes(event.data)
                case h11.EndOfMessage():
                    assert self._head is not None
                    head = self._head
                    self.seen.append(
                        (
                            head.method.decode(),
                            head.target.decode(),
                            _dict(head.headers),
                            self._body,
                        )
                    )
                    return True
                case _:
                    return False

    def answer(self, status: int, headers: Headers, *pieces: bytes) -> bytes:
        """In chunks, unless the headers tell a length."""
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        events: list[Any] = [h11.Response(status_code=status, headers=raw, reason=b"Why")]
        events += [h11.Data(data=piece) for piece in pieces]
        events.append(h11.EndOfMessage())
        data = b"".join(self._h11.send(each) or b"" for each in events)
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        return data


def answers(asked: bytes, data: bytes) -> list[tuple[int, list[tuple[str, str]], bytes] | str]:
    """What h11 makes of the answer to such a request (its method counts), then `closes` if it may
    not ask again. Raises h11.RemoteProtocolError."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=asked, target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    found: list[Any] = []
    head: Any = None
    body = b""
    while True:
        match event := client.next_event():
            case h11.InformationalResponse():
                found.append((event.status_code, _pairs(event.headers), b""))
            case h11.Response():
                head = event
            case h11.Data():
                body += bytes(event.data)
            case h11.EndOfMessage():
                found.append((head.status_code, _pairs(head.headers), body))
                break
            case h11.NEED_DATA:
                client.receive_data(b"")
            case _:
                raise AssertionError(event)
    if client.their_state is not h11.DONE:
        found.append("closes")
    return found


def _pairs(headers: Any) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode("latin-1")) for name, value in headers]


def _dict(headers: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _pairs(headers):
        separator = "; " if name == "cookie" else ", "
        found[name] = f"{found[name]}{separator}{value}" if name in found else value
    return found
