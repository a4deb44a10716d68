"""The processes of the balancer benchmark: our balancer, a backend, and the clients (uvloop).

`python -m tests.bench.balancer_rig emu|backend|client ...`; each prints one JSON line. A
connection's first byte says what the backend does: `e` echo, `b` send for ever.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench import say

PORT = 8080
REQUEST = b"e" + bytes(63)
CHUNK = bytes(256 * 1024)


# --- our balancer ------------------------------------------------------------------------------


async def emu_main(link_ms: float) -> None:
    """A live world with a directory and one balancer; the backend is another process."""
    import trio

    from emu.live.world import LiveWorld
    from emu.machine.life import current_life
    from emu.machine.links import Slow
    from emu.machine.world import MachineSpec
    from emu.running.directory import DirectoryNode, Listing, Membership
    from nodes.balancer.config import BalancerConfig
    from nodes.balancer.node import BalancerNode
    from nodes.base import DIRECTORY_HOST
    from nodes.kind import HTTP
    from protocols.control import Member

    async def boot(world: LiveWorld, spec: MachineSpec, node: Any, config: Any) -> None:
        life, ctx = world.machine(spec).boot(1)

        async def run(task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
            current_life.set(life)
            with life.scope:
                await node(ctx, config).run(task_status=task_status)

        await nursery.start(run)

    with tempfile.TemporaryDirectory() as folder:
        async with LiveWorld("bench", Path(folder)) as world, trio.open_nursery() as nursery:
            if link_ms:
                world.links.add(
                    Slow(frozenset({"lb-1"}), frozenset({"web-1"}), latency_s=link_ms / 1000)
                )
            web = world.machine(MachineSpec("web-1", "web", "web", "here", (HTTP,)))
            members = Membership()
            members.put(Member("web-1", "web", "web", "here", web.address, PORT, True))
            directory = MachineSpec(DIRECTORY_HOST, DIRECTORY_HOST, DIRECTORY_HOST, "")
            await boot(world, directory, DirectoryNode, Listing(members))
            spec = MachineSpec(
                "lb-1", "lb", "balancer", "here", (HTTP,), public=True, dials=("web",)
            )
            await boot(world, spec, BalancerNode, BalancerConfig("web", check="none"))
            world.settle()
            say(lb=world.machine(spec).address, web=web.address)
            await trio.sleep_forever()


# --- the backend and the clients -----------------------------------------------------------------


class Backend(asyncio.Protocol):
    """Echoes, or sends until the client leaves."""

    bulk: bool | None = None
    ready = True

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.bulk is None:
            self.bulk = data[:1] == b"b"
            if self.bulk:
                self.send()
                return
        if not self.bulk:
            self.transport.write(data)

    def send(self) -> None:
        while self.ready and not self.transport.is_closing():
            self.transport.write(CHUNK)

    def pause_writing(self) -> None:
        self.ready = False

    def resume_writing(self) -> None:
        self.ready = True
        if self.bulk:
            self.send()


class EchoClient(asyncio.Protocol):
    """One request in flight at a time."""

    answers = 0
    got = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self.got += len(data)
        if self.got >= len(REQUEST):
            self.got -= len(REQUEST)
            self.answers += 1
            self.transport.write(REQUEST)

    @property
    def done(self) -> float:
        return self.answers


class BulkClient(asyncio.BufferedProtocol):
    """Counts what comes, in megabytes."""

    received = 0

    def __init__(self) -> None:
        self.buffer = bytearray(512 * 1024)

    def connection_made(self, transport: Any) -> None:
        transport.write(b"b")

    def get_buffer(self, size_hint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.received += count

    @property
    def done(self) -> float:
        return self.received / 1e6


async def backend_main(address: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Backend, address, PORT)
    say(listening=f"{address}:{PORT}")
    await server.serve_forever()


async def client_main(address: str, port: int, work: str, connections: int, time_s: float) -> None:
    """Print how much was done a second, after a warm-up of a fifth of the time."""
    loop = asyncio.get_running_loop()
    kind: Any = EchoClient if work == "small" else BulkClient
    made = [(await loop.create_connection(kind, address, port))[1] for _ in range(connections)]
    await asyncio.sleep(time_s / 5)
    before, started_s = sum(each.done for each in made), time.perf_counter()
    await asyncio.sleep(time_s)
    after, ended_s = sum(each.done for each in made), time.perf_counter()
    say(per_s=(after - before) / (ended_s - started_s))


def main() -> None:
    match sys.argv[1:]:
        case ["emu", link_ms]:
            import trio

            trio.run(emu_main, float(link_ms))
        case ["backend", address]:
            import uvloop

            uvloop.run(backend_main(address))
        case ["client", address, port, work, connections, time_s]:
            import uvloop

            uvloop.run(client_main(address, int(port), work, int(connections), float(time_s)))
        case other:
            sys.exit(f"not understood: {other}")


if __name__ == "__main__":
    main()
