"""A tiny world in memory for tests of one tier: named machines, memory streams, trio's own clock.

Use it with pytest-trio's `autojump_clock`; the real two worlds live in emu/.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from trio.testing import memory_stream_pair

from nodes.base import DIRECTORY_HOST, NO_RANK, OPERATE, RPC_PORT, Listener, Peer, Stream
from nodes.metrics import Metrics
from nodes.wire.service import Call, Service
from protocols import control
from protocols.control import Member


class MemoryStream(Stream):
    """One end of a trio memory stream that knows its peer; `abort` breaks both ends."""

    def __init__(self, inner: Any, peer: Peer) -> None:
        self.inner = inner
        self.peer = peer
        self.other: MemoryStream
        self.broken = False

    async def send_all(self, data: Any) -> None:
        self._check()
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self._check()
        data = await self.inner.receive_some(max_bytes)
        self._check()
        return data  # type: ignore[no-any-return]

    async def send_eof(self) -> None:
        self._check()
        await self.inner.send_eof()

    async def aclose(self) -> None:
        await self.inner.aclose()

    def abort(self) -> None:
        self.other.broken = True
        self.inner.send_stream.close()
        self.inner.receive_stream.close()

    def has_arrived(self) -> bool:
        return self.broken

    def _check(self) -> None:
        if self.broken:
            raise trio.BrokenResourceError("reset by peer")


class MemoryListener(Listener):
    def __init__(self, world: MemoryWorld, key: tuple[str, int]) -> None:
        self.world = world
        self.key = key
        self.port = key[1]
        self.put, self.take = trio.open_memory_channel[Stream](1000)

    async def accept(self) -> Stream:
        return await self.take.receive()

    async def aclose(self) -> None:
        self.world.listeners.pop(self.key, None)
        await trio.lowlevel.checkpoint()


class MemoryDatagrams:
    def __init__(self, world: MemoryWorld, peer: Peer) -> None:
        self.world = world
        self.peer = peer
        self.put, self.take = trio.open_memory_channel[tuple[bytes, Peer]](1000)
        world.datagrams[peer.address, peer.port] = self

    async def send_to(self, data: bytes, address: str, port: int) -> None:
        await trio.lowlevel.checkpoint()
        socket = self.world.datagrams.get((address, port))
        if socket is not None and not self.world.loses(data):
            socket.put.send_nowait((data, self.peer))

    async def receive_from(self) -> tuple[bytes, Peer]:
        return await self.take.receive()

    def close(self) -> None:
        self.world.datagrams.pop((self.peer.address, self.peer.port), None)


class MemoryNetwork:
    def __init__(self, world: MemoryWorld, name: str) -> None:
        self.world = world
        self.name = name
        self.address = world.address_of(name)

    def after_arrivals(self, call: Callable[[], object]) -> None:
        call()

    async def open_stream(self, host: str, port: int) -> Stream:
        await trio.lowlevel.checkpoint()
        host = self.world.names.get(host, host)
        if host in self.world.black_holes:
            await trio.sleep_forever()
        listener = self.world.listeners.get((host, port))
        if listener is None:
            raise ConnectionRefusedError(f"{host}:{port}")
        near, far = memory_stream_pair()
        self.world.last_port += 1
        mine = MemoryStream(near, Peer(host, self.world.address_of(host), port))
        rights = self.world.rights.get(self.name, (OPERATE,))
        theirs = MemoryStream(far, Peer(self.name, self.address, self.world.last_port, rights))
        mine.other, theirs.other = theirs, mine
        listener.put.send_nowait(theirs)
        return mine

    async def listen(self, port: int) -> Listener:
        await trio.lowlevel.checkpoint()
        listener = self.world.listeners[self.name, port] = MemoryListener(
            self.world, (self.name, port)
        )
        return listener

    async def open_datagram(self, port: int = 0) -> MemoryDatagrams:
        await trio.lowlevel.checkpoint()
        self.world.last_port += 1
        return MemoryDatagrams(
            self.world, Peer(self.name, self.address, port or self.world.last_port)
        )


class MemoryTimer:
    def __init__(self) -> None:
        self.scope = trio.CancelScope()

    def cancel(self) -> None:
        self.scope.cancel()


class MemoryClock:
    """Virtual seconds: trio's autojump clock."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.withheld_s = 0.0

    def monotonic_s(self) -> float:
        return trio.current_time()

    def outside_s(self) -> float:
        return trio.current_time() + self.withheld_s

    def wall_s(self) -> float:
        return 1.7e9 + trio.current_time()

    def cpu_s(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def call_at(self, monotonic_s: float, callback: Callable[[], object]) -> MemoryTimer:
        timer = MemoryTimer()

        async def wait() -> None:
            with timer.scope:
                await trio.sleep_until(monotonic_s)
                callback()

        self.nursery.start_soon(wait)
        return timer


class MemoryCpu:
    cores = 0

    async def run(
        self,
        cost_s: float | None = None,
        *,
        expires_at_s: float | None = None,
        rank: int = NO_RANK,
    ) -> None:
        await trio.lowlevel.checkpoint()


class MemoryLog:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, /, **fields: Any) -> None:
        self.events.append((event, fields))

    debug = warning = error = info

    def names(self) -> list[str]:
        return [event for event, _ in self.events]


