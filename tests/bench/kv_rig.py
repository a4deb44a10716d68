"""The processes of the KV benchmark: one shard of ours, and the clients (uvloop).

`python -m tests.bench.kv_rig emu DURABILITY ACK MEMBERS LINK_MS`, `bare` or `client ADDRESS PORT
PROTOCOL DEPTH WORK`; each prints one JSON line. Both protocols' answers are parsed one by one.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack

from tests.bench import bare, say

CONNECTIONS = 50
KEYS = 10_000
VALUE = "x" * 16
WARM_UP_S, MEASURE_S = 0.3, 1.0


# --- our shard ---------------------------------------------------------------------------------


async def emu_main(durability: str, ack: str, members: int, link_ms: float) -> None:
    """A shard of so many members; says where its primary is."""
    import trio

    from emu.live.world import LiveWorld
    from emu.machine.life import current_life
    from emu.machine.links import Slow
    from emu.machine.world import MachineSpec
    from emu.running.directory import DirectoryNode, Listing, Membership
    from nodes.base import DIRECTORY_HOST, OUTSIDE
    from nodes.kv.shard import KvShardConfig, KvShardNode
    from protocols.control import Member

    async def boot(world: LiveWorld, spec: MachineSpec, node: Any, config: Any) -> Any:
        life, ctx = world.machine(spec).boot(1)
        made = node(ctx, config)

        async def run(task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
            current_life.set(life)
            with life.scope:
                await made.run(task_status=task_status)

        await nursery.start(run)
        return made

    with tempfile.TemporaryDirectory() as folder:
        async with LiveWorld("bench", Path(folder)) as world, trio.open_nursery() as nursery:
            names = [f"kv-{number}" for number in range(1, members + 1)]
            specs = [MachineSpec(name, "kv", "kv_shard", "here", public=True) for name in names]
            if link_ms:
                ends = frozenset({OUTSIDE}), frozenset(names)
                world.links.add(Slow(*ends, latency_s=link_ms / 1000))
            known = Membership()
            for spec in specs:
                address = world.machine(spec).address
                known.put(Member(spec.name, "kv", "kv_shard", "here", address, 7000, True))
            directory = MachineSpec(DIRECTORY_HOST, DIRECTORY_HOST, DIRECTORY_HOST, "")
            await boot(world, directory, DirectoryNode, Listing(known))
            synced_s = 1.0 if durability == "log" else 0.0
            config = KvShardConfig(durability=durability, ack=ack, sync_interval_s=synced_s)
            shards = [await boot(world, spec, KvShardNode, config) for spec in specs]
            world.settle()
            for _ in range(100):
                if any(each.engine.is_primary and each.state.founded for each in shards):
                    break
                await trio.sleep(0.1)
            (primary,) = [each.ctx.network.address for each in shards if each.engine.is_primary]
            say(address=primary)
            await trio.sleep_forever()


# --- the most that Python can ------------------------------------------------------------------


def bare_main() -> None:
    """A dict."""
    held: dict[str, Any] = {}
    pack = msgpack.Packer().pack
    for asked in bare.rounds(CONNECTIONS):
        for sock, unpacker in asked:
            answers = []
            for _, msgid, name, params in unpacker:
                if name == "set":
                    held[params[0]] = params[1]
                    answers.append(pack((1, msgid, None, True)))
                else:
                    answers.append(pack((1, msgid, None, held.get(params[0]))))
            with suppress(ConnectionResetError, BrokenPipeError):
                sock.sendall(b"".join(answers))


# --- the clients -------------------------------------------------------------------------------


def requests_of(protocol: str, depth: int, work: str) -> list[bytes]:
    """Batches of `depth` requests."""
    pack = msgpack.Packer().pack

    def one(number: int) -> bytes:
        words = ["set", f"key:{number % KEYS}", VALUE] if work == "set" else [
            "get", f"key:{number % KEYS}"]  # fmt: skip
        if protocol == "msgpack":
            return pack([0, number & 0xFFFF, words[0], words[1:]])
        parts = [b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words]
        return b"*%d\r\n%b" % (len(parts), b"".join(parts))

    return [b"".join(one(at * depth + n) for n in range(depth)) for at in range(1000)]


class Client(asyncio.Protocol):
    """`depth` requests in flight: the next batch leaves when all of one are answered."""

    def __init__(self, protocol: str, depth: int, batches: list[bytes]) -> None:
        self.count = self._count_msgpack if protocol == "msgpack" else self._count_resp
        self.depth = self.left = depth
        self.batches = itertools.cycle(batches)
        self.unpacker = msgpack.Unpacker()
        self.held = b""
        self.answers = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(next(self.batches))

    def data_received(self, data: bytes) -> None:
        found = self.count(data)
        self.answers += found
        self.left -= found
        if self.left <= 0:
            self.left = self.depth
            self.transport.write(next(self.batches))

    def _count_msgpack(self, data: bytes) -> int:
        self.unpacker.feed(data)
        found = 0
        for answer in self.unpacker:
            assert answer[2] is None, answer
            found += 1
        return found

    def _count_resp(self, data: bytes) -> int:
        data = self.held + data
        at = found = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            after = end + 2
            if data[at] == 36 and data[at + 1] != 45:
                after += int(data[at + 1 : end]) + 2
            if after > len(data):
                break
            at, found = after, found + 1
        self.held = data[at:]
        return found


async def client_main(address: str, port: int, protocol: str, depth: int, work: str) -> None:
    batches = requests_of(protocol, depth, work)
    await measure(address, port, lambda: Client(protocol, depth, batches))


async def measure(address: str, port: int, make: Callable[[], Client]) -> None:
    """Print how much was answered a second, after a warm-up, which fills the keys."""
    loop = asyncio.get_running_loop()
    made = [(await loop.create_connection(make, address, port))[1] for _ in range(CONNECTIONS)]
    await asyncio.sleep(WARM_UP_S)
    before, began_s = sum(each.answers for each in made), time.perf_counter()
    await asyncio.sleep(MEASURE_S)
    after, ended_s = sum(each.answers for each in made), time.perf_counter()
    say(per_s=(after - before) / (ended_s - began_s))


def main() -> None:
    match sys.argv[1:]:
        case ["emu", durability, ack, members, link_ms]:
            import trio

            trio.run(emu_main, durability, ack, int(members), float(link_ms))
        case ["bare"]:
            bare_main()
        case ["client", address, port, protocol, depth, work]:
            import uvloop

            uvloop.run(client_main(address, int(port), protocol, int(depth), work))
        case other:
            sys.exit(f"not understood: {other}")


if __name__ == "__main__":
    main()
