"""Runs nodes as tasks of emu's own process: a live Context each, on a machine of the world.

What is between a handle and its node is a method call; nothing of it is on a request's way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from emu.machine.events import Events
from emu.machine.life import Life, current_life
from emu.machine.world import World
from emu.model.topology import Placement
from emu.running.handle import ASK_TIMEOUT_S
from emu.running.operator import Operator
from nodes.base import Context
from nodes.metrics import Metrics
from nodes.parts.places import place


class InProcess:
    """`emu.running.handle.Runner`."""

    def __init__(
        self, world: World, events: Events, operator: Operator, nursery: trio.Nursery
    ) -> None:
        self.world = world
        self.operator = operator
        self.nursery = nursery

    def handle(self, placement: Placement) -> InProcessNode:
        return InProcessNode(self, placement)


class InProcessNode:
    """`emu.running.handle.NodeHandle`."""

    def __init__(self, runner: InProcess, placement: Placement) -> None:
        self._runner = runner
        self._placement = placement
        machine = self._machine = runner.world.machine(placement.spec)
        self._life: Life | None = None
        self.address = machine.address
        self.disk = machine.disk
        self.clock = machine.clock

    @property
    def cores(self) -> int:
        return self._machine.cores

    @cores.setter
    def cores(self, cores: int) -> None:
        self._machine.cores = cores

    @property
    def metrics(self) -> Metrics:
        return self._machine.metrics

    @property
    def running(self) -> bool:
        return self._life is not None and not self._life.dead

    @property
    def paused(self) -> bool:
        return self._life is not None and self._life.paused

    @property
    def waits_for(self) -> str:
        return ""

    def boot(
        self, generation: int, *, started: Callable[[], object], failed: Callable[[str], object]
    ) -> None:
        life, ctx = self._machine.boot(generation)
        self._life = life
        self._runner.nursery.start_soon(self._run, life, ctx, started, failed)

    async def _run(
        self,
        life: Life,
        ctx: Context,
        started: Callable[[], object],
        failed: Callable[[str], object],
    ) -> None:
        """Run one generation to its end. A node that raises is down, as is one whose
        `app:` or `job:` ends what it takes for a process of its own."""
        current_life.set(life)
        error: BaseException | None = None
        try:
            with life.scope:
                async with trio.open_nursery() as nursery:
                    node = self._placement.kind.node(ctx, self._placement.config)
                    await nursery.start(node.run)
                    if not life.dead:
                        started()
        except* (Exception, SystemExit) as problems:  # a cancellation beside them goes on
            error = problems
        if not life.dead:
            life.end(crash=False)
            failed(describe(error) if error is not None else "run() returned")

    def adopt(self, placement: Placement) -> None:
        self._placement = placement

    def end(self, *, crash: bool) -> None:
        if self._life is not None:
            self._life.end(crash=crash)

    def pause(self) -> None:
        if self._life is not None:
            self._life.pause()

    def resume(self) -> None:
        if self._life is not None:
            self._life.resume()

    async def in_force(self) -> None:
        """It is."""

    async def ask(self, method: str, *params: Any, timeout_s: float = ASK_TIMEOUT_S) -> Any:
        name = self._placement.spec.name
        return await self._runner.operator.ask(name, method, *params, timeout_s=timeout_s)

    def remove(self) -> None:
        name = self._placement.spec.name
        self._runner.operator.forget(name)
        self._runner.world.remove_machine(name)


def describe(error: BaseException) -> str:
    """The innermost causes and where in our code they were raised, without the groups that
    nurseries wrap around them."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(each) for each in error.exceptions[:3])
    where = place(error)
    return f"{type(error).__name__}: {error}" + (f" ({where})" if where else "")