class MemoryContext:
    """A nodes.base.Context without disk and history."""

    def __init__(self, world: MemoryWorld, name: str, region: str = "us-east") -> None:
        self.name = name
        self.tier = self.kind = name.partition("-")[0]
        self.region = region
        self.generation = 1
        self.run = ""
        self.network = MemoryNetwork(world, name)
        self.disk: Any = None
        self.clock = MemoryClock(world.nursery)
        self.cpu = MemoryCpu()
        self.metrics = Metrics({"node": name})
        self.log = MemoryLog()
        self.access: Any = None
        self.history: Any = None
        self.states: list[str] = []
        self.reached = self.states.append

    def rng(self, name: str) -> random.Random:
        return random.Random(f"test/{self.name}/{name}")

    def rare(self, name: str) -> bool:
        return False


class MemoryWorld:
    """Machines by name; `directory` lists tiers once `serve_directory` was called."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.listeners: dict[tuple[str, int], MemoryListener] = {}
        self.datagrams: dict[tuple[str, int], MemoryDatagrams] = {}
        self.names: dict[str, str] = {}
        """IP address -> name."""
        self.addresses: dict[str, str] = {}
        self.black_holes: dict[str, None] = {}
        self.rights: dict[str, tuple[str, ...]] = {}
        """Of whom to whatever it dials; of all others OPERATE."""
        self.last_port = 40000
        self.loses: Callable[[bytes], bool] = lambda data: False
        self.tiers: dict[str, dict[str, Member]] = {}
        self.versions: dict[str, int] = {}
        self.changed = trio.Event()

    def address_of(self, name: str) -> str:
        if name not in self.addresses:
            self.addresses[name] = f"127.9.0.{len(self.addresses) + 1}"
            self.names[self.addresses[name]] = name
        return self.addresses[name]

    def context(self, name: str, region: str = "us-east") -> Any:
        return MemoryContext(self, name, region)

    async def start(self, node: Any) -> trio.CancelScope:
        """Run a node; cancel the scope to end it."""
        scope = trio.CancelScope()

        async def run(task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
            with scope:
                await node.run(task_status=task_status)

        await self.nursery.start(run)
        return scope

    async def serve(
        self, name: str, port: int, handle: Callable[[Stream], Awaitable[None]]
    ) -> trio.CancelScope:
        """Answer each connection to `name` with `handle`; cancelling refuses further ones."""
        listener = await self.context(name).network.listen(port)
        scope = trio.CancelScope()

        async def one(stream: Stream) -> None:
            try:
                async with stream:
                    await handle(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        async def accept() -> None:
            with scope:
                async with trio.open_nursery() as nursery:
                    while True:
                        nursery.start_soon(one, await listener.accept())
            if self.listeners.get((name, port)) is listener:
                del self.listeners[name, port]

        self.nursery.start_soon(accept)
        return scope

    # --- the directory -----------------------------------------------------------------------

    async def serve_directory(self) -> None:
        service = Service(self.context(DIRECTORY_HOST))

        async def watch(call: Call, tier: str, known: int, wait_ms: int) -> list[Any]:
            with trio.move_on_after(wait_ms / 1000):
                while self.versions.get(tier, 0) == known:
                    await self.changed.wait()
            members = self.tiers.get(tier, {}).values()
            return [self.versions.get(tier, 0), [each.to_wire() for each in members]]

        service.add(control.WATCH, watch)
        await self.serve(DIRECTORY_HOST, RPC_PORT, service.serve_stream)

    def list_member(self, name: str, port: int, region: str = "us-east", **fields: Any) -> None:
        tier = fields.pop("tier", name.partition("-")[0])
        fields = {"ready": True, "kind": tier, **fields}
        address = self.address_of(name)
        self.tiers.setdefault(tier, {})[name] = Member(
            name=name, tier=tier, region=region, address=address, port=port, **fields
        )
        self._bump(tier)

    def unlist_member(self, name: str) -> None:
        tier = name.partition("-")[0]
        del self.tiers[tier][name]
        self._bump(tier)

    def _bump(self, tier: str) -> None:
        self.versions[tier] = self.versions.get(tier, 0) + 1
        changed, self.changed = self.changed, trio.Event()
        changed.set()
