"""Servers that answer half, wrongly, or leave: a run of load goes on, and counts what it got."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from itertools import count

import msgpack
import pytest

from emu.load.generator import Generator
from emu.load.plan import Endpoint, Plan
from emu.load.stats import OK
from emu.load.wire import Broken, speaker

HTTP = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=1\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
)
RPC = bytes(msgpack.packb([1, 1, None, ["x" * 20]])) + bytes(msgpack.packb([1, 2, ["busy"], None]))
WRONG = (
    b"HTTP/1.1 100 Continue\r\n\r\n" * 2500,
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 70_000,
    b"\xc1\x00",
    b"\x94\x01\x01\x90\xc0" * 50,
)


def endpoint(protocol: str, port: int = 1) -> Endpoint:
    return Endpoint(protocol, "127.0.0.1", port, "/")


def mutated(rng: random.Random, said: bytes) -> bytes:
    data = bytearray(said)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(data))
        match rng.randrange(3):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                del data[at : at + rng.randrange(1, 9)]
            case _:
                data[at:at] = data[at : at + 20]
    return bytes(data[: rng.randrange(1, len(data) + 1)])


@pytest.mark.parametrize("protocol", ["http", "rpc"])
def test_whatever_a_server_says_is_an_answer_or_a_broken_protocol(protocol: str) -> None:
    rng = random.Random(protocol)
    endings = set()
    for _ in range(2_000):
        said = mutated(rng, HTTP if protocol == "http" else RPC)
        one = speaker(endpoint(protocol), Plan((endpoint(protocol),), 1.0), count())
        one.request()
        try:
            endings |= {code == OK for _, code in one.feed(said)}
        except (Broken, ValueError):
            endings.add(None)
    assert endings >= {True, None}


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http", "rpc"])
def test_a_run_against_servers_that_leave_anywhere_ends_with_its_figures(protocol: str) -> None:
    summary = asyncio.run(_run(protocol))
    assert summary["requests"] > 10
    assert summary["errors"]


class Hostile(asyncio.Protocol):
    """Answers what it likes, and leaves at once, later, or with a reset."""

    def __init__(self, rng: random.Random, said: bytes) -> None:
        self.rng = rng
        self.said = said

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        rng, said, transport = self.rng, self.said, self.transport
        transport.write(rng.choice((*WRONG, mutated(rng, said), mutated(rng, said), said, b"")))
        match rng.randrange(4):
            case 0:
                transport.abort()
            case 1 | 2:
                transport.close()
            case 3 if rng.random() < 0.5:
                sock = transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                transport.close()


async def _run(protocol: str) -> dict:
    rng, said = random.Random(protocol), HTTP if protocol == "http" else RPC
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Hostile(rng, said), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    plan = Plan((endpoint(protocol, port),), 0.5, connections=8, timeout_s=0.2)
    async with server:
        return await Generator(plan).run()
