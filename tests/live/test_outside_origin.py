"""An edge before a server that is no machine of the cluster: `origin: http://127.0.0.1:PORT`."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import emu
from emu.topology.loading import loads

pytestmark = [pytest.mark.slow, pytest.mark.alone]
ANSWER = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello"


async def ask(url: str, path: str) -> bytes:
    """The answer as it comes, without its end being known: the connection closes behind it."""
    host, _, port = url.removeprefix("http://").strip("/").partition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(
            f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
        )
        found = b""
        while data := await stream.receive_some():
            found += data
        return found


async def test_an_edge_stands_before_a_server_of_the_users_own_and_outlives_it() -> None:
    asked: list[bytes] = []

    async def origin(stream: Any) -> None:
        while data := await stream.receive_some():
            asked.append(data)
            await stream.send_all(ANSWER)

    lives = trio.CancelScope()

    async def serve(*, task_status: trio.TaskStatus[Any]) -> None:
        with lives:
            await trio.serve_tcp(origin, 0, host="127.0.0.1", task_status=task_status)

    async with trio.open_nursery() as nursery:
        listeners: Any = await nursery.start(serve)
        port = listeners[0].socket.getsockname()[1]
        text = f"tiers: {{edge: {{kind: cdn, public: true, origin: 'http://127.0.0.1:{port}'}}}}"
        with trio.fail_after(30):
            async with emu.cluster(loads(text)) as c:
                url = await c.url("edge")
                assert (await ask(url, "/a")).endswith(b"hello")
                assert b"; hit; " in await ask(url, "/a")
                assert len(asked) == 1
                lives.cancel()
                assert b"; hit; " in await ask(url, "/a")


async def test_an_edge_dials_no_other_place_outside() -> None:
    text = "tiers: {edge: {kind: cdn, public: true, origin: 'http://127.0.0.1:9'}}"
    with trio.fail_after(30):
        async with emu.cluster(loads(text)) as c:
            assert b" 503 " in (await ask(await c.url("edge"), "/a")).split(b"\r\n")[0]
