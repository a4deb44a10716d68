"""When a new server, or one that was started anew, gets its first connection."""

from __future__ import annotations

from typing import Any

import trio

from nodes.base import Stream
from tests.nodes.balancer.test_balancer import PORT, rig


class Starting:
    """A server that answers checks with 503 until it is ready, and counts its clients."""

    def __init__(self) -> None:
        self.ready = False
        self.clients = 0

    async def __call__(self, stream: Stream) -> None:
        first = await stream.receive_some()
        if first.startswith(b"GET /health"):
            status = b"200 OK" if self.ready else b"503 Service Unavailable"
            await stream.send_all(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        else:
            self.clients += 1
            await stream.send_all(b"pong")


DOWN_AT_FIRST = {
    "check": "http", "check_path": "/health", "init_state": "down", "check_fast_interval_s": 0.5,
    "check_interval_s": 10.0, "check_jitter_ratio": 0.0,
}  # fmt: skip


async def test_a_server_that_starts_down_waits_for_its_first_passed_check(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        old, new = Starting(), Starting()
        old.ready = True
        await r.add("web-1", old)
        await r.balance(**DOWN_AT_FIRST)
        await trio.sleep(1)
        await r.add("web-2", new)
        await trio.sleep(3)
        assert await r.states() == {"web-1": "ready", "web-2": "down"}
        new.ready = True
        await trio.sleep(0.11)
        assert await r.states() == {"web-1": "ready", "web-2": "ready"}


async def test_a_new_generation_is_looked_at_before_it_is_used(autojump_clock: Any) -> None:
    async with rig() as r:
        server = Starting()
        server.ready = True
        await r.add("web-1", server)
        await r.balance(**DOWN_AT_FIRST)
        await trio.sleep(1)
        server.ready = False
        r.world.list_member("web-1", PORT, generation=2)
        await trio.sleep(3)
        assert await r.states() == {"web-1": "down"}
        server.ready = True
        await trio.sleep(0.11)
        assert await r.states() == {"web-1": "ready"}


async def test_without_checks_a_server_is_used_at_once(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("web-1")
        await r.balance(check="none", init_state="down")
        assert await r.states() == {"web-1": "ready"}
