"""The processes of the rpc benchmark: our Service, a bare echo on Trio, and their client (uvloop).

`python -m tests.bench.rpc_rig emu|bare|client ...`; each prints one JSON line.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack

from tests.bench import say

PORT = 7000
PAYLOAD = "x" * 32
FIRST_MSGID = 1 << 16
"""From here on a msgid takes five bytes, so every request is as long as the next."""


async def emu_main() -> None:
    """One node in a live world, with our Service and one plain method."""
    import trio

    from emu.live.world import LiveWorld
    from emu.machine.life import current_life
    from emu.machine.world import MachineSpec
    from nodes.wire.service import Service

    with tempfile.TemporaryDirectory() as folder:
        async with LiveWorld("bench", Path(folder)) as world, trio.open_nursery() as nursery:
            life, ctx = world.machine(MachineSpec("echo-1", "echo", "echo", "", public=True)).boot(
                1
            )
            current_life.set(life)
            service = Service(ctx)
            service.add("echo", lambda call, text: text)
            nursery.start_soon(service.serve, await ctx.network.listen(PORT))
            world.settle()
            say(address=ctx.network.address, port=PORT)
            await trio.sleep_forever()


async def bare_main() -> None:
    """What Trio itself can do with these bytes: read, write back."""
    import trio

    async def echo(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):  # the client has left
            while data := await stream.receive_some(65536):
                await stream.send_all(data)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    say(address="127.0.0.1", port=listener.socket.getsockname()[1])
    await trio.serve_listeners(echo, [listener])


class Client(asyncio.Protocol):
    """Keeps `depth` requests in flight. Answers are told apart by their length, which is fixed."""

    def __init__(self, depth: int) -> None:
        self.requests = [request(FIRST_MSGID + number) for number in range(depth)]
        self.answer_bytes = 0
        self.got = self.answers = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.requests[0])

    def data_received(self, data: bytes) -> None:
        self.got += len(data)
        if not self.answer_bytes:  # the first answer alone says how long they are, and is checked
            assert msgpack.unpackb(data)[3] in (PAYLOAD, [PAYLOAD]), data
            self.answer_bytes = self.got
            self.got = 0
            self.transport.write(b"".join(self.requests))
            return
        done, self.got = divmod(self.got, self.answer_bytes)
        if done:
            self.answers += done
            self.transport.write(b"".join(self.requests[:done]))


def request(msgid: int) -> bytes:
    packed: bytes = msgpack.packb([0, msgid, "echo", [PAYLOAD]])
    return packed


async def client_main(address: str, port: int, connections: int, depth: int, time_s: float) -> None:
    """Print how many answers came a second, after a warm-up of a fifth of the time."""
    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(lambda: Client(depth), address, port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(time_s / 5)
    before, began_s = sum(each.answers for each in made), time.perf_counter()
    await asyncio.sleep(time_s)
    after, ended_s = sum(each.answers for each in made), time.perf_counter()
    say(per_s=(after - before) / (ended_s - began_s))


def main() -> None:
    match sys.argv[1:]:
        case ["emu" | "bare" as which]:
            import trio

            trio.run(emu_main if which == "emu" else bare_main)
        case ["client", address, port, connections, depth, time_s]:
            import uvloop

            run = client_main(address, int(port), int(connections), int(depth), float(time_s))
            uvloop.run(run)
        case other:
            sys.exit(f"not understood: {other}")


if __name__ == "__main__":
    main()
