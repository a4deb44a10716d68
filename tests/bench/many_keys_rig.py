"""The processes of the scan and mget benchmarks: three shards of ours, and the clients (uvloop).

`python -m tests.bench.many_keys_rig shards N`, or `fill|mget|scan ADDRESS PORT PROTOCOL [KEYS]`;
each prints one JSON line. Keys and values have one length, so that the client can tell where an
answer of either protocol ends without looking at each item.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
from typing import Any

import msgpack

from tests.bench import say

KEYS = 20_000
MATCHING = KEYS // 10
"""Keys under the prefix that scans ask for."""
PREFIX = "user:"
PAGE = 1000
VALUE = "x" * 16
MGET_CONNECTIONS, SCAN_CONNECTIONS = 50, 4
WARM_UP_S, MEASURE_S = 0.3, 1.5
KEY_BYTES = len("user:00000000")
RESP_KEY = len(b"$13\r\n\r\n") + KEY_BYTES
RESP_VALUE = len(b"$16\r\n\r\n") + len(VALUE)


def key_of(number: int) -> str:
    return f"{PREFIX if number < MATCHING else 'post:'}{number:08}"


# --- our shards --------------------------------------------------------------------------------


async def shards_main(shards: int) -> None:
    import trio

    import emu
    from emu.topology.loading import loads

    text = f"tiers: {{kv: {{kind: kv, public: true, shards: {shards}, replicas: 0, "
    text += "durability: none, coordinators: 1}}"
    async with emu.cluster(loads(text)) as c:
        for _ in range(100):
            try:
                await c.call("kv", "mget", [key_of(number) for number in range(100)])
                break
            except Exception:
                await c.sleep(0.1)
        (row,) = [each for each in await c.ps("kv") if each["kind"] == "kv_router"]
        say(address=row["address"].rpartition(":")[0] or row["address"])
        await trio.sleep_forever()


# --- both protocols ----------------------------------------------------------------------------


class Msgpack:
    """One connection to ours."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.unpacker = msgpack.Unpacker()
        self.msgid = 0

    def request(self, *words: Any) -> bytes:
        self.msgid = (self.msgid + 1) & 0xFFFF
        packed: bytes = msgpack.packb([0, self.msgid, words[0], list(words[1:])])
        return packed

    async def reply(self) -> Any:
        while True:
            for answer in self.unpacker:
                assert answer[2] is None, answer
                return answer[3]
            data = await self.reader.read(1 << 18)
            assert data, "the server left"
            self.unpacker.feed(data)

    async def mget(self, request: bytes, count: int) -> None:
        self.writer.write(request)
        values = await self.reply()
        assert len(values) == count and values[-1] == VALUE

    async def scan(self) -> int:
        cursor, found = "", 0
        while True:
            options = {"prefix": PREFIX, "count": PAGE}
            self.writer.write(self.request("scan", cursor, options))
            page = await self.reply()
            found += len(page["keys"])
            cursor = page["cursor"]
            if not cursor:
                return found

    def mget_request(self, keys: list[str]) -> bytes:
        return self.request("mget", keys)


class Resp:
    """One connection to redis-server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def request(self, *words: Any) -> bytes:
        parts = [b"$%d\r\n%b\r\n" % (len(str(word)), str(word).encode()) for word in words]
        return b"*%d\r\n%b" % (len(parts), b"".join(parts))

    async def reply(self) -> bytes:
        return await self.reader.readline()

    async def mget(self, request: bytes, count: int) -> None:
        self.writer.write(request)
        assert int((await self.reader.readline())[1:]) == count
        values = await self.reader.readexactly(count * RESP_VALUE)
        assert values.endswith(b"x\r\n")

    async def scan(self) -> int:
        cursor, found = b"0", 0
        while True:
            words = ["scan", cursor.decode(), "match", f"{PREFIX}*", "count", PAGE]
            self.writer.write(self.request(*words))
            assert await self.reader.readline() == b"*2\r\n"
            await self.reader.readline()
            cursor = (await self.reader.readline()).strip()
            count = int((await self.reader.readline())[1:])
            await self.reader.readexactly(count * RESP_KEY)
            found += count
            if cursor == b"0":
                return found

    def mget_request(self, keys: list[str]) -> bytes:
        return self.request("mget", *keys)


PROTOCOLS = {"msgpack": Msgpack, "resp": Resp}


# --- the clients -------------------------------------------------------------------------------


async def fill(asker: Msgpack | Resp) -> None:
    for start in range(0, KEYS, 100):
        numbers = range(start, start + 100)
        asker.writer.write(b"".join(asker.request("set", key_of(each), VALUE) for each in numbers))
        for _ in numbers:
            await asker.reply()
    say(keys=KEYS)


async def measured(askers: list[Any], work: Any) -> float:
    """Rounds of `work(asker)` a second, of all connections together."""
    done = 0
    ended = False

    async def repeat(asker: Any) -> None:
        nonlocal done
        while not ended:
            await work(asker)
            done += 1

    tasks = [asyncio.create_task(repeat(each)) for each in askers]
    await asyncio.sleep(WARM_UP_S)
    before, began_s = done, time.perf_counter()
    await asyncio.sleep(MEASURE_S)
    per_s = (done - before) / (time.perf_counter() - began_s)
    ended = True
    await asyncio.gather(*tasks)
    return per_s


async def client_main(work: str, address: str, port: int, protocol: str, count: int) -> None:
    connections = {"fill": 1, "mget": MGET_CONNECTIONS, "scan": SCAN_CONNECTIONS}[work]
    kind = PROTOCOLS[protocol]
    limit = 1 << 20
    askers = [
        kind(*await asyncio.open_connection(address, port, limit=limit)) for _ in range(connections)
    ]
    if work == "fill":
        await fill(askers[0])
        return
    if work == "scan":

        async def scan(asker: Any) -> None:
            assert await asker.scan() == MATCHING

        say(per_s=await measured(askers, scan) * KEYS)
        return
    rng = random.Random(6)
    numbers = [rng.sample(range(KEYS), count) for _ in range(500)]
    requests = itertools.cycle(
        [askers[0].mget_request([key_of(each) for each in some]) for some in numbers]
    )

    async def mget(asker: Any) -> None:
        await asker.mget(next(requests), count)

    say(per_s=await measured(askers, mget))


def main() -> None:
    match sys.argv[1:]:
        case ["shards", count]:
            import trio

            trio.run(shards_main, int(count))
        case [("fill" | "mget" | "scan") as work, address, port, protocol, *rest]:
            import uvloop

            count = int(rest[0]) if rest else 0
            uvloop.run(client_main(work, address, int(port), protocol, count))
        case other:
            sys.exit(f"not understood: {other}")


if __name__ == "__main__":
    main()
