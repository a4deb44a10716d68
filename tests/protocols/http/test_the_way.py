"""Mutated requests on their way through the tiers: the balancer's other pieces, an edge that
streams bodies and writes each request anew, the web tier that reads them whole. All see the same
messages, and each ends where h11 says that it does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from protocols.http.client import ClientConnection
from protocols.http.connection import ServerConnection
from protocols.http.message import RemoteProtocolError, Response
from tests.protocols.http.mutations import mutated
from tests.protocols.http.readers import LIMITS, Read, by_h11
from tests.protocols.http.test_other_readers import EMPTY_LINES

HOST = [("host", "a")]
WELL_FORMED = [
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /b HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n",
    b"POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd",
    b"PUT /d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
]


class Seen(NamedTuple):
    """A whole request, and where in the bytes it ended."""

    read: Read
    end: int


def read_all(data: bytes, *pieces: bytes, streams: bool = False) -> list[Seen]:
    """What a server sees until it refuses, closes or waits for more."""
    server = ServerConnection(LIMITS, lambda request: streams)
    seen, fed_bytes, request, body = list[Seen](), 0, None, b""
    try:
        for piece in pieces or (data,):
            server.receive_data(piece)
            fed_bytes += len(piece)
            while request is not None or (request := server.next_request()) is not None:
                if server.streaming:
                    body += server.read_body()
                    if not server.body_ended:
                        break
                read = Read(request.method, request.target, body or request.body)
                seen.append(Seen(read, fed_bytes - server.buffered_bytes))
                server.send_response(Response())
                request, body = None, b""
                if server.must_close:
                    return seen
    except RemoteProtocolError:
        pass
    return seen


def cut(data: bytes, rng: random.Random) -> Iterator[bytes]:
    while data:
        size = rng.choice((1, 2, 5, 30, 200))
        yield data[:size]
        data = data[size:]


def written_anew(seen: list[Seen], rng: random.Random) -> bytes:
    """As an edge asks its origin: a body of told length, or in chunks of its own."""
    data, client = b"", ClientConnection()
    for (method, target, body), _ in seen:
        if body and rng.random() < 0.5:
            data += client.start_request(method, target, HOST)
            data += b"".join(client.send_data(each) for each in cut(body, rng))
            data += client.end_request()
        else:
            data += client.send_request(method, target, HOST, body)
        status = 200 if method != "HEAD" else 204
        client.receive_data(b"HTTP/1.1 %d OK\r\ncontent-length: 0\r\n\r\n" % status)
    return data


def judge(data: bytes, rng: random.Random) -> int:
    """How many messages there were."""
    whole = read_all(data)
    assert read_all(data, *cut(data, rng)) == whole, data
    assert read_all(data, *cut(data, rng), streams=True) == whole, data
    start = 0
    for each in whole:
        assert by_h11(EMPTY_LINES.sub(b"", data[start:], count=1)) == each.read, data
        start = each.end
    again = written_anew(whole, rng)
    assert [each.read for each in read_all(again, *cut(again, rng))] == [
        each.read for each in whole
    ], data
    return len(whole)


def judge_many(seed: str, count: int) -> dict[int, int]:
    rng, found = random.Random(seed), dict[int, int]()
    for _ in range(count):
        before = b"".join(rng.choices(WELL_FORMED, k=rng.randrange(4)))
        messages = judge(before + mutated(rng), rng)
        found[messages] = found.get(messages, 0) + 1
    return found


def test_mutated_requests_end_where_every_tier_says() -> None:
    found = judge_many("sample", 600)
    assert set(found) >= {0, 1, 2, 3}, found


@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
def test_a_million_mutated_requests_end_where_every_tier_says(
    part: int, record_property: Any
) -> None:
    found = judge_many(f"soak/{part}", 100_000)
    record_property("figures", {str(count): times for count, times in found.items()})


def test_a_smuggled_request_is_seen_by_nobody() -> None:
    inner = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
    for framing in (
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n",
        b"Content-Length: %d\r\nContent-Length: 5\r\n",
        b"Content-Length: %d\r\nTransfer-Encoding : chunked\r\n",
        b"Content-Length: %d\r\nTransfer-Encoding:\tchunked\x0b\r\n",
        b"Content-Length: %d\r\nX: a\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: %d\r\nX: a\r\n Transfer-Encoding: chunked\r\n",
        b"Content-Length: %d\r\nTransfer-Encoding: identity, chunked\r\n",
    ):
        body = b"0\r\n\r\n" + inner
        data = b"POST / HTTP/1.1\r\nHost: a\r\n" + framing % len(body) + b"\r\n" + body
        for streams in (False, True):
            targets = [each.read.target for each in read_all(data, streams=streams)]
            assert "/admin" not in targets, framing
