"""emu itself as a client of its own cluster: admin calls, and waiting in the world's time.

It dials from the operator's network card, over links that no fault touches. In a simulation its
waits are virtual like everybody's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

from emu.machine.events import Events
from emu.machine.reach import not_counted
from emu.machine.world import OPERATOR, World
from nodes.base import ADMIN_PORT, NO_RANK, Access, Clock, Cpu, Timer
from nodes.metrics import Metrics
from nodes.parts.timing import move_on_after
from nodes.wire.client import Client
from protocols import rpc

ADMIN_LIMITS = rpc.Limits(max_frame_bytes=64 << 20)


class WorldClock:
    """The world's true time as a nodes.base.Clock."""

    def __init__(self, world: World) -> None:
        self._timers = world.timers
        self._epoch_s = world.epoch_s

    def monotonic_s(self) -> float:
        return self._timers.now_s()

    def wall_s(self) -> float:
        return self._epoch_s + self._timers.now_s()

    def outside_s(self) -> float:
        return self._timers.now_s() + self._timers.withheld_s()

    def cpu_s(self) -> float:
        return self._timers.cpu_s()

    def call_at(self, monotonic_s: float, callback: Any) -> Timer:
        return self._timers.call_at(monotonic_s, callback)

    async def sleep(self, seconds: float) -> None:
        with move_on_after(self, seconds):
            await trio.sleep_forever()


class _NoCpu:
    cores = 0

    async def run(
        self,
        cost_s: float | None = None,
        *,
        expires_at_s: float | None = None,
        rank: int = NO_RANK,
    ) -> None:
        await trio.lowlevel.checkpoint()


class OperatorContext:
    """What nodes/wire/ needs of a Context, for emu's own calls."""

    def __init__(self, world: World, events: Events) -> None:
        self.name = self.tier = self.kind = OPERATOR
        self.region = ""
        self.generation = 1
        self.run = ""
        self.network = world.operator_network()
        self.clock: Clock = WorldClock(world)
        self.cpu: Cpu = _NoCpu()
        self.metrics = Metrics()
        self.log = events.logger(node=OPERATOR)
        self.reached = not_counted
        self.disk: Any = None
        self.access: Access | None = None
        self.history: Any = None

    def rng(self, name: str) -> random.Random:
        return random.Random(f"{OPERATOR}/{name}")

    def rare(self, name: str) -> bool:
        return False


class Operator:
    """Asks nodes, most of all on their admin listeners. A connection is made when first needed."""

    def __init__(self, world: World, nursery: trio.Nursery, events: Events) -> None:
        self.ctx = OperatorContext(world, events)
        self._nursery = nursery
        self._clients: dict[tuple[str, int], Client] = {}

    async def ask(
        self,
        node: str,
        method: str,
        *params: Any,
        timeout_s: float = 5.0,
        port: int = ADMIN_PORT,
    ) -> Any:
        """Call an admin method, or one of another port. Raises RpcError."""
        client = self._clients.get((node, port))
        if client is None:
            client = self._clients[node, port] = self.client(node, port)
        return await client.call(method, *params, timeout_s=timeout_s)

    def client(self, node: str, port: int) -> Client:
        """A client of a node's other port, owned by the caller."""
        return Client(self.ctx, self._nursery, node, port, limits=ADMIN_LIMITS)

    def forget(self, node: str) -> None:
        """Close the connections to a node that is gone for good."""
        for key in [each for each in self._clients if each[0] == node]:
            self._clients.pop(key).close()

    async def sleep(self, seconds: float) -> None:
        await self.ctx.clock.sleep(seconds)

    @contextmanager
    def move_on_after(self, seconds: float) -> Iterator[trio.CancelScope]:
        with move_on_after(self.ctx.clock, seconds) as scope:
            yield scope
