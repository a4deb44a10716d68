"""Simulated RPC/s of one core: our world, digest on, against a naive network on Trio's MockClock.

Both carry the same exchange over links of the same delay; ours through the very `Service` and
`Client` of live nodes, the peer's as one writes it in an afternoon: a task per message, trio.sleep
for the link, a channel as mailbox, fail_after for patience, no trace. Seconds are of one core.
"""

from __future__ import annotations

import random
import time
from typing import Any, Final

import trio
import trio.testing

from emu.machine.links import Shape
from emu.machine.world import MachineSpec
from emu.sim.run import run_simulation
from emu.sim.world import Knobs, SimWorld
from nodes.wire.client import Client
from nodes.wire.service import Service
from protocols import rpc
from tests.bench import alternate

CLIENTS: Final = 50
CALLS_PER_CLIENT: Final = 400
LATENCY_S: Final = 0.001
JITTER_S: Final = 0.0002
TIMEOUT_S: Final = 5.0
VALUES: Final = {f"user:{number}": f"value {number}" for number in range(100)}
KEYS: Final = sorted(VALUES)


# --- ours ----------------------------------------------------------------------------------


async def _serve(ctx: Any, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
    service = Service(ctx)
    service.add("get", lambda call, key: VALUES[key])
    listener = await ctx.network.listen(7000)
    task_status.started()
    await service.serve(listener)


async def _ask(ctx: Any, calls: int, depth: int) -> None:
    async with trio.open_nursery() as nursery:
        client = Client(ctx, nursery, "server-1")

        async def one_by_one() -> None:
            for number in range(calls // depth):
                assert await client.call("get", KEYS[number % 100], timeout_s=TIMEOUT_S)

        async with trio.open_nursery() as callers:
            for _ in range(depth):
                callers.start_soon(one_by_one)
        client.close()


async def exchange(world: SimWorld, clients: int, calls: int, depth: int) -> None:
    """Everybody asks for one key after the other."""
    shape = Shape(latency_s=LATENCY_S, jitter_s=JITTER_S)
    world.links.shape(lambda source, target: (shape, f"{source}{target}"))
    _, server = world.machine(MachineSpec("server-1", "server", "bench", "here")).boot(1)
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, server)
        async with trio.open_nursery() as asking:
            for number in range(clients):
                name = f"client-{number}"
                spec = MachineSpec(name, "client", "bench", "here", dials=("server",))
                _, ctx = world.machine(spec).boot(1)
                asking.start_soon(_ask, ctx, calls, depth)
        nursery.cancel_scope.cancel()


def ours_per_s(depth: int) -> float:
    """Calls per second of one core."""

    async def main(world: SimWorld) -> float:
        began_s = time.process_time()
        await exchange(world, CLIENTS, CALLS_PER_CLIENT, depth)
        return CLIENTS * CALLS_PER_CLIENT / (time.process_time() - began_s)

    outcome = run_simulation(main, seed=7, knobs=Knobs())
    assert outcome.value is not None
    assert outcome.messages >= 2 * CLIENTS * CALLS_PER_CLIENT / depth
    return outcome.value


# --- the naive peer ------------------------------------------------------------------------


class _NaiveEnd:
    """One end of a naive connection: a mailbox, and a task for each message on its way."""

    def __init__(self, nursery: trio.Nursery, rng: random.Random) -> None:
        self.rpc = rpc.Connection()
        self._nursery = nursery
        self._rng = rng
        self._post, self.mailbox = trio.open_memory_channel[bytes](1024)

    def send(self, to: _NaiveEnd, data: bytes) -> None:
        self._nursery.start_soon(self._deliver, to, data)

    async def _deliver(self, to: _NaiveEnd, data: bytes) -> None:
        await trio.sleep(max(0.0, LATENCY_S + self._rng.gauss(0.0, JITTER_S)))
        await to._post.send(data)


class _NaiveCall:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: Any = None


async def _naive_serve(own: _NaiveEnd, client: _NaiveEnd) -> None:
    async for data in own.mailbox:
        for message in own.rpc.receive_data(data):
            own.send(client, own.rpc.send_response(message[1], None, VALUES[message[3][0]]))


async def _naive_ask(nursery: trio.Nursery, number: int, calls: int, depth: int) -> None:
    near = _NaiveEnd(nursery, random.Random(f"near {number}"))
    far = _NaiveEnd(nursery, random.Random(f"far {number}"))
    waiting: dict[int, _NaiveCall] = {}

    async def read() -> None:
        async for data in near.mailbox:
            for message in near.rpc.receive_data(data):
                call = waiting.pop(message[1])
                call.answer = message[3]
                call.done.set()

    async def one_by_one(first: int) -> None:
        for number in range(calls // depth):
            msgid = first + number
            call = waiting[msgid] = _NaiveCall()
            near.send(far, near.rpc.send_request(msgid, "get", [KEYS[number % 100]]))
            with trio.fail_after(TIMEOUT_S):
                await call.done.wait()
            assert call.answer

    nursery.start_soon(_naive_serve, far, near)
    nursery.start_soon(read)
    async with trio.open_nursery() as callers:
        for each in range(depth):
            callers.start_soon(one_by_one, each * calls)


async def _naive_exchange(depth: int) -> float:
    began_s = time.process_time()
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as asking:
            for number in range(CLIENTS):
                asking.start_soon(_naive_ask, nursery, number, CALLS_PER_CLIENT, depth)
        nursery.cancel_scope.cancel()
    return CLIENTS * CALLS_PER_CLIENT / (time.process_time() - began_s)


def naive_per_s(depth: int) -> float:
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(_naive_exchange, depth, clock=clock)


def run(*, runs: int = 5) -> dict[str, Any]:
    """Rows: one call in flight per client (the figure), and eight."""
    rows = [
        alternate(
            f"sim rpc, {CLIENTS} clients x {depth} in flight",
            "rpc/s",
            lambda depth=depth: ours_per_s(depth),
            lambda depth=depth: naive_per_s(depth),
            runs,
        )
        for depth in (1, 8)
    ]
    return {**rows[0], "name": "sim", "rows": rows}
