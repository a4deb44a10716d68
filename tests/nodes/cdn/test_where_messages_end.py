"""Balancer, edge and web agree on where each request ends: whatever is sent, the web gets the
requests that the edge has read, no other one, and nobody's body begins another's.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import h11
import pytest
import trio
from trio.testing import MockClock

from nodes.balancer.config import BalancerConfig
from nodes.balancer.node import BalancerNode
from nodes.base import HTTP_PORT
from nodes.cdn.asked import READING, upstream
from nodes.cdn.config import CdnConfig
from protocols.caching.keys import key
from protocols.http.client import ClientConnection
from protocols.http.connection import ServerConnection
from protocols.http.message import RemoteProtocolError, Request, Response
from tests.nodes.cdn.rig import EDGE, Cdn
from tests.nodes.harness import MemoryWorld
from tests.protocols.http.mutations import mutated

LIMITS = CdnConfig(origin="web").http_limits().connection
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
SOUND = (
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(SMUGGLED), SMUGGLED),
    b"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    % (len(SMUGGLED), SMUGGLED),
    b"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(SMUGGLED), SMUGGLED),
)
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n"


class Read(NamedTuple):
    method: str
    target: str
    body: bytes


def sent(rng: random.Random) -> tuple[int, bytes]:
    """What a client sends on one connection, and how many requests (or nearly) that is: some hide
    another one in a body. The last is in order: it is read, unless one before it is refused, or
    eats it."""
    pieces = [
        mutated(rng) if rng.random() < 0.4 else _nearly(rng.choice(SOUND), rng)
        for _ in range(rng.randrange(1, 5))
    ]
    return len(pieces), b"".join((*pieces, LAST))


def _nearly(message: bytes, rng: random.Random) -> bytes:
    """As it is, or one byte of its head doubled or lost."""
    if rng.random() < 0.7:
        return message
    at = rng.randrange(message.index(b"\r\n\r\n") + 4)
    return message[:at] + rng.choice((message[at : at + 1] * 2, b"")) + message[at + 1 :]


def read(data: bytes) -> tuple[list[Request], bool]:
    """The requests of one connection, and whether it ended with a refusal."""
    server, found = ServerConnection(LIMITS), list[Request]()
    try:
        server.receive_data(data)
        server.receive_data(b"")
        while (request := server.next_request()) is not None:
            found.append(request)
            server.send_response(Response(200, (), b"x"))
    except RemoteProtocolError:
        return found, True
    return found, False


def forwarded(request: Request) -> Read:
    """As the origin is to get it."""
    where = key(request.headers.get("host", ""), request.target)
    method = "GET" if request.method in READING else request.method
    return Read(method, where.target, request.body)


def written(request: Request) -> bytes:
    """As the edge writes it: a body that was read whole, or is read on its way."""
    client, it = ClientConnection(), forwarded(request)
    host = key(request.headers.get("host", ""), request.target).host
    headers = [("host", host), *upstream(request, EDGE, cacheable=it.method == "GET")]
    if it.method == "GET":
        return client.send_request(it.method, it.target, headers, it.body)
    told = request.headers.get("content-length")
    data = client.start_request(it.method, it.target, headers, int(told) if told else None)
    halves = (it.body[: len(it.body) // 2], it.body[len(it.body) // 2 :])
    data += b"".join(client.send_data(each) for each in halves if each)
    return data + client.end_request()


def by_h11(data: bytes) -> list[Read]:
    """All requests of a connection, as another reader has them."""
    server, found = h11.Connection(h11.SERVER), list[Read]()
    server.receive_data(data)
    body = b""
    while True:
        match event := server.next_event():
            case h11.Request():
                head, body = event, b""
            case h11.Data():
                body += bytes(event.data)
            case h11.EndOfMessage():
                found.append(Read(head.method.decode(), head.target.decode(), body))
                server.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                server.send(h11.EndOfMessage())
                if server.our_state is not h11.DONE or server.their_state is not h11.DONE:
                    return found
                server.start_next_cycle()
            case _:
                return found


def judge_many(seed: str, count: int, *, beside: bool = False) -> dict[str, int]:
    """What came of so many requests; fails where two readers disagree."""
    rng = random.Random(seed)
    found = {"sent": 0, "connections": 0, "read": 0, "refused": 0}
    while found["sent"] < count:
        number, data = sent(rng)
        requests, refused = read(data)
        expected = [forwarded(each) for each in requests]
        on_its_way = b"".join(written(each) for each in requests)
        again, broken = read(on_its_way)
        assert not broken, data
        assert [Read(each.method, each.target, each.body) for each in again] == expected, data
        if beside:
            assert by_h11(on_its_way) == expected, data
        found["sent"] += number
        found["connections"] += 1
        found["read"] += len(requests)
        found["refused"] += refused
    return found


def test_what_an_edge_writes_is_read_as_what_it_has_read() -> None:
    found = judge_many("sample", 1_000, beside=True)
    assert found["read"] > 400 and found["refused"] > 200


@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
def test_a_million_mutated_requests_end_where_the_edge_has_read_it(
    part: int, record_property: Any
) -> None:
    found = judge_many(f"soak/{part}", 100_000, beside=part == 0)
    print(found)
    record_property("figures", found)


# --- the nodes themselves ------------------------------------------------------------------------


@pytest.fixture
async def cdn(nursery: trio.Nursery) -> AsyncIterator[Cdn]:
    """An edge behind a balancer; what its origin answers is not kept."""
    made = Cdn(MemoryWorld(nursery))
    made.origin.answer = Response(200, (("cache-control", "no-store"),), b"x")
    await made.start()
    made.world.list_member(EDGE, HTTP_PORT)
    balancer = BalancerNode(
        made.world.context("lb-1"), BalancerConfig(balances="edge", check="none")
    )
    await made.world.start(balancer)
    yield made


async def through_all(cdn: Cdn, rng: random.Random, count: int) -> dict[str, int]:
    """What comes of so many requests to the balancer."""
    found = {"sent": 0, "connections": 0, "read": 0}
    while found["sent"] < count:
        number, data = sent(rng)
        requests, refused = read(data)
        cdn.origin.requests.clear()
        stream = await cdn.outside.network.open_stream("lb-1", HTTP_PORT)
        answered = b""
        with trio.fail_after(120):
            at = rng.randrange(len(data))
            for piece in (data[:at], data[at:]):
                if piece:
                    await stream.send_all(piece)
            await stream.send_eof()
            while got := await stream.receive_some():
                answered += got
        await stream.aclose()
        at_the_web = [Read(each.method, each.target, each.body) for each in cdn.origin.requests]
        assert at_the_web == [forwarded(each) for each in requests], data
        assert answered.count(b"HTTP/1.1 200 ") == len(requests), data
        assert not refused or b"\r\nconnection: close\r\n" in answered.lower(), data
        found["sent"] += number
        found["connections"] += 1
        found["read"] += len(requests)
    return found


async def test_balancer_edge_and_web_agree_on_where_each_request_ends(
    autojump_clock: MockClock, cdn: Cdn
) -> None:
    found = await through_all(cdn, random.Random("nodes"), 100)
    assert found["read"] > 40


@pytest.mark.soak
async def test_balancer_edge_and_web_agree_on_thousands_of_requests(
    autojump_clock: MockClock, cdn: Cdn, record_property: Any
) -> None:
    found = await through_all(cdn, random.Random("nodes/soak"), 20_000)
    print(found)
    record_property("figures", found)
