"""The servers of the edge's benchmark: `python -m tests.bench.edge_rig origin`, and `edge URL`
before it, each in a live world of one machine. They print one JSON line.
"""

from __future__ import annotations

import sys
from typing import Final

import trio

from emu.machine.world import MachineSpec
from nodes.base import HTTP_PORT, Context
from nodes.cdn.config import CdnConfig
from nodes.cdn.node import CdnNode
from nodes.kind import HTTP
from nodes.wire.accepting import accept_forever
from nodes.wire.http_server import Endpoint, HttpService, Via
from protocols.http.message import Request, Response
from tests.bench.http_rig import serve

BODY: Final = b"x" * 1024
HEADERS: Final = (("content-type", "text/plain"), ("cache-control", "max-age=3600"))


class OriginNode:
    """Answers everything alike."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        async def answer(request: Request, via: Via) -> Response:
            return Response(200, HEADERS, BODY)

        endpoint = Endpoint("origin", answer)
        service = HttpService(self.ctx, lambda request: endpoint)
        listener = await self.ctx.network.listen(HTTP_PORT)
        task_status.started()
        await accept_forever(self.ctx, listener, service.serve_stream)


async def main(what: str, origin: str = "") -> None:
    address = origin.removeprefix("http://").rstrip("/")
    host, _, port = address.partition(":")
    outside = ((host, int(port)),) if address else ()
    spec = MachineSpec("edge-1", "edge", what, "here", (HTTP,), public=True, outside=outside)
    if address:
        await serve(spec, lambda ctx: CdnNode(ctx, CdnConfig(origin=f"http://{address}")))
    else:
        await serve(spec, OriginNode)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
