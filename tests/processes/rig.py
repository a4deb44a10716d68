"""Notebook nodes by their handles, whoever runs them: what the conformance suite plays with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from emu.live.world import LiveWorld
from emu.machine.world import MachineSpec
from emu.model.topology import Placement
from emu.processes.runner import Workers
from emu.processes.shared import SharedWorld
from emu.running.handle import MakeRunner, Runner
from emu.running.in_process import InProcess
from emu.running.operator import Operator
from emu.sim.world import Knobs, SimWorld
from nodes.base import RPC_PORT
from nodes.parts.timing import move_on_after
from tests.processes.notebook import NOTEBOOK, NotebookConfig

PATIENCE_S = 30.0
"""What a process may take to start on a busy computer."""


class Notebook:
    """One node, its handle, and what was heard of it."""

    def __init__(self, rig: Rig, runner: Runner, placement: Placement) -> None:
        self.rig = rig
        self.name = placement.spec.name
        self.handle = runner.handle(placement)
        self.heard: list[str] = []
        """`started`, or the error of a failure, in the order in which it was told."""

    def boot(self, generation: int = 1) -> None:
        self.rig.operator.forget(self.name)
        self.handle.boot(
            generation,
            started=lambda: self.heard.append("started"),
            failed=self.heard.append,
        )

    async def up(self, generation: int = 1) -> None:
        """Boot it, and wait until it accepts work."""
        before = len(self.heard)
        self.boot(generation)
        await self.rig.until(lambda: len(self.heard) > before)
        assert self.heard[before:] == ["started"]

    async def call(self, word: str, *params: Any, timeout_s: float = 5.0) -> Any:
        """Call its main port, as emu."""
        ask = self.rig.operator.ask
        return await ask(self.name, word, *params, timeout_s=timeout_s, port=RPC_PORT)


class Rig:
    """A world, one runner in it, and emu as a client."""

    def __init__(self, world: Any, make: MakeRunner, nursery: trio.Nursery) -> None:
        self.world = world
        self.events = world.events
        self.operator = Operator(world, nursery, world.events)
        self.runner = make(world, world.events, self.operator, nursery)
        self.in_process = InProcess(world, world.events, self.operator, nursery)

    def notebook(
        self,
        name: str = "pad-1",
        *,
        broken: str = "",
        runner: Runner | None = None,
        **fields: Any,
    ) -> Notebook:
        """A node that is not booted yet; `runner`: another than the rig's."""
        spec = MachineSpec(name, name.partition("-")[0], "notebook", "here", **fields)
        placement = Placement(spec, NotebookConfig(broken), NOTEBOOK)
        return Notebook(self, runner or self.runner, placement)

    async def sleep(self, seconds: float) -> None:
        await self.operator.sleep(seconds)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait, in the world's time, until that holds."""
        with move_on_after(self.operator.ctx.clock, PATIENCE_S):
            while not holds():
                await self.sleep(0.005)
        assert holds(), "it never came to be"


@asynccontextmanager
async def open_rig(where: str, folder: Path, *, workers: int = 1) -> AsyncIterator[Rig]:
    """`where` the nodes run: sim, live (both in this process), or workers (so many beside it). They
    end with the block."""
    if where == "sim":
        world: Any = SimWorld(7, knobs=Knobs())
    else:
        world = (SharedWorld if where == "workers" else LiveWorld)(7, folder, temporary=True)
    async with world, trio.open_nursery() as nursery:
        yield Rig(
            world, partial(Workers, count=workers) if where == "workers" else InProcess, nursery
        )
        nursery.cancel_scope.cancel()
