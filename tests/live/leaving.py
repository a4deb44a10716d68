"""Clients that speak well and leave: anywhere in what they say or hear, in every way that a socket
can end, each way drawn from a seed."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import dns.message
import msgpack

from emu.processes.door import NONCE_BYTES, PROTOCOL

WAYS: Final = (
    "close",
    "reset",
    "half-close",
    "half-close unread",
    "unread",
    "unread reset",
    "hang",
)
MAX_HANGING: Final = 100
"""Sessions that are left open, until newer ones take their place: as many per door as stay well
below what the smallest of them takes."""
END_TIMEOUT_S: Final = 20.0
SLOW_S: Final = 0.002

Say = Callable[[random.Random], bytes]


class Door(NamedTuple):
    """Where a client may come in, and what it says there."""

    name: str
    family: socket.AddressFamily
    address: Any
    say: Say


def tcp(name: str, address: tuple[str, int], say: Say) -> Door:
    return Door(name, socket.AF_INET, address, say)


def several(rng: random.Random, most: int) -> int:
    """How many are pipelined: few, as a rule, so that the servers' work leaves time for more
    sessions."""
    return min(most, 1 + int(rng.expovariate(0.3)))


def asks(*calls: tuple[str, list[Any]]) -> Say:
    """MessagePack-RPC: several of these calls, pipelined."""

    def say(rng: random.Random) -> bytes:
        hello = [[0, 0, "hello", [{}]]] if rng.random() < 0.3 else []
        said = [*hello, *([0, n, *rng.choice(calls)] for n in range(1, 1 + several(rng, 40)))]
        return b"".join(bytes(msgpack.packb(each)) for each in said)

    return say


def gets(*paths: str) -> Say:
    """HTTP: several of these pages, pipelined."""

    def say(rng: random.Random) -> bytes:
        chosen = [rng.choice(paths) for _ in range(several(rng, 20))]
        head = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"
        return "".join(head.format(path) for path in chosen).encode()

    return say


def resolves(*names: str) -> Say:
    """DNS over TCP: several of these names, pipelined."""

    def say(rng: random.Random) -> bytes:
        said = b""
        for _ in range(several(rng, 20)):
            wire = dns.message.make_query(rng.choice(names), "A", id=rng.randrange(65536)).to_wire()
            said += struct.pack(">H", len(wire)) + wire
        return said

    return say


def knocks(rng: random.Random) -> bytes:
    """At the door where processes join: the first word, and a proof that is none."""
    frames: list[dict[str, Any]] = [
        {"emu": PROTOCOL, "nonce": rng.randbytes(NONCE_BYTES)},
        {"nodes": "guest-1", "proof": rng.randbytes(32)},
        {"dance": 1},
    ]
    packed = [bytes(msgpack.packb(each)) for each in frames[: rng.randrange(1, 4)]]
    return b"".join(len(each).to_bytes(4, "big") + each for each in packed)


class Leaver:
    """Comes to a door, says a part of something, and leaves."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)
        self.sessions = 0
        self._hanging: deque[socket.socket] = deque()

    def close(self) -> None:
        while self._hanging:
            self._hanging.popleft().close()

    def visit(self, door: Door, times: int) -> None:
        for _ in range(times):
            self.sessions += 1
            with suppress(OSError):  # it may well end us too
                self._once(door)

    def _once(self, door: Door) -> None:
        rng, way = self.rng, self.rng.choice(WAYS)
        said = door.say(rng)
        if rng.random() < 0.7:
            said = said[: rng.randrange(len(said) + 1)]
        connection = socket.socket(door.family)
        connection.settimeout(END_TIMEOUT_S)
        kept = False
        try:
            if "unread" in way:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(door.address)
            self._say(connection, said)
            self._leave(connection, way)
            kept = way == "hang"
        except TimeoutError:
            raise AssertionError(f"{door.name}: no end of {way} after {said[:200]!r}") from None
        finally:
            if not kept:
                connection.close()
        if kept:
            self._hanging.append(connection)
        if len(self._hanging) > MAX_HANGING:
            self._hanging.popleft().close()

    def _say(self, connection: socket.socket, said: bytes) -> None:
        slow = self.rng.random() < 0.1
        size = max(1, len(said) // self.rng.randrange(1, 6)) if slow else max(1, len(said))
        for start in range(0, len(said), size):
            connection.sendall(said[start : start + size])
            if slow:
                time.sleep(SLOW_S)

    def _leave(self, connection: socket.socket, way: str) -> None:
        if "unread" not in way and self.rng.random() < 0.3:
            connection.settimeout(0.001)
            with suppress(TimeoutError):
                connection.recv(self.rng.randrange(1, 2000))
            connection.settimeout(END_TIMEOUT_S)
        if "reset" in way:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if "half-close" in way:
            connection.shutdown(socket.SHUT_WR)
        if way == "half-close":
            while connection.recv(65536):
                pass  # whoever has heard the end answers what was asked, and ends
