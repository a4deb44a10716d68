"""What is answered where it is read, between what takes waiting: in order, whole, and bounded."""

from __future__ import annotations

import random
from typing import Any

import h11
import pytest
import trio
from trio.testing import MockClock

from nodes.base import HTTP_PORT
from nodes.wire.http_server import Endpoint, HttpLimits, HttpService, Via
from protocols.errors import RpcError
from protocols.http.message import Limits, Request, Response
from tests.nodes.harness import MemoryWorld


def now(request: Request, via: Via) -> Response:
    if request.path == "/now/bad":
        raise RpcError("not_found", "nothing here")
    return Response(200, (("x-way", "now"),), request.path.encode() + request.body)


async def later(request: Request, via: Via) -> Response:
    await trio.sleep(0.5)
    return Response(200, (("x-way", "later"),), request.path.encode() + request.body)


async def serve(nursery: trio.Nursery) -> tuple[MemoryWorld, HttpService]:
    world = MemoryWorld(nursery)
    endpoints = {"now": Endpoint("now", now, at_once=True), "later": Endpoint("later", later)}
    limits = HttpLimits(Limits(idle_timeout_s=10, request_timeout_s=3))
    service = HttpService(
        world.context("web-1"), lambda request: endpoints[request.path.split("/")[1]], limits=limits
    )
    await world.serve("web-1", HTTP_PORT, service.serve_stream)
    return world, service


async def exchanged(world: MemoryWorld, data: bytes, rng: random.Random | None = None) -> bytes:
    """All that comes back until the server closes, for bytes that are sent in random pieces."""
    stream = await world.context("outside").network.open_stream("web-1", HTTP_PORT)
    while data:
        size = rng.choice((1, 9, 60, 1000)) if rng else len(data)
        await stream.send_all(data[:size])
        data = data[size:]
        if rng and rng.random() < 0.3:
            await trio.sleep(rng.choice((0, 0.1, 0.7)))
    answer = b""
    with trio.move_on_after(100):
        while more := await stream.receive_some():
            answer += more
    return answer


def bodies(data: bytes, methods: list[str]) -> list[tuple[int, bytes]]:
    """As h11 reads the answers."""
    found = list[tuple[int, bytes]]()
    client = h11.Connection(h11.CLIENT)
    client.receive_data(data)
    for method in methods:
        client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        client.send(h11.EndOfMessage())
        body, status = b"", 0
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            else:
                assert isinstance(event, h11.Data), event
                body += bytes(event.data)
        found.append((status, body))
        if client.their_state is h11.DONE:
            client.start_next_cycle()
    return found


@pytest.mark.parametrize("seed", range(8))
async def test_answers_come_in_the_order_of_their_requests_however_they_arrive(
    autojump_clock: MockClock, seed: int
) -> None:
    rng = random.Random(seed)
    asked, methods, data = list[tuple[int, bytes]](), list[str](), b""
    for number in range(40):
        path = f"/{rng.choice(('now', 'now', 'now', 'later'))}/{number}"
        method, body = rng.choice((("GET", b""), ("HEAD", b""), ("POST", b"abc")))
        length = b"Content-Length: 3\r\n" if body else b""
        end = b"Connection: close\r\n" if number == 39 else b""
        data += b"%b %b HTTP/1.1\r\nHost: a\r\n%b%b\r\n%b" % (
            method.encode(), path.encode(), length, end, body,
        )  # fmt: skip
        asked.append((200, b"" if method == "HEAD" else path.encode() + body))
        methods.append(method)
    async with trio.open_nursery() as nursery:
        world, service = await serve(nursery)
        whole = seed % 2 == 0
        answer = await exchanged(world, data, None if whole else rng)
        assert bodies(answer, methods) == asked
        await trio.sleep(1.5)
        assert service.in_flight == 0 and not service.draining.connections
        nursery.cancel_scope.cancel()


GET = b"GET /now/a HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "statuses", "closes_after_s"),
    [
        (GET, [200], 10),
        (GET * 40, [200] * 40, 10),
        (GET.replace(b"1.1", b"1.0"), [200], 0),
        (GET + GET.replace(b"Host", b"Connection: close\r\nHost") + GET, [200, 200], 0),
        (GET.replace(b"/a", b"/bad") + GET, [404, 200], 10),
        (GET + b"GET / HTTP/3.0\r\n\r\n", [200, 505], 0),
        (GET + GET[:9], [200, 408], 3),
        (b"", [], 10),
    ],
    ids=["one", "many", "1.0", "close", "refused", "broken", "unfinished", "nothing"],
)
async def test_a_connection_of_such_requests_ends_as_any_other(
    autojump_clock: MockClock, data: bytes, statuses: list[int], closes_after_s: float
) -> None:
    async with trio.open_nursery() as nursery:
        world, _ = await serve(nursery)
        began_s = trio.current_time()
        answer = await exchanged(world, data or b"\r\n")
        assert [status for status, _ in bodies(answer, ["GET"] * len(statuses))] == statuses
        assert answer.count(b"x-emu-node: web-1") == answer.count(b"\r\ndate: ") == len(statuses)
        lingers_s = 1.0 if statuses and closes_after_s < 10 else 0.0
        took_s = trio.current_time() - began_s
        assert closes_after_s <= took_s <= closes_after_s + lingers_s + 0.01
        nursery.cancel_scope.cancel()


async def test_who_takes_no_answers_is_not_given_more_and_is_left(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        world, service = await serve(nursery)
        stream: Any = await world.context("outside").network.open_stream("web-1", HTTP_PORT)
        sent = list[int]()

        async def stuck(data: bytes) -> None:
            sent.append(len(data))
            await trio.sleep_forever()

        stream.other.send_all = stuck
        await stream.send_all(GET * 40)
        await trio.sleep(9)
        assert len(sent) == 1 and service.draining.connections == 1
        await trio.sleep(2)
        assert len(sent) == 1 and service.draining.connections == 0
        nursery.cancel_scope.cancel()
