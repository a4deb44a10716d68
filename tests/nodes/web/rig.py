"""One web node in memory, its store, and a client from outside."""

from __future__ import annotations

import json
from typing import Any

import trio

from nodes.base import HTTP_PORT
from nodes.web import WebConfig, WebNode
from nodes.wire.http_client import HttpClient
from protocols.http.message import Response
from tests.nodes.harness import MemoryWorld
from tests.nodes.sql.store import SqlStore


class Web:
    """A web node, its store, and a client from outside."""

    def __init__(self, world: MemoryWorld, nursery: trio.Nursery) -> None:
        self.world = world
        self.nursery = nursery
        self.sql = SqlStore()
        self.outside = world.context("outside")
        self.client = HttpClient(self.outside)
        self.node: WebNode

    async def start(self, **config: Any) -> WebNode:
        async def open_store(*_: Any) -> SqlStore:
            return self.sql

        self.node = WebNode(self.world.context("web-1"), WebConfig(**config), open_store=open_store)
        await self.world.start(self.node)
        await trio.testing.wait_all_tasks_blocked()
        return self.node

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
        data = b""
        if body is not None:
            data = json.dumps(body).encode()
            sent.append(("content-type", "application/json"))
        return await self.client.request(
            method, path, host="web-1", headers=sent, body=data, timeout_s=60
        )

    async def get(self, path: str, **headers: str) -> Response:
        return await self.ask("GET", path, **headers)

    async def json(self, path: str) -> Any:
        return json.loads((await self.get(path)).body)

    async def raw(self, *chunks: bytes, end: bool = False) -> bytes:
        """Send bytes as they are; what comes back until the node closes (or is silent for 60 s)."""
        stream = await self.outside.network.open_stream("web-1", HTTP_PORT)
        answer = b""
        with trio.move_on_after(60):
            try:
                for chunk in chunks:
                    await stream.send_all(chunk)
                    await trio.testing.wait_all_tasks_blocked()
                if end:
                    await stream.send_eof()
                while data := await stream.receive_some():
                    answer += data
            except trio.BrokenResourceError:
                pass
        await trio.aclose_forcefully(stream)
        return answer
