"""Notebook nodes by their handles, whoever runs them: what the conformance suite plays with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from emu.live.world import LiveWorld
from emu.machine.world import MachineSpec
from emu.model.topology import Placement
from emu.processes.joining import Joined, Joining
from emu.processes.runner import Workers
from emu.processes.shared import SharedWorld
from emu.running.handle import MakeRunner, Runner
from emu.running.in_process import InProcess
from emu.running.operator import Operator
from emu.sim.world import Knobs, SimWorld
from nodes.base import RPC_PORT
from nodes.parts.timing import move_on_after
from tests.processes.notebook import NOTEBOOK, NotebookConfig

TOKEN = "a token that only these tests know"
APART = "127.250.9."
"""Addresses as of several computers."""
ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0
"""What a process may take to start on a busy computer."""


class Notebook:
    """One node, its handle, and what was heard of it."""

    def __init__(self, rig: Rig, runner: Runner, placement: Placement) -> None:
        self.rig = rig
        self.name = placement.spec.name
        self.handle = runner.handle(placement)
        self.joins = isinstance(runner, Joining)
        """Whether its process is started by its boot."""
        self.heard: list[str] = []
        """`started`, or the error of a failure, in the order in which it was told."""

    def boot(self, generation: int = 1) -> None:
        self.rig.operator.forget(self.name)
        if self.joins and self.name in self.rig.runner.missing():
            self.rig.join(self.name)
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

    def __init__(
        self, world: Any, make: MakeRunner, nursery: trio.Nursery, *, apart: bool = False
    ) -> None:
        self.world = world
        self.events = world.events
        self.operator = Operator(world, nursery, world.events)
        self.runner = make(world, world.events, self.operator, nursery)
        self.in_process = InProcess(world, world.events, self.operator, nursery)
        self.apart = apart
        self.placements: list[Placement] = []
        self.guests: list[subprocess.Popen[bytes]] = []
        """Processes that join, with `where="joined"`."""

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
        self.placements.append(placement)
        return Notebook(self, runner or self.runner, placement)

    def join(self, *names: str) -> subprocess.Popen[bytes]:
        """Start a process that brings these nodes."""
        source = ["--from", f"{APART}{len(self.guests) + 2}"] if self.apart else []
        guest = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "emu",
                "node",
                ",".join(names),
                "--join",
                self.runner.address,
                *source,
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT), "EMU_JOIN_TOKEN": TOKEN},
            stderr=subprocess.DEVNULL,
        )
        self.guests.append(guest)
        return guest

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
    """`where` the nodes run: sim, live (both in this process), workers (so many beside it),
    joined (each in a process that joins), or apart (each at an address of its own, as on several
    computers). They end with the block."""
    if where == "sim":
        world: Any = SimWorld(7, knobs=Knobs())
    else:
        several = where in ("workers", "joined")
        make_world = SharedWorld if several else LiveWorld
        if where == "apart":
            make_world = partial(SharedWorld, outer=f"{APART}1")
        world = make_world(7, folder, temporary=True)
    made: list[Rig] = []

    def make(*parts: Any) -> Runner:
        joined = Joined(TOKEN, frozenset(), frozenset({"pad"}))
        return Joining(
            *parts, joined=joined, inner=InProcess(*parts), placements=lambda: made[0].placements
        )

    runners = {"workers": partial(Workers, count=workers), "joined": make, "apart": make}
    async with world, trio.open_nursery() as nursery:
        rig = Rig(world, runners.get(where, InProcess), nursery, apart=where == "apart")
        made.append(rig)
        if isinstance(rig.runner, Joining):
            host = f"{APART}1" if rig.apart else "127.0.0.1"
            await nursery.start(rig.runner.serve, host, 0)
        try:
            yield rig
        finally:
            nursery.cancel_scope.cancel()
            for guest in rig.guests:
                guest.kill()
                guest.wait()
