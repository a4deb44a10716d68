"""Runs nodes in worker processes: `emu.running.handle.Runner` in the live world.

Each node's handle tells its process what to do, over the one connection to that; emu's own process
keeps what outlives it: address, switches, cores. A process that has ended is begun again when one
of its nodes is to boot.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from emu.machine.clock import MachineClock
from emu.machine.events import Events
from emu.machine.world import ClockControl, DiskControl, World
from emu.model.topology import Placement
from emu.processes.history import Received
from emu.processes.joined import Hello
from emu.processes.process import WorkerProcess
from emu.processes.registry import Copy, News
from emu.processes.shared import SharedWorld
from emu.processes.spread import Spread
from emu.processes.switches import WorkerClock, WorkerDisk
from emu.running.handle import ASK_TIMEOUT_S, NodeHandle
from emu.running.in_process import InProcess
from emu.running.operator import Operator
from nodes.base import DIRECTORY_HOST
from nodes.kind import Kind
from nodes.metrics import Metrics

NEED: Final = (
    "worker processes need a world that is shared, with a 127.N network of its own (Linux)"
)
OURS: Final = ("emu", "nodes", "protocols")
OnKilled = Callable[[Sequence[str]], object]
"""Is told which nodes died with a process that somebody killed."""


class Workers:
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
        if not isinstance(world, SharedWorld) or not world.network.subnet.aliases:
            raise OSError(NEED)
        self.world = world
        self.events = events
        self.operator = operator
        self.nursery = nursery
        self.on_killed = on_killed
        self._code = code
        self.spread = Spread(count, regions)
        self.nodes: dict[str, WorkerNode] = {}
        self._in_process = InProcess(world, events, operator, nursery)
        self._processes: dict[int, WorkerProcess] = {}
        for number in range(1, count + 1):
            self.process(number)

    def handle(self, placement: Placement) -> NodeHandle:
        spec = placement.spec
        if spec.name == DIRECTORY_HOST:
            return self._in_process.handle(placement)
        worker = self.spread.place(spec.tier, spec.region)
        node = self.nodes[spec.name] = WorkerNode(self, placement, worker)
        return node

    def facts(self) -> list[dict[str, Any]]:
        """Each process that there is: its number, its pid, and the nodes that run in it."""
        return [
            {
                "process": number,
                "pid": process.pid,
                "nodes": [node.name for node in self.nodes.values() if node.runs_in(process)],
            }
            for number, process in self._processes.items()
            if not process.ended
        ]

    def process(self, number: int) -> WorkerProcess:
        """The one of that number; a new one where there is none (any more)."""
        found = self._processes.get(number)
        if found is None or found.ended:
            found = self._processes[number] = WorkerProcess(number)
            found.notify("hello", self._hello(number))
            for word, *params in self.world.snapshot():
                found.notify(word, *params)
            self.world.listeners[found.notify] = None
            self.nursery.start_soon(self._run, found)
        return found

    def tell_code(self, process: WorkerProcess) -> None:
        """Let it import what emu has imported from beside the topology."""
        if self._code is None:
            return
        for name, module in list(sys.modules.items()):
            if "." in name or name in process.code or name in OURS:
                continue
            file = getattr(module, "__file__", None)
            beside = (self._code / f"{name}.py", self._code / name / "__init__.py")
            if file is not None and Path(file) in beside:
                process.notify("code", str(self._code), (name,))
            process.code.add(name)

    def _hello(self, number: int) -> Hello:
        world = self.world
        return Hello(
            number,
            tuple(sys.path),
            world.seed,
            world.links_seed,
            world.data,
            world.temporary,
            world.network.subnet.number,
            world.clock.zero_s,
            self.events.level,
        )

    async def _run(self, process: WorkerProcess) -> None:
        world, number = self.world, process.number

        def begun() -> None:
            self.events.add("debug", "process begun", {"process": number, "pid": process.pid})

        try:
            await process.run(self._hear(process), world.trunks_fd, begun)
        finally:
            del world.listeners[process.notify]
            world.forget_worker(number)
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

    # --- what a process says -------------------------------------------------------------------

    def _hear(self, process: WorkerProcess) -> Callable[..., object]:
        received = Received(self.world)
        words: dict[str, Callable[..., object]] = {
            "started": partial(self._about, "started"),
            "failed": partial(self._about, "failed"),
            "metrics": partial(self._about, "measured"),
            "writing": partial(self._about, "writing"),
            "event": self.events.add,
            "request": self.events.requests.add,
            "believed": partial(self.world.believed, process.number),
            "invoked": received.invoked,
            "completed": received.completed,
            "obeyed": process.obeyed,
        }
        return lambda word, *params: words[word](*params)

    def _about(self, what: str, name: str, generation: int, *params: Any) -> None:
        """Of a generation that has ended from here nothing is heard any more."""
        node = self.nodes.get(name)
        if node is not None and node.is_now(generation):
            getattr(node, what)(*params)


class Generation:
    """One boot of a node, as it was asked for."""

    def __init__(
        self,
        number: int,
        process: WorkerProcess,
        metrics: Metrics,
        started: Callable[[], object],
        failed: Callable[[str], object],
    ) -> None:
        self.number = number
        self.process = process
        self.copy = Copy(metrics)
        self.started = started
        self.failed = failed
        self.dead = False
        self.paused = False


class WorkerNode:
    """`emu.running.handle.NodeHandle`."""

    def __init__(self, runner: Workers, placement: Placement, worker: int) -> None:
        self._runner = runner
        self._placement = placement
        self._worker = worker
        self._generation: Generation | None = None
        spec = self._spec = placement.spec
        self.name = spec.name
        world = runner.world
        machine = world.machine(spec)  # never booted: it keeps address and clock
        assert isinstance(machine.clock, MachineClock)
        self._cores = spec.cpu.cores
        self.address = machine.address
        self._disk = WorkerDisk(
            world.data / spec.name,
            spec.disk,
            world.timers,
            tell=self._tell,
            in_use=lambda: self.running,
        )
        self._clock = WorkerClock(machine.clock, tell=self._tell)
        self.disk: DiskControl = self._disk
        self.clock: ClockControl = self._clock

    # --- what it is now ------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._generation is not None and not self._generation.dead

    @property
    def paused(self) -> bool:
        return self.running and self._generation is not None and self._generation.paused

    @property
    def metrics(self) -> Metrics:
        return self._generation.copy.metrics if self._generation is not None else Metrics()

    @property
    def process(self) -> WorkerProcess | None:
        """Where its newest generation runs, or ran."""
        return self._generation.process if self._generation is not None else None

    @property
    def cores(self) -> int:
        return self._cores

    @cores.setter
    def cores(self, cores: int) -> None:
        self._cores = cores
        self._tell("cores", cores)

    def is_now(self, generation: int) -> bool:
        now = self._generation
        return now is not None and not now.dead and now.number == generation

    def runs_in(self, process: WorkerProcess) -> bool:
        return self.running and self.process is process

    def _tell(self, word: str, *params: Any) -> bool:
        """Tell the process that has its machine, if there is one."""
        process = self.process
        if process is None or process.ended:
            return False
        process.notify(word, self.name, *params)
        return True

    # --- its life ------------------------------------------------------------------------------

    def boot(
        self, generation: int, *, started: Callable[[], object], failed: Callable[[str], object]
    ) -> None:
        assert not self.running, f"{self.name} is still running"
        spec, runner = self._spec, self._runner
        labels = {"node": spec.name, "tier": spec.tier, "region": spec.region}
        process = runner.process(self._worker)
        self._generation = Generation(generation, process, Metrics(labels), started, failed)
        runner.world.power(self.name, True)
        kind = self._placement.kind
        runner.tell_code(process)
        bare = replace(self._placement, kind=Kind(kind.config, kind.node))
        self._tell("boot", bare, generation, self._cores, self._disk.state(), self._clock.state())
        if self._disk.on_change is not None:
            self._tell("watch", True)
        if self._clock.late[0]:
            self._tell("late", *self._clock.late)

    def adopt(self, placement: Placement) -> None:
        self._placement = placement

    def end(self, *, crash: bool) -> None:
        generation = self._generation
        if generation is None or generation.dead:
            return
        generation.dead = True
        self._tell("end", crash)
        if crash:
            self._runner.world.power(self.name, False)

    def pause(self) -> None:
        if self.running and self._generation is not None and not self._generation.paused:
            self._generation.paused = True
            self._tell("pause")

    def resume(self) -> None:
        if self.paused and self._generation is not None:
            self._generation.paused = False
            self._tell("resume")

    async def in_force(self) -> None:
        process = self.process
        if process is not None:
            await process.in_force()

    async def ask(self, method: str, *params: Any, timeout_s: float = ASK_TIMEOUT_S) -> Any:
        """Over the network: its machine has its own address."""
        return await self._runner.operator.ask(self.name, method, *params, timeout_s=timeout_s)

    def remove(self) -> None:
        runner, spec = self._runner, self._spec
        runner.nodes.pop(self.name, None)
        runner.spread.take_away(self._worker, spec.tier, spec.region)
        runner.operator.forget(self.name)
        process = self.process
        there = process is not None and not process.ended
        runner.world.forget_machine(self.name, files_too=not there)

    # --- what is heard of it -------------------------------------------------------------------

    def started(self, ports: dict[int, tuple[str, int]], news: News) -> None:
        assert self._generation is not None
        self._runner.world.listens(self.name, ports)
        self._generation.copy.take_over(news)
        self._generation.started()

    def failed(self, error: str) -> None:
        assert self._generation is not None
        self._generation.dead = True
        self._generation.failed(error)

    def measured(self, news: News) -> None:
        assert self._generation is not None
        self._generation.copy.take_over(news)

    def writing(self, file: str) -> None:
        self._disk.writing(file)
