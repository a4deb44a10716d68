"""An edge in memory, an origin that answers what a test says, and a client from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from nodes.base import HTTP_PORT, OUTSIDE, Stream
from nodes.cdn.config import CdnConfig
from nodes.cdn.node import CdnNode
from nodes.wire.http_client import HttpClient
from nodes.wire.http_server import Endpoint, HttpService, Via
from protocols.http.message import Request, Response
from tests.nodes.harness import MemoryWorld

EDGE = "edge-1"
ORIGIN = "origin-1"
FRESH = ("cache-control", "max-age=60")


class MemoryDisk:
    """Files that outlive the node, all of it synced at once."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.fails = False
        self.syncs = 0
        self.sync_s = 0.0

    def names(self) -> list[str]:
        return sorted(self.files)

    def append(self, name: str, data: bytes) -> int:
        file = self.files.setdefault(name, bytearray())
        file += data
        return len(file)

    async def sync(self, name: str) -> None:
        await trio.sleep(self.sync_s)
        if self.fails:
            raise OSError("EIO")
        self.syncs += 1

    async def read(self, name: str, offset: int = 0, size_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return bytes(self.files[name][offset:])

    async def truncate(self, name: str, size_bytes: int) -> None:
        await trio.lowlevel.checkpoint()
        del self.files[name][size_bytes:]

    async def rename(self, old: str, new: str) -> None:
        await trio.lowlevel.checkpoint()
        self.files[new] = self.files.pop(old)

    async def remove(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        del self.files[name]


class Origin:
    """`answer` is what it answers: a Response, or what makes one of a Request."""

    def __init__(self, world: MemoryWorld, name: str = ORIGIN) -> None:
        self.world = world
        self.name = name
        self.requests: list[Request] = []
        self.answer: Response | Callable[[Request], Response] = Response(200, (FRESH,), b"one")
        self.delay_s = 0.0
        self.peers: list[str] = []
        self._http = HttpService(world.context(name), lambda request: self._endpoint)
        self._endpoint = Endpoint("any", self._handle)
        self._scope: trio.CancelScope | None = None

    async def start(self) -> None:
        self._scope = await self.world.serve(self.name, HTTP_PORT, self._http.serve_stream)

    async def serve(self, stream: Stream) -> None:
        """A connection that it was not dialled for by its name."""
        await self._http.serve_stream(stream)

    async def stop(self) -> None:
        """It refuses connections, and those that there are break."""
        assert self._scope is not None
        self._scope.cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def _handle(self, request: Request, via: Via) -> Response:
        self.requests.append(request)
        self.peers.append(via.peer)
        answer = self.answer
        if self.delay_s:
            await trio.sleep(self.delay_s)
        return answer if isinstance(answer, Response) else answer(request)

    @property
    def asked(self) -> int:
        return len(self.requests)

    @property
    def connections(self) -> int:
        return self._http.draining.connections


class Cdn:
    """An edge before an origin. `restart` begins its next generation, with its disk."""

    def __init__(self, world: MemoryWorld, name: str = EDGE) -> None:
        self.world = world
        self.name = name
        self.origin = Origin(world)
        self.outside = world.context(OUTSIDE)
        self.client = HttpClient(self.outside, agent="")
        self.disk = MemoryDisk()
        self.node: CdnNode
        self._scope: trio.CancelScope | None = None
        self._config = CdnConfig(origin="origin")

    async def start(self, **config: Any) -> CdnNode:
        await self.world.serve_directory()
        await self.origin.start()
        self.world.list_member(ORIGIN, HTTP_PORT)
        return await self.begin(**config)

    async def begin(self, **config: Any) -> CdnNode:
        """This edge alone."""
        self._config = CdnConfig(**{"origin": "origin", **config})
        await self.restart()
        return self.node

    async def restart(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            self.client.close()
        context = self.world.context(self.name)
        context.disk = self.disk
        self.node = CdnNode(context, self._config)
        self._scope = await self.world.start(self.node)

    async def ask(
        self, method: str, path: str, body: bytes = b"", host: str = "site", **headers: str
    ) -> Response:
        sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return await self.client.request(
            method, path, host=self.name, host_header=host, headers=sent, body=body, timeout_s=60
        )

    async def get(self, path: str = "/", **headers: str) -> Response:
        return await self.ask("GET", path, **headers)

    def beside(self, nursery: trio.Nursery, path: str, times: int = 1) -> list[Response]:
        """Ask so often at a time, each in a task of its own; the answers, once they come."""
        answers: list[Response] = []

        async def ask() -> None:
            answers.append(await self.get(path))

        for _ in range(times):
            nursery.start_soon(ask)
        return answers

    async def raw(self, *chunks: bytes) -> bytes:
        """Send bytes as they are; what comes back until the node closes, or is silent."""
        stream = await self.outside.network.open_stream(self.name, HTTP_PORT)
        answer = b""
        with trio.move_on_after(60):
            for chunk in chunks:
                await stream.send_all(chunk)
            while data := await stream.receive_some():
                answer += data
        return answer


def status_of(response: Response) -> str:
    """The word that its Cache-Status begins its detail with: HIT, MISS ..."""
    told = response.header("cache-status") or ""
    return told.rpartition('detail="')[2].partition(":")[0]
