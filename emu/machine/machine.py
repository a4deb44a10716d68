"""One emulated machine, in both worlds: address, disk, clock and cores stay while
generations come and go."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from emu.machine.clock import MachineClock, NodeClock
from emu.machine.context import NodeContext
from emu.machine.cpu import NodeCpu
from emu.machine.disk import MachineDisk, NodeDisk
from emu.machine.events import Events
from emu.machine.life import Holder, Life
from emu.machine.requests import NodeAccess
from emu.machine.world import ClockControl, DiskControl, MachineSpec, Timers
from nodes.base import Context, History, Log, Network
from nodes.metrics import Metrics


class Hypervisor(Protocol):
    """What a machine needs of its world."""

    seed: int | str
    holder: Holder
    history: History
    events: Events

    @property
    def timers(self) -> Timers: ...
    def card(self, spec: MachineSpec, life: Life) -> Network: ...
    def power(self, name: str, on: bool) -> None: ...
    def log_for(self, spec: MachineSpec) -> Log: ...
    def rare_for(self, spec: MachineSpec) -> Callable[[str], bool]: ...
    @property
    def reached(self) -> Callable[[str], object]: ...


class EmulatedMachine:
    """emu.machine.world.Machine."""

    def __init__(
        self,
        world: Hypervisor,
        spec: MachineSpec,
        address: str,
        disk: MachineDisk,
        clock: MachineClock,
    ) -> None:
        self.spec = spec
        self.address = address
        self.disk: DiskControl = disk
        self.clock: ClockControl = clock
        self._disk = disk
        self._clock = clock
        self.life: Life | None = None
        self.metrics = Metrics()
        self._world = world
        self._cores = spec.cpu.cores
        self._cpu: NodeCpu | None = None

    @property
    def cores(self) -> int:
        return self._cores

    @cores.setter
    def cores(self, cores: int) -> None:
        self._cores = cores
        if self._cpu is not None:
            self._cpu.cores = cores

    def boot(self, generation: int) -> tuple[Life, Context]:
        """A fresh generation; the one before must be dead."""
        assert self.life is None or self.life.dead, f"{self.spec.name} is still running"
        world, spec = self._world, self.spec
        world.power(spec.name, True)
        life = self.life = Life(spec.name, generation, world.holder)
        life.own(_Power(world, spec.name, self._disk))
        clock = NodeClock(self._clock, life)
        metrics = self.metrics = Metrics(
            {"node": spec.name, "tier": spec.tier, "region": spec.region}
        )
        self._cpu = NodeCpu(
            world.timers, life, clock, spec.cpu, metrics, cores=self._cores,
            rng=Random(f"{world.seed}/crowd/{spec.name}/{generation}"),
        )  # fmt: skip
        disk = NodeDisk(self._disk, life, metrics)
        context = NodeContext(
            spec,
            life,
            seed=world.seed,
            network=world.card(spec, life),
            disk=disk,
            clock=clock,
            cpu=self._cpu,
            metrics=metrics,
            log=world.log_for(spec),
            access=NodeAccess(world.events.requests, spec, life),
            history=world.history,
            rare=world.rare_for(spec),
            reached=world.reached,
        )
        return life, context


class _Power:
    """A crash turns the machine's power off, before its sockets are touched."""

    def __init__(self, world: Hypervisor, name: str, disk: MachineDisk) -> None:
        self._world = world
        self._name = name
        self._disk = disk

    def end(self, *, crash: bool) -> None:
        if crash:
            self._world.power(self._name, False)
            self._disk.cut()
