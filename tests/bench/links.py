"""One-way delay error of live links at 2,000 messages/s, against links made of plain `trio.sleep`.

Beside each message another goes over a plain connection at the same moment: what that one took is
no fault of the link. The figure is p99 of the delay, less the link's latency, less the baseline's
p99. Both kinds share the loop, the sockets and the sender.
"""

from __future__ import annotations

import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import trio

from emu.live.world import LiveWorld
from emu.machine.links import Shape
from emu.machine.world import MachineSpec
from nodes.base import Stream
from tests.bench import alternate

LATENCIES_S: Final = (0.0002, 0.001, 0.005, 0.02, 0.1)
RATE_PER_S: Final = 2000
MEASURE_S: Final = 1.5
WARM_UP: Final = 200
"""Messages that do not count."""
STAMP: Final = struct.Struct("d")

Send = Callable[[Stream, bytes], object]


async def _pair(world: LiveWorld, name: str, listener: Any) -> tuple[Stream, Stream]:
    spec = MachineSpec(name, "client", "bench", "here", dials=("server",))
    _, ctx = world.machine(spec).boot(1)
    near = await ctx.network.open_stream("server-1", 7000)
    return near, await listener.accept()


async def _delays(stream: Stream, count: int) -> list[float]:
    """How long each of `count` stamped messages was under way."""
    delays: list[float] = []
    rest = b""
    while len(delays) < count:
        data = rest + bytes(await stream.receive_some(65536))
        now_s = time.perf_counter()
        whole = len(data) - len(data) % STAMP.size
        delays.extend(now_s - sent_s for (sent_s,) in STAMP.iter_unpack(data[:whole]))
        rest = data[whole:]
    return delays


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


async def _measure(latency_s: float, shaped: bool) -> float:
    """Microseconds of error at p99. `shaped`: by emu's link; else by a task that sleeps."""
    count = int(RATE_PER_S * MEASURE_S)
    with tempfile.TemporaryDirectory() as folder:
        async with LiveWorld(7, Path(folder)) as world, trio.open_nursery() as nursery:
            _, server = world.machine(MachineSpec("server-1", "server", "bench", "here")).boot(1)
            listener = await server.network.listen(7000)
            linked, linked_far = await _pair(world, "client-1", listener)
            plain, plain_far = await _pair(world, "client-2", listener)

            async def sleep_and_send(stream: Stream, data: bytes) -> None:
                await trio.sleep(latency_s)
                stream.send_nowait(data)

            def send_later(stream: Stream, data: bytes) -> None:
                nursery.start_soon(sleep_and_send, stream, data)

            if shaped:
                shape = Shape(latency_s=latency_s)
                none = Shape()
                world.links.shape(lambda a, b: (shape if a == "client-1" else none, f"{a}{b}"))
            world.settle()
            send: Send = (lambda stream, data: stream.send_nowait(data)) if shaped else send_later
            _send_at_rate(world, count + WARM_UP, linked, plain, send)
            results: dict[str, list[float]] = {}

            async def collect(name: str, stream: Stream) -> None:
                results[name] = (await _delays(stream, count + WARM_UP))[WARM_UP:]

            async with trio.open_nursery() as readers:
                readers.start_soon(collect, "linked", linked_far)
                readers.start_soon(collect, "plain", plain_far)
            nursery.cancel_scope.cancel()
    return (p99(results["linked"]) - latency_s - p99(results["plain"])) * 1e6


def _send_at_rate(world: LiveWorld, count: int, linked: Stream, plain: Stream, send: Send) -> None:
    """One message on each connection every so often, from the world's own timers."""
    begun_s = world.timers.now_s()
    sent = 0

    def tick() -> None:
        nonlocal sent
        stamp = STAMP.pack(time.perf_counter())
        send(linked, stamp)
        plain.send_nowait(STAMP.pack(time.perf_counter()))
        sent += 1
        if sent < count:
            world.timers.call_at(begun_s + sent / RATE_PER_S, tick)

    world.timers.call_at(begun_s, tick)


def run(*, runs: int = 5) -> dict[str, Any]:
    """A row per latency; the figure is the worst of ours."""
    rows = [
        alternate(
            f"delay error at {latency_s * 1e3:g} ms",
            "us, p99 over the baseline",
            lambda latency_s=latency_s: trio.run(_measure, latency_s, True),
            lambda latency_s=latency_s: trio.run(_measure, latency_s, False),
            runs,
        )
        for latency_s in LATENCIES_S
    ]
    return {**max(rows, key=lambda row: float(row["ours"])), "name": "links", "rows": rows}
