"""Boots nodes by hand in a live world, for tests of one tier over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from emu.live.world import LiveWorld
from emu.machine.life import Life, current_life
from emu.machine.world import MachineSpec
from emu.running.directory import DirectoryNode, Listing, Membership
from nodes.base import DIRECTORY_HOST, Context
from nodes.kind import HTTP, RPC
from protocols.control import Member


class Script:
    """A node that is one async function of its context."""

    def __init__(self, ctx: Context, serve: Any) -> None:
        self.ctx = ctx
        self.serve = serve

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        listener = await self.ctx.network.listen(8080)
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                nursery.start_soon(self._one, await listener.accept())

    async def _one(self, stream: Any) -> None:
        try:
            async with stream:
                await self.serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


class LiveRig:
    def __init__(self, world: LiveWorld, nursery: trio.Nursery) -> None:
        self.world = world
        self.nursery = nursery
        self.members = Membership()
        self.outside = world.outside_network()
        self.lives: dict[str, Life] = {}
        self.contexts: dict[str, Context] = {}

    async def boot(self, name: str, node: Any, config: Any, **fields: Any) -> Context:
        """Start a node; it is listed in the directory."""
        tier = name.partition("-")[0]
        spec = MachineSpec(name, tier, tier, "here", **{"ports": (HTTP,), **fields})
        machine = self.world.machine(spec)
        life, ctx = machine.boot(1)
        self.lives[name], self.contexts[name] = life, ctx

        async def run(task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
            current_life.set(life)
            with life.scope:
                await node(ctx, config).run(task_status=task_status)

        await self.nursery.start(run)
        if tier != DIRECTORY_HOST:
            self.members.put(Member(name, tier, tier, "here", machine.address, spec.port, True))
        return ctx


@asynccontextmanager
async def live_rig(folder: Path) -> AsyncIterator[LiveRig]:
    async with LiveWorld("test", folder) as world, trio.open_nursery() as nursery:
        rig = LiveRig(world, nursery)
        await rig.boot(DIRECTORY_HOST, DirectoryNode, Listing(rig.members), ports=(RPC,))
        yield rig
        for life in rig.lives.values():
            life.end(crash=False)
        nursery.cancel_scope.cancel()
