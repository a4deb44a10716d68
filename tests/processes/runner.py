"""Runs nodes as child processes of emu: `emu.running.handle.Runner` in the live world.

`kill` is SIGKILL. A power cut is a signal that the child obeys between two bytecodes: it cuts its
files and holds its sockets, silent, until the machine is booted again. A pause withholds the node's
tasks inside the child, so that its clock goes on, as a paused machine's does.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from emu.machine.events import Events
from emu.model.topology import Placement
from emu.running.handle import ASK_TIMEOUT_S
from emu.running.operator import Operator
from nodes.kind import Kind
from nodes.metrics import Metrics
from tests.processes.control import Control, packed, unpacked
from tests.processes.registry import take_over
from tests.processes.shared import NetworkState, SharedWorld
from tests.processes.switches import ChildClock, ChildDisk

ROOT: Final = Path(__file__).parents[2]
POWER_CUT: Final = signal.SIGUSR1
CUT_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class Order:
    """What a child is told first: the node, its machine, and the network."""

    placement: Placement
    generation: int
    seed: int | str
    data: Path
    network: NetworkState
    cores: int
    disk: dict[str, Any]
    monotonic_s: float
    wall_s: float
    drift_ratio: float


class Processes:
    """`emu.running.handle.Runner`: a process for each generation of each node."""

    def __init__(
        self, world: SharedWorld, events: Events, operator: Operator, nursery: trio.Nursery
    ) -> None:
        if not isinstance(world, SharedWorld) or not world.network.subnet.aliases:
            raise OSError("child processes need a live world that is shared, with its own 127.N")
        self.world = world
        self.events = events
        self.operator = operator
        self.nursery = nursery

    def handle(self, placement: Placement) -> ChildNode:
        if placement.kind.clients:
            raise OSError(
                f"{placement.spec.name} records a history, which no child process hands over: "
                "let its kind run in emu's own process"
            )
        return ChildNode(self, placement)


class Generation:
    """One process, from its boot to its end."""

    def __init__(self, number: int, metrics: Metrics) -> None:
        self.number = number
        self.metrics = metrics
        self.dead = False
        self.crashed = False
        self.paused = False
        self.process: trio.Process | None = None
        self.control: Control | None = None
        self.told = self.heard = 0
        """Notices sent, and how many of them the process is known to have obeyed."""
        self.obeyed = trio.Event()
        self.cut_read, self.cut_write = os.pipe()
        self.scope = trio.CancelScope()
        self.over = trio.Event()

    def tell(self, word: str, *params: Any) -> None:
        if self.control is not None and not self.dead:
            self.told += 1
            self.control.tell(word, *params)

    def die(self) -> None:
        """Nothing is heard of it from now on, nor waited for."""
        self.dead = True
        self.hear(self.told)

    def hear(self, number: int) -> None:
        """The process has obeyed so many notices."""
        self.heard = number
        self.obeyed.set()
        self.obeyed = trio.Event()

    async def in_force(self) -> None:
        """Return when all that it was told holds, or it has ended, or hears nothing for long."""
        if self.heard < self.told:
            self.tell("obeyed?", self.told + 1)
        wanted = self.told
        with trio.move_on_after(ASK_TIMEOUT_S):
            while self.heard < wanted and not self.dead:
                await self.obeyed.wait()

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    async def gone(self) -> None:
        """Return when nothing of it is left: a cut one has cut its files, and is killed."""
        if self.crashed and self.process is not None:
            with trio.move_on_after(CUT_TIMEOUT_S):
                await trio.lowlevel.wait_readable(self.cut_read)
        self.scope.cancel()
        await self.over.wait()


class ChildNode:
    """`emu.running.handle.NodeHandle`."""

    def __init__(self, runner: Processes, placement: Placement) -> None:
        self._runner = runner
        self._placement = placement
        spec = self._spec = placement.spec
        self._machine = runner.world.machine(spec)  # never booted: it keeps address and clock
        self._generation: Generation | None = None
        self._cores = spec.cpu.cores
        self.address = self._machine.address
        self.disk = ChildDisk(
            runner.world.data / spec.name,
            spec.disk,
            runner.world.timers,
            tell=self.tell,
            in_use=lambda: self.running,
        )
        self.clock = ChildClock(self._machine.clock, spec.clock.drift_ratio, tell=self.tell)

    # --- what it is now ------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._generation is not None and not self._generation.dead

    @property
    def paused(self) -> bool:
        return self.running and self._generation is not None and self._generation.paused

    @property
    def metrics(self) -> Metrics:
        return self._generation.metrics if self._generation is not None else Metrics()

    @property
    def pid(self) -> int:
        """Of the newest generation's process."""
        assert self._generation is not None and self._generation.process is not None
        return self._generation.process.pid

    @property
    def cores(self) -> int:
        return self._cores

    @cores.setter
    def cores(self, cores: int) -> None:
        self._cores = cores
        self.tell("cores", cores)

    def tell(self, word: str, *params: Any) -> None:
        """Tell the process that runs now; the next is told at its boot."""
        if self._generation is not None:
            self._generation.tell(word, *params)

    # --- its life ------------------------------------------------------------------------------

    def boot(
        self, generation: int, *, started: Callable[[], object], failed: Callable[[str], object]
    ) -> None:
        assert not self.running, f"{self._spec.name} is still running"
        spec, before = self._spec, self._generation
        labels = {"node": spec.name, "tier": spec.tier, "region": spec.region}
        self._generation = Generation(generation, Metrics(labels))
        self._runner.nursery.start_soon(self._run, self._generation, before, started, failed)

    async def _run(
        self,
        generation: Generation,
        before: Generation | None,
        started: Callable[[], object],
        failed: Callable[[str], object],
    ) -> None:
        """One generation, from the end of the one before to its own."""
        why = ""
        try:
            with generation.scope:
                if before is not None:
                    await before.gone()
                self._runner.world.power(self._spec.name, True)
                why = await self._live(generation, started)
        finally:
            with trio.CancelScope(shield=True):
                await _reap(generation)
        if not generation.dead:
            generation.die()
            failed(why)

    async def _live(self, generation: Generation, started: Callable[[], object]) -> str:
        """Run the process; return why it ended by itself."""
        ours, theirs = socket.socketpair()
        control = Control(ours)
        try:
            with theirs:
                fds = (theirs.fileno(), generation.cut_write)
                generation.process = await trio.lowlevel.open_process(
                    [sys.executable, "-m", "tests.processes.child", *map(str, fds)],
                    pass_fds=fds,
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for emu, which ends it
                )
            generation.control = control
            generation.tell("boot", packed(self._order(generation)))
            if generation.paused:
                generation.tell("pause")
            self._runner.world.listeners[self._network_changed] = None
            return await self._listen(generation, control, started)
        finally:
            self._runner.world.listeners.pop(self._network_changed, None)
            with trio.CancelScope(shield=True):
                await control.aclose()

    async def _listen(
        self, generation: Generation, control: Control, started: Callable[[], object]
    ) -> str:
        """Hear what the process says until it ends; return why."""
        told: list[str] = []

        def failed(error: str) -> None:
            told.append(error)
            generation.signal(signal.SIGKILL)

        def event(level: str, event: str, fields: bytes) -> None:
            self._runner.events.add(level, event, unpacked(fields))

        words: dict[str, Callable[..., object]] = {
            "started": started,
            "failed": failed,
            "event": event,
            "metrics": partial(take_over, generation.metrics),
            "writing": self.disk.writing,
            "obeyed": generation.hear,
        }

        def unless_dead(handler: Callable[..., object]) -> Callable[..., object]:
            return lambda *params: None if generation.dead else handler(*params)

        await control.serve({word: unless_dead(each) for word, each in words.items()})
        assert generation.process is not None
        await generation.process.wait()
        return told[0] if told else f"the process ended ({generation.process.returncode})"

    def _order(self, generation: Generation) -> Order:
        world = self._runner.world
        kind = self._placement.kind
        return Order(
            replace(self._placement, kind=Kind(kind.config, kind.node)),
            generation.number,
            world.seed,
            world.data,
            world.network_state(),
            self._cores,
            self.disk.state(),
            *self.clock.state(),
        )

    def _network_changed(self) -> None:
        self.tell("network", packed(self._runner.world.network_state()))

    def end(self, *, crash: bool) -> None:
        generation = self._generation
        if generation is None or generation.dead:
            return
        generation.crashed = crash
        generation.die()
        if crash:
            self._runner.world.power(self._spec.name, False)
        if crash and generation.control is not None:
            generation.signal(POWER_CUT)
        elif generation.process is not None:
            generation.signal(signal.SIGKILL)
        else:
            generation.scope.cancel()

    def pause(self) -> None:
        if self.running and self._generation is not None and not self._generation.paused:
            self._generation.paused = True
            self.tell("pause")

    def resume(self) -> None:
        if self.paused and self._generation is not None:
            self._generation.paused = False
            self.tell("resume")

    async def in_force(self) -> None:
        if self.running and self._generation is not None:
            await self._generation.in_force()

    async def ask(self, method: str, *params: Any, timeout_s: float = ASK_TIMEOUT_S) -> Any:
        """Over the network: the child's machine has its own address."""
        name = self._spec.name
        return await self._runner.operator.ask(name, method, *params, timeout_s=timeout_s)

    def remove(self) -> None:
        if self._generation is not None:
            self._generation.scope.cancel()
        self._runner.operator.forget(self._spec.name)
        self._runner.world.remove_machine(self._spec.name)


async def _reap(generation: Generation) -> None:
    """Nothing of the process is left after this."""
    process = generation.process
    if process is not None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    os.close(generation.cut_read)
    os.close(generation.cut_write)
    generation.over.set()
