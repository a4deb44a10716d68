"""Runs nodes in worker processes: `emu.running.handle.Runner` in the live world.

Each node's handle tells its process what to do, over the one connection to that. A process that has
ended is begun again when one of its nodes is to boot.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from emu.machine.events import Events
from emu.machine.world import World
from emu.model.topology import Placement
from emu.processes.home import OnKilled, ProcessHome
from emu.processes.node import ElsewhereNode
from emu.processes.process import WorkerProcess
from emu.processes.spread import Spread
from emu.running.handle import NodeHandle
from emu.running.in_process import InProcess
from emu.running.operator import Operator
from nodes.base import DIRECTORY_HOST


class Workers(ProcessHome):
    """`emu.running.handle.Runner`: `count` processes, and emu's own for the directory."""

    def __init__(
        self,
        world: World,
        events: Events,
        operator: Operator,
        nursery: trio.Nursery,
        *,
        count: int,
        regions: Sequence[str] = ("",),
        code: Path | None = None,
        on_killed: OnKilled | None = None,
    ) -> None:
        """`regions`: in which nodes are declared, one for each. `code`: the folder of modules that
        the topology names. Without `on_killed` the nodes of a
        process that was killed have failed. Raises OSError."""
        super().__init__(world, events, operator, nursery, code)
        self.on_killed = on_killed
        self.spread = Spread(count, regions)
        self._in_process = InProcess(world, events, operator, nursery)
        self._workers: dict[str, int] = {}
        self._processes: dict[int, WorkerProcess] = {}
        self.world.loops = min(count, os.cpu_count() or 1)
        for number in range(1, count + 1):
            self.process(number)

    def handle(self, placement: Placement) -> NodeHandle:
        spec = placement.spec
        if spec.name == DIRECTORY_HOST:
            return self._in_process.handle(placement)
        self._workers[spec.name] = self.spread.place(spec.tier, spec.region)
        node = self.nodes[spec.name] = ElsewhereNode(self, placement)
        return node

    def process_of(self, node: ElsewhereNode) -> WorkerProcess:
        return self.process(self._workers[node.name])

    def removed(self, node: ElsewhereNode) -> None:
        super().removed(node)
        worker = self._workers.pop(node.name)
        self.spread.take_away(worker, node.spec.tier, node.spec.region)

    def facts(self) -> list[dict[str, Any]]:
        """Of each process that there is (see `facts_of`)."""
        return [self.facts_of(each) for each in self._processes.values() if not each.ended]

    def process(self, number: int) -> WorkerProcess:
        """The one of that number; a new one where there is none (any more)."""
        found = self._processes.get(number)
        if found is None or found.ended:
            found = self._processes[number] = WorkerProcess(number)
            self.greet(found)
            self.nursery.start_soon(self._run, found)
        return found

    async def _run(self, process: WorkerProcess) -> None:
        def begun() -> None:
            self.events.add(
                "debug", "process begun", {"process": process.number, "pid": process.pid}
            )

        try:
            await process.run(self.hear(process), self.world.trunks_fd, begun)
        finally:
            self.part(process)
        self._ended(process)

    def _ended(self, process: WorkerProcess) -> None:
        """It has ended by itself, or somebody has ended it."""
        lost = [node for node in self.nodes.values() if node.runs_in(process)]
        names = [node.name for node in lost]
        word = "process killed" if process.killed else "process failed"
        told = {"process": process.number, "why": process.why, "nodes": names}
        self.events.add("warning" if process.killed else "error", word, told)
        if process.killed and self.on_killed is not None:
            self.on_killed(names)
            return
        for node in lost:
            node.failed(f"its worker process ended ({process.why})")
