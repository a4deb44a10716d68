"""The load of a live reshard: fill a store with keys, write at a fixed rate until told to stop,
then read every key back. One process, for our store and for a Redis Cluster.

`python -m tests.bench.reshard_rig msgpack|redis ADDRESS PORT KEYS WRITES_PER_S`: says `filled` in
one JSON line, and at the end of its input what it saw in another.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgpack

from protocols.hashing.slots import slot_of
from tests.bench import say

CONNECTIONS: Final = 8
FILL_AHEAD: Final = 64
"""Requests in flight on each connection while the store is filled and read back."""
TICK_S: Final = 0.002
PATIENCE_S: Final = 10.0
READ_KEYS: Final = 100
LONGEST: Final = 5
"""Writes of which it is said when they were due, to find in the events what held them."""

Told = Callable[[Any, str], None]
"""Is called with an answer: (result, error); the error is "" if there is none."""


class MsgpackWire(asyncio.Protocol):
    """A connection to a kv router, as any MessagePack-RPC client has it."""

    def __init__(self) -> None:
        self._waiting: dict[int, Told] = {}
        self._unpacker = msgpack.Unpacker()
        self._next = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def call(self, method: str, params: list[Any], told: Told) -> None:
        self._next = (self._next + 1) & 0xFFFFFF
        self._waiting[self._next] = told
        self._transport.write(msgpack.packb([0, self._next, method, params]))

    def data_received(self, data: bytes) -> None:
        self._unpacker.feed(data)
        for _, msgid, error, result in self._unpacker:
            self._waiting.pop(msgid)(result, str(error) if error else "")

    def connection_lost(self, error: Exception | None) -> None:
        waiting, self._waiting = self._waiting, {}
        for told in waiting.values():
            told(None, "disconnected")


class RedisWire(asyncio.Protocol):
    """A connection to one Redis node; answers come in the order of the requests."""

    def __init__(self) -> None:
        self._waiting: deque[Told] = deque()
        self._held = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def call(self, words: list[str], told: Told) -> None:
        self._waiting.append(told)
        parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words)
        self._transport.write(b"*%d\r\n%b" % (len(words), parts))

    def data_received(self, data: bytes) -> None:
        self._held += data
        while True:
            try:
                answer, rest = parse_resp(self._held)
            except IndexError:
                return
            self._held = rest
            told = self._waiting.popleft()
            told(None, str(answer)) if isinstance(answer, RedisError) else told(answer, "")

    def connection_lost(self, error: Exception | None) -> None:
        while self._waiting:
            self._waiting.popleft()(None, "disconnected")


class RedisError(Exception):
    """An answer that begins with a minus."""


def parse_resp(data: bytes) -> tuple[Any, bytes]:
    """One RESP2 answer, and what follows it. Raises IndexError if it is not whole yet."""
    end = data.find(b"\r\n")
    if end < 0:
        raise IndexError
    kind, head, rest = data[:1], data[1:end], data[end + 2 :]
    if kind == b"$" and head != b"-1":
        size = int(head)
        if len(rest) < size + 2:
            raise IndexError
        return rest[:size].decode(), rest[size + 2 :]
    if kind == b"*":
        items = []
        for _ in range(int(head)):
            item, rest = parse_resp(rest)
            items.append(item)
        return items, rest
    if kind == b"-":
        return RedisError(head.decode()), rest
    return None if kind == b"$" else head.decode(), rest


class Store:
    """Sets and gets on our store, through a router."""

    def __init__(self, address: str, port: int) -> None:
        self._where = address, port
        self._wires: list[MsgpackWire] = []
        self._turn = 0

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            _, wire = await loop.create_connection(MsgpackWire, *self._where)
            self._wires.append(wire)

    def set(self, key: str, value: str, told: Told) -> None:
        self._next_wire().call("set", [key, value], told)

    def get_many(self, keys: list[str], told: Told) -> None:
        self._next_wire().call("mget", [keys], told)

    def _next_wire(self) -> MsgpackWire:
        self._turn += 1
        return self._wires[self._turn % CONNECTIONS]


class RedisCluster:
    """Sets and gets on a Redis Cluster: knows the slots' owners, follows MOVED and ASK."""

    def __init__(self, address: str, port: int) -> None:
        self._where = address, port
        self._wires: dict[int, RedisWire] = {}
        self._owners: dict[int, int] = {}
        """Slot → the port of its owner."""

    async def open(self) -> None:
        await self._wire(self._where[1])
        slots = await self._ask(self._where[1], ["CLUSTER", "SLOTS"])
        for first, last, owner, *_ in slots:
            self._owners.update(dict.fromkeys(range(int(first), int(last) + 1), int(owner[1])))
        nodes = await self._ask(self._where[1], ["CLUSTER", "NODES"])
        for line in nodes.splitlines():  # the empty one too: slots will move to it
            await self._wire(int(line.split()[1].partition("@")[0].rpartition(":")[2]))

    async def _wire(self, port: int) -> None:
        if port not in self._wires:
            loop = asyncio.get_running_loop()
            _, self._wires[port] = await loop.create_connection(RedisWire, self._where[0], port)

    async def _ask(self, port: int, words: list[str]) -> Any:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._wires[port].call(words, lambda result, error: done.set_result(result))
        return await done

    def set(self, key: str, value: str, told: Told) -> None:
        self._send(["SET", key, value], slot_of(key), told)

    def get_many(self, keys: list[str], told: Told) -> None:
        """One by one: a cluster's MGET is of one slot."""
        found: dict[str, Any] = {}

        def one(key: str) -> Told:
            def take(result: Any, error: str) -> None:
                found[key] = result
                if len(found) == len(keys):
                    told([found[each] for each in keys], "")

            return take

        for key in keys:
            self._send(["GET", key], slot_of(key), one(key))

    def _send(self, words: list[str], slot: int, told: Told, port: int = 0) -> None:
        def take(result: Any, error: str) -> None:
            kind, _, where = error.partition(" ")
            if kind == "MOVED":
                self._owners[slot] = int(where.rpartition(":")[2])
                self._send(words, slot, told)
            elif kind == "ASK":
                target = int(where.rpartition(":")[2])
                self._wires[target].call(["ASKING"], lambda result, error: None)
                self._send(words, slot, told, target)
            else:
                told(result, error)

        self._wires[port or self._owners[slot]].call(words, take)


