"""One node in another process, as the supervisor holds it: `emu.running.handle.NodeHandle`.

emu's own process keeps what outlives that process: address, switches, cores. Which process it is
its home says (runner.py, joining.py); where there is none yet, a boot waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from emu.machine.clock import MachineClock
from emu.machine.world import ClockControl, DiskControl
from emu.model.topology import Placement
from emu.processes.process import NodesProcess
from emu.processes.registry import Copy, News
from emu.processes.shared import SharedWorld
from emu.processes.switches import WorkerClock, WorkerDisk
from emu.running.handle import ASK_TIMEOUT_S
from emu.running.operator import Operator
from nodes.kind import Kind
from nodes.metrics import Metrics


class Home(Protocol):
    """Who says in which process a node runs."""

    world: SharedWorld
    operator: Operator

    def process_of(self, node: ElsewhereNode) -> NodesProcess | None:
        """The one that is to run it; None: it is still to come, and says so by `run_in`."""
        ...

    def waited_for(self, node: ElsewhereNode) -> str:
        """What is to be done so that its process comes, in words."""
        ...

    def tell_code(self, process: NodesProcess) -> None:
        """Let it import what emu has imported from beside the topology."""
        ...

    def removed(self, node: ElsewhereNode) -> None:
        """It has gone for good."""
        ...


class Generation:
    """One boot of a node, as it was asked for."""

    def __init__(
        self,
        number: int,
        metrics: Metrics,
        started: Callable[[], object],
        failed: Callable[[str], object],
    ) -> None:
        self.number = number
        self.process: NodesProcess | None = None
        """None: it waits for one."""
        self.copy = Copy(metrics)
        self.started = started
        self.failed = failed
        self.dead = False
        self.paused = False


class ElsewhereNode:
    """`emu.running.handle.NodeHandle`."""

    def __init__(self, home: Home, placement: Placement) -> None:
        self._home = home
        self._placement = placement
        self._generation: Generation | None = None
        spec = self.spec = placement.spec
        self.name = spec.name
        world = home.world
        machine = world.machine(spec)  # never booted: it keeps place and clock
        assert isinstance(machine.clock, MachineClock)
        self._cores = spec.cpu.cores
        self._disk = WorkerDisk(
            world.data / spec.name,
            spec.disk,
            world.timers,
            tell=self._tell,
            in_use=lambda: self.running,
            here=not world.outer,
        )
        self._clock = WorkerClock(machine.clock, tell=self._tell)
        self.disk: DiskControl = self._disk
        self.clock: ClockControl = self._clock

    # --- what it is now ------------------------------------------------------------------------

    @property
    def address(self) -> str:
        return self._home.world.address_of(self.name)

    @property
    def running(self) -> bool:
        return self._generation is not None and not self._generation.dead

    @property
    def paused(self) -> bool:
        return self.running and self._generation is not None and self._generation.paused

    @property
    def waits_for(self) -> str:
        generation = self._generation
        if generation is None or generation.dead or generation.process is not None:
            return ""
        return self._home.waited_for(self)

    @property
    def metrics(self) -> Metrics:
        return self._generation.copy.metrics if self._generation is not None else Metrics()

    @property
    def process(self) -> NodesProcess | None:
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

    def runs_in(self, process: NodesProcess) -> bool:
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
        spec = self.spec
        labels = {"node": spec.name, "tier": spec.tier, "region": spec.region}
        self._generation = Generation(generation, Metrics(labels), started, failed)
        self._home.world.power(self.name, True)
        process = self._home.process_of(self)
        if process is not None:
            self.run_in(process)

    def run_in(self, process: NodesProcess) -> None:
        """Its process is there: begin the generation that waits for it, if one does."""
        generation = self._generation
        if generation is None or generation.dead or generation.process is not None:
            return
        generation.process = process
        self._disk.here = not (self._home.world.outer or process.own_disks)
        self._home.tell_code(process)
        kind = self._placement.kind
        bare = replace(self._placement, kind=Kind(kind.config, kind.node))
        state = self._cores, self._disk.state(), self._clock.state()
        self._tell("boot", bare, generation.number, *state)
        if self._disk.on_change is not None:
            self._tell("watch", True)
        if self._clock.late[0]:
            self._tell("late", *self._clock.late)
        if generation.paused:
            self._tell("pause")

    def adopt(self, placement: Placement) -> None:
        self._placement = placement

    def end(self, *, crash: bool) -> None:
        generation = self._generation
        if generation is None or generation.dead:
            return
        generation.dead = True
        self._tell("end", crash)
        if crash:
            self._home.world.power(self.name, False)

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
        return await self._home.operator.ask(self.name, method, *params, timeout_s=timeout_s)

    def remove(self) -> None:
        home, process = self._home, self.process
        home.removed(self)
        home.operator.forget(self.name)
        there = process is not None and not process.ended
        home.world.forget_machine(self.name, files_too=not there)

    # --- what is heard of it -------------------------------------------------------------------

    def started(self, ports: dict[int, tuple[str, int]], news: News) -> None:
        assert self._generation is not None
        self._home.world.listens(self.name, ports)
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
