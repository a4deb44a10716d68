"""Bodies that come and go as they are: through a proxy of three lines, bounded, and broken off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import h11
import pytest
import trio
from trio.testing import MockClock

from nodes.base import HTTP_PORT
from nodes.wire.http_client import HttpClient
from nodes.wire.http_connection import AnyResponse
from nodes.wire.http_server import Endpoint, HttpLimits, HttpService, Via
from protocols.errors import RpcError
from protocols.http.message import Headers, Limits, Request, Response, StreamedResponse
from tests.nodes.harness import MemoryWorld

PIECE = b"x" * 60_000


class Pieces:
    """A body of so many pieces (a Body); it counts what is taken of it."""

    def __init__(self, *pieces: bytes, trailers: Headers = (), fails: bool = False) -> None:
        self.left = list(pieces)
        self.trailers = trailers
        self.fails = fails
        self.taken = 0
        self.aborted = False

    async def receive_some(self) -> bytes:
        await trio.lowlevel.checkpoint()
        self.taken += 1
        if self.left:
            return self.left.pop(0)
        if self.fails:
            raise RpcError("disconnected", "the origin is gone")
        return b""

    def abort(self) -> None:
        self.aborted = True


class Rig:
    """`web-1` answers by `handler`; `edge-1` streams both ways in front of it."""

    def __init__(self, world: MemoryWorld) -> None:
        self.world = world
        self.handler: Callable[[Request], Any] = lambda request: Response(200, (), b"hello")
        self.outside = HttpClient(world.context("outside"))
        self.origin = HttpClient(world.context("edge-1"))

    async def start(self) -> None:
        limits = HttpLimits(Limits(max_body_bytes=100_000, idle_timeout_s=10), timeout_s=5)

        async def answer(request: Request, via: Via) -> AnyResponse:
            given = self.handler(request)
            response: AnyResponse = (
                given if isinstance(given, (Response, StreamedResponse)) else (await given)
            )
            return response

        async def forward(request: Request, via: Via) -> AnyResponse:
            upstream = await self.origin.stream(
                request.method, request.target, host="web-1", body=request.content or b"",
                headers=[("te", request.headers.get("te", ""))],
            )  # fmt: skip
            headers = [
                each for each in upstream.headers
                if each[0] not in ("connection", "transfer-encoding", "date", "x-emu-node")
            ]  # fmt: skip
            length = upstream.header("content-length")
            return StreamedResponse(
                upstream.status, headers, upstream, None if length is None else int(length),
                upstream.interim,
            )  # fmt: skip

        for name, handler in (("web-1", answer), ("edge-1", forward)):
            endpoint = Endpoint("any", handler, streams=name == "edge-1")
            service = HttpService(
                self.world.context(name), lambda request, it=endpoint: it, limits=limits
            )
            await self.world.serve(name, HTTP_PORT, service.serve_stream)

    async def raw(self, host: str, data: bytes) -> Any:
        stream = await self.outside.ctx.network.open_stream(host, HTTP_PORT)
        await stream.send_all(data)
        return stream


@pytest.fixture
async def rig(autojump_clock: MockClock) -> AsyncIterator[Rig]:
    @asynccontextmanager
    async def made() -> AsyncIterator[Rig]:
        async with trio.open_nursery() as nursery:
            rig = Rig(MemoryWorld(nursery))
            await rig.start()
            yield rig
            nursery.cancel_scope.cancel()

    async with made() as rig:
        yield rig


async def read_all(stream: Any) -> bytes:
    data = b""
    with trio.move_on_after(100):
        while more := await stream.receive_some():
            data += more
    return data


async def test_a_large_answer_goes_through_in_pieces_and_its_connections_are_kept(
    rig: Rig,
) -> None:
    for length in (None, 20 * len(PIECE)):
        pieces = Pieces(*[PIECE] * 20)
        given = StreamedResponse(200, (("x-a", "b"),), pieces, length)
        rig.handler = lambda request, given=given: given
        answer = await rig.outside.request("GET", "/", host="edge-1")
        assert (answer.status, answer.header("x-a")) == (200, "b")
        assert answer.body == PIECE * 20
        assert answer.header("transfer-encoding") == (None if length else "chunked")
        assert pieces.aborted
    assert rig.world.last_port == 40002, "one connection of each"


def narrow(stream: Any, *, most_bytes: int) -> None:
    """Its peer takes no more than that."""
    send_all, left = stream.send_all, most_bytes

    async def send(data: bytes) -> None:
        nonlocal left
        left -= len(data)
        if left < 0:
            await trio.sleep_forever()
        await send_all(data)

    stream.send_all = send


async def test_who_takes_nothing_makes_nobody_buffer_and_is_left_in_time(
    autojump_clock: MockClock, rig: Rig
) -> None:
    pieces = Pieces(*[PIECE] * 200)
    rig.handler = lambda request: StreamedResponse(200, (), pieces)
    stream = await rig.outside.ctx.network.open_stream("web-1", HTTP_PORT)
    narrow(stream.other, most_bytes=100_000)
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await trio.sleep(8)
    assert pieces.taken == 2
    assert not pieces.aborted
    await trio.sleep(10)
    assert pieces.aborted
    with pytest.raises(trio.BrokenResourceError):
        await read_all(stream)


async def test_an_upload_larger_than_any_limit_is_taken_as_it_comes(rig: Rig) -> None:
    body = Pieces(*[b"y" * 30_000] * 3)
    rig.handler = lambda request: Response(200, (), b"%d" % len(request.body))
    for length in (None, 90_000):
        body = Pieces(*[b"y" * 30_000] * 3)
        answer = await rig.outside.stream(
            "POST", "/", host="edge-1", body=body, length_bytes=length
        )
        assert answer.status == 200
        assert await answer.receive_some() == b"90000"
        assert body.aborted


async def test_what_is_too_large_behind_it_is_refused_before_it_has_all_come(
    autojump_clock: MockClock, rig: Rig
) -> None:
    stream = await rig.raw(
        "edge-1", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n" + PIECE
    )
    await trio.testing.wait_all_tasks_blocked()
    data = await read_all(stream)
    assert data.startswith((b"HTTP/1.1 413", b"HTTP/1.1 504")), data[:100]
    assert b"connection: close" in data


async def test_an_answer_that_breaks_off_is_never_taken_for_the_whole(rig: Rig) -> None:
    for length in (None, 9_000_000):
        given = StreamedResponse(200, (), Pieces(b"a", fails=True), length)
        rig.handler = lambda request, given=given: given
        with pytest.raises(RpcError, match="disconnected"):
            await rig.outside.request("GET", "/", host="edge-1")


async def test_trailers_pass_to_who_asks_for_them(rig: Rig) -> None:
    for asked, told in (("trailers", [("x-sum", "1")]), ("gzip", [])):
        rig.handler = lambda request: StreamedResponse(
            200, (), Pieces(b"a", trailers=[("x-sum", "1")])
        )
        answer = await rig.outside.stream("GET", "/", host="edge-1", headers=[("te", asked)])
        while await answer.receive_some():
            pass
        assert list(answer.trailers) == told


async def test_interim_answers_pass_before_the_one(rig: Rig) -> None:
    hints = [(103, [("link", "</a>; rel=preload")]), (102, [])]
    rig.handler = lambda request: StreamedResponse(200, (), Pieces(b"a"), 1, hints)
    answer = await rig.outside.stream("GET", "/", host="edge-1")
    assert answer.status == 200
    assert [(status, list(headers)) for status, headers in answer.interim] == hints
    answer.abort()


async def test_http_1_0_hears_no_chunks_and_no_interim_answers(rig: Rig) -> None:
    rig.handler = lambda request: StreamedResponse(
        200, (), Pieces(b"abc", b"def"), None, [(103, [])]
    )
    data = await read_all(await rig.raw("edge-1", b"GET / HTTP/1.0\r\n\r\n"))
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and b"connection: close" in head
    assert body == b"abcdef"


async def test_the_answer_to_head_has_no_body_and_asks_for_none(rig: Rig) -> None:
    pieces = Pieces(PIECE)
    rig.handler = lambda request: StreamedResponse(200, (), pieces, len(PIECE))
    answer = await rig.outside.request("HEAD", "/", host="edge-1")
    assert (answer.header("content-length"), answer.body) == (str(len(PIECE)), b"")
    assert pieces.aborted and not pieces.taken
    assert (await rig.outside.request("HEAD", "/", host="edge-1")).status == 200


async def test_a_client_that_waits_is_told_to_go_on_when_its_body_is_wanted(rig: Rig) -> None:
    rig.handler = lambda request: Response(200, (), request.body)
    for host in ("web-1", "edge-1"):
        stream = await rig.raw(
            host,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
        )
        assert bytes(await stream.receive_some()) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send_all(b"hi")
        data = b""
        while not data.endswith(b"\r\n\r\nhi"):
            data += await stream.receive_some()
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_upload_that_is_not_read_ends_the_connection_after_its_answer(rig: Rig) -> None:
    async def refuse(request: Request, via: Via) -> Response:
        return Response(403, (), b"no")

    endpoint = Endpoint("any", refuse, streams=True)
    service = HttpService(rig.world.context("own-1"), lambda request: endpoint)
    await rig.world.serve("own-1", HTTP_PORT, service.serve_stream)
    stream = await rig.raw(
        "own-1",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    )
    data = await read_all(stream)
    assert data.startswith(b"HTTP/1.1 403") and b"connection: close" in data
    assert data.endswith(b"no")


async def test_h11_reads_what_is_streamed(rig: Rig) -> None:
    rig.handler = lambda request: StreamedResponse(200, (), Pieces(b"abc", PIECE))
    client = h11.Connection(h11.CLIENT)
    sent = client.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    assert sent is not None
    stream = await rig.raw("edge-1", sent + (client.send(h11.EndOfMessage()) or b""))
    body = b""
    while True:
        match event := client.next_event():
            case h11.NEED_DATA:
                client.receive_data(bytes(await stream.receive_some()))
            case h11.Data():
                body += bytes(event.data)
            case h11.EndOfMessage():
                break
    assert body == b"abc" + PIECE