class Load:
    """What was written, and what came of it."""

    def __init__(self, store: Store | RedisCluster, keys: int) -> None:
        self.store = store
        self.keys = [f"user:{number:07}" for number in range(keys)]
        self.acknowledged: dict[str, str] = {}
        self.unknown: dict[str, None] = {}
        """Keys with a write of which we do not know what became of it: they are not judged."""
        self.writes: list[tuple[float, float]] = []
        """(latency, when it was due on the host's monotonic clock) of each that was answered."""
        self.errors: dict[str, int] = {}
        self.in_flight = 0
        self._settled = asyncio.Event()

    def write(self, key: str, value: str, due_s: float) -> None:
        self.in_flight += 1

        def told(result: Any, error: str) -> None:
            self.in_flight -= 1
            if not self.in_flight:
                self._settled.set()
            self.writes.append((time.perf_counter() - due_s, due_s))
            if error:
                kind = error[:60]
                self.errors[kind] = self.errors.get(kind, 0) + 1
                self.unknown[key] = None
            else:
                self.acknowledged[key] = value

        self.store.set(key, value, told)

    async def fill(self) -> None:
        """Some at a time, until all are answered."""
        ahead = FILL_AHEAD * CONNECTIONS
        for at in range(0, len(self.keys), ahead):
            for number, key in enumerate(self.keys[at : at + ahead], at):
                self.write(key, f"{number:016}", time.perf_counter())
            await self.settle()
        self.writes.clear()

    async def settle(self) -> None:
        """Until nothing is in flight; what still is after a while stays `unanswered`."""
        if self.in_flight:
            self._settled = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), PATIENCE_S)

    async def write_until(self, stop: asyncio.Event, per_s: int) -> float:
        """At that rate whatever the answers do; how long it went. Latency counts from the time at
        which a write was due. No key is written twice at a time."""
        order = list(self.keys)
        random.Random(6).shuffle(order)
        began_s, sent = time.perf_counter(), 0
        while not stop.is_set():
            due = int((time.perf_counter() - began_s) * per_s) + 1
            while sent < due:
                self.write(order[sent % len(order)], f"w{sent:015}", began_s + sent / per_s)
                sent += 1
            await asyncio.sleep(TICK_S)
        took_s = time.perf_counter() - began_s
        await self.settle()
        return took_s

    async def lost(self) -> int:
        """How many acknowledged writes no read finds. Raises RuntimeError if it cannot be read."""
        lost = 0
        for at in range(0, len(self.keys), READ_KEYS):
            page = self.keys[at : at + READ_KEYS]
            values = await self._read(page)
            for key, value in zip(page, values, strict=True):
                lost += key not in self.unknown and value != self.acknowledged.get(key)
        return lost

    async def _read(self, keys: list[str]) -> list[Any]:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def told(result: Any, error: str) -> None:
            if not done.done():
                done.set_exception(RuntimeError(error)) if error else done.set_result(result)

        self.store.get_many(keys, told)
        return list(await asyncio.wait_for(done, PATIENCE_S))


async def main(protocol: str, address: str, port: int, keys: int, per_s: int) -> None:
    store = Store(address, port) if protocol == "msgpack" else RedisCluster(address, port)
    await store.open()
    load = Load(store, keys)
    await load.fill()
    say(filled=len(load.acknowledged), errors=load.errors)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), stop.set)
    took_s = await load.write_until(stop, per_s)
    loop.remove_reader(sys.stdin.fileno())
    load.writes.sort()
    latencies_s = [latency_s for latency_s, _ in load.writes]
    say(
        writes=len(latencies_s),
        per_s=round(len(latencies_s) / took_s, 1),
        errors=load.errors,
        unanswered=load.in_flight,
        p50_s=round(latencies_s[len(latencies_s) // 2], 5),
        p99_s=round(latencies_s[len(latencies_s) * 99 // 100], 5),
        longest_s=round(latencies_s[-1], 5),
        longest_due_s=[round(due_s, 3) for _, due_s in load.writes[-LONGEST:]],
        lost=await load.lost(),
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3], *map(int, sys.argv[3:6])))
