"""The processes of the commit benchmark: our database group, and the clients (uvloop).

`python -m tests.bench.commit_rig emu LINK_MS` or `client PROTOCOL ADDRESS PORT CLIENTS TIME_S`;
each prints one JSON line. A commit is one INSERT of a row; every answer is parsed. Both protocols
are spoken by the same few lines, with one transaction in flight per connection.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgpack

from protocols.errors import RpcError
from tests.bench import say

CREATE: Final = "CREATE TABLE bench (id BIGINT NOT NULL PRIMARY KEY, v TEXT)"
READ: Final = ("query", "SELECT 1", [], {"primary": True})
VALUE: Final = "x" * 64
WARM_UP_S, WARM_UP_SHARE = 0.5, 0.25
TICK_S: Final = 0.05
TOPOLOGY: Final = """
name: bench-commit
{links}
tiers:
  db:
    kind: database
    nodes: 3
    ack: quorum
    detection_timeout: 3s
    public: true
    disk: {{sync: real}}
"""


# --- our group ---------------------------------------------------------------------------------


async def emu_main(link_ms: float) -> None:
    import trio

    import emu
    from emu.topology.loading import loads

    links = f"links: {{defaults: {{within: {link_ms}ms}}}}" if link_ms else ""
    async with emu.cluster(loads(TOPOLOGY.format(links=links))) as c:
        primary = await primary_of(c)
        await c.call(primary["name"], "write", [[CREATE]])
        say(**primary)
        await trio.sleep_forever()


async def primary_of(c: Any, tier: str = "db", probe: Sequence[Any] = READ) -> dict[str, Any]:
    """Where the primary listens, once there is one that serves."""
    while True:
        for row in await c.ps(tier):
            if row["role"] == "primary":
                with suppress(RpcError):
                    await c.call(row["name"], *probe)
                    address, _, port = row["address"].rpartition(":")
                    return {"name": row["name"], "address": address, "port": int(port)}
        await c.sleep(0.1)


# --- the clients -------------------------------------------------------------------------------


class Msgpack:
    """Our wire: one `write` per commit."""

    hello: Final = b""
    greetings: Final = 0

    def __init__(self) -> None:
        self._pack = msgpack.Packer().pack
        self._unpacker = msgpack.Unpacker()

    def insert(self, number: int) -> bytes:
        statement = ["INSERT INTO bench VALUES (?, ?)", [number, VALUE]]
        packed: bytes = self._pack([0, number & 0xFFFF, "write", [[statement]]])
        return packed

    def feed(self, data: bytes) -> int:
        """How many commits (or greetings) these bytes end."""
        self._unpacker.feed(data)
        found = 0
        for answer in self._unpacker:
            if answer[2] is not None:
                raise RuntimeError(f"refused: {answer[2]}")
            found += 1
        return found


class Postgres:
    """PostgreSQL's wire, version 3: a statement is prepared once, then bound and executed."""

    greetings: Final = 2

    def __init__(self) -> None:
        settings = b"user\0bench\0database\0postgres\0\0"
        self.hello = struct.pack("!ii", len(settings) + 8, 196608) + settings
        prepared = b"i\0INSERT INTO bench VALUES ($1, $2)\0" + struct.pack("!hii", 2, 20, 25)
        self.hello += _message(b"P", prepared) + _message(b"S", b"")
        text = VALUE.encode()
        self._row = struct.pack("!i", len(text)) + text
        self._held = b""

    def insert(self, number: int) -> bytes:
        values = b"\0i\0" + struct.pack("!hhhhiq", 2, 1, 0, 2, 8, number) + self._row
        bound = _message(b"B", values + struct.pack("!h", 0))
        return bound + _message(b"E", b"\0\0\0\0\0") + _message(b"S", b"")

    def feed(self, data: bytes) -> int:
        data = self._held + data
        at = found = 0
        while at + 5 <= len(data):
            kind, (length,) = data[at : at + 1], struct.unpack_from("!i", data, at + 1)
            if at + 1 + length > len(data):
                break
            if kind == b"E":
                raise RuntimeError(f"refused: {data[at + 5 : at + 1 + length]!r}")
            found += kind == b"Z"
            at += 1 + length
        self._held = data[at:]
        return found


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


SPEAKERS: Final = {"msgpack": Msgpack, "postgres": Postgres}


class Client(asyncio.Protocol):
    """One connection with one commit in flight."""

    def __init__(self, protocol: str, numbers: itertools.count[int]) -> None:
        self.speaker: Msgpack | Postgres = SPEAKERS[protocol]()
        self.numbers = numbers
        self.commits = -self.speaker.greetings
        self.greeted = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.speaker.hello)
        self._look()

    def begin(self) -> None:
        self.transport.write(self.speaker.insert(next(self.numbers)))

    def data_received(self, data: bytes) -> None:
        found = self.speaker.feed(data)
        self.commits += found
        if found and self.greeted.done():
            self.begin()
        else:
            self._look()

    def _look(self) -> None:
        if self.commits == 0 and not self.greeted.done():
            self.greeted.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(error or ConnectionError("the server closed"))


async def client_main(protocol: str, address: str, port: int, clients: int, time_s: float) -> None:
    """Print how many commits a second there were after a warm-up, and the count at each tick.

    SIGTERM ends it early.
    """
    loop = asyncio.get_running_loop()
    numbers = itertools.count(time.time_ns() >> 4)
    made: list[Client] = []
    for _ in range(clients):
        client = Client(protocol, numbers)
        await loop.create_connection(lambda client=client: client, address, port)
        async with asyncio.timeout(10):
            await client.greeted
        made.append(client)
    for client in made:
        client.begin()
    await asyncio.sleep(min(WARM_UP_S, time_s * WARM_UP_SHARE))
    counts: list[tuple[float, int]] = []
    ends_s = time.time() + time_s
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    while not ended.is_set() and (not counts or counts[-1][0] < ends_s):
        counts.append((time.time(), sum(client.commits for client in made)))
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), TICK_S)
    (began_s, before), (ended_s, after) = counts[0], counts[-1]
    say(per_s=(after - before) / (ended_s - began_s), counts=counts)


def main() -> None:
    match sys.argv[1:]:
        case ["emu", link_ms]:
            import trio

            trio.run(emu_main, float(link_ms))
        case ["client", protocol, address, port, clients, time_s]:
            import uvloop

            uvloop.run(client_main(protocol, address, int(port), int(clients), float(time_s)))
        case other:
            sys.exit(f"not understood: {other}")


if __name__ == "__main__":
    main()
