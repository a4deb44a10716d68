"""The servers of the HTTP benchmark: `python -m tests.bench.http_rig hello|page` is ours, in a live
world of one machine, and prints one JSON line; `hello` is the same answer for uvicorn (ASGI)."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import trio

from emu.live.world import LiveWorld
from emu.machine.life import current_life
from emu.machine.world import MachineSpec
from nodes.base import HTTP_PORT, Context
from nodes.kind import HTTP
from nodes.web import WebConfig, WebNode
from nodes.wire.accepting import accept_forever
from nodes.wire.http_server import Endpoint, HttpService, Via
from protocols.http.message import Request, Response
from tests.bench import say

BODY: Final = b"Hello, world!"
TEXT: Final = ("content-type", "text/plain; charset=utf-8")


class HelloNode:
    """Answers everything alike, at once, as the site does its style sheet."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        def answer(request: Request, via: Via) -> Response:
            return Response(200, (TEXT,), BODY)

        endpoint = Endpoint("hello", answer, at_once=True)
        service = HttpService(self.ctx, lambda request: endpoint)
        listener = await self.ctx.network.listen(HTTP_PORT)
        task_status.started()
        await accept_forever(self.ctx, listener, service.serve_stream)


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """For uvicorn."""
    headers = [(TEXT[0].encode(), TEXT[1].encode()), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


async def serve(spec: MachineSpec, make: Callable[[Context], Any]) -> None:
    """Its node in a live world of one machine, until the end; where it listens is said."""
    with tempfile.TemporaryDirectory() as folder:
        async with LiveWorld("bench", Path(folder)) as world, trio.open_nursery() as nursery:
            life, ctx = world.machine(spec).boot(1)
            node = make(ctx)

            async def run(task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
                current_life.set(life)
                with life.scope:
                    await node.run(task_status=task_status)

            await nursery.start(run)
            world.settle()
            say(endpoint=world.endpoint(spec.name, HTTP_PORT))
            await trio.sleep_forever()


async def main(what: str) -> None:
    spec = MachineSpec("web-1", "web", "web", "here", (HTTP,), public=True)
    await serve(spec, HelloNode if what == "hello" else lambda ctx: WebNode(ctx, WebConfig()))


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
