"""What the cluster needs of a world, live or simulated: machines, links, timers. No
tier is known here."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from nodes.base import RPC_PORT, Context, History, Network, Timer
from nodes.kind import RPC, Port
from nodes.metrics import Metrics

if TYPE_CHECKING:
    from emu.machine.life import Life
    from emu.machine.links import Links

OPERATOR = "emu"
"""The network name of emu itself: it may dial every listener, over links that are never faulted."""

OBSERVE_PORT = 9100
"""Where emu itself answers HTTP: metrics, service discovery, events, the live page."""
OBSERVE = Port("http", OBSERVE_PORT, ("http",))


class Timers(Protocol):
    """The world's true time (seconds since the run began) and its one heap of things to come."""

    def now_s(self) -> float:
        """Never goes back."""
        ...

    def withheld_s(self) -> float:
        """By how much real time is ahead of it, as the computer did not let emu run."""
        ...

    def cpu_s(self) -> float:
        """Seconds of processor that the loop has used; virtual time takes none."""
        ...

    def call_at(self, when_s: float, callback: Callable[[], object]) -> Timer:
        """Equal times run in the order in which they were asked for."""
        ...


@dataclass(frozen=True, slots=True)
class CpuSpec:
    """`cores` 0: not declared, nothing is charged."""

    cores: int = 0
    service_time_s: float = 0.0
    max_queue: int = 1024
    stands_for: float = 1.0
    """How many pieces of work each that comes stands for: above 1 where users are a sample."""
    order: str = "fifo"
    limit: str = "static"
    drop_expired: bool = True
    drop_abandoned: bool = True
    shed_wait_s: float = 0.0

    def not_of_crowds(self) -> tuple[str, ...]:
        """The options that say more than a crowd's queue knows: that one is first-in first-out,
        and nobody in it waits in vain."""
        plain = CpuSpec()
        names = ("order", "limit", "drop_expired", "drop_abandoned", "shed_wait_s")
        changed = (name for name in names if getattr(self, name) != getattr(plain, name))
        return tuple(name.removesuffix("_s") for name in changed)


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """What the modelled disk can do. `sync_mode` real: fdatasync off the loop."""

    sync_mode: str = "modelled"
    sync_latency_s: float = 0.0002
    read_latency_s: float = 0.0001
    bandwidth_bytes_per_s: float = 500e6
    capacity_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class ClockSpec:
    """`drift_ratio` 0.001: a clock that gains one millisecond a second."""

    offset_s: float = 0.0
    drift_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class LogSpec:
    """Which requests a node tells of: all that took `slow_s`, and a share of the others."""

    sample_ratio: float = 0.0
    slow_s: float = 1.0


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """One emulated machine, as the topology declares it."""

    name: str
    tier: str
    kind: str
    region: str
    ports: tuple[Port, ...] = (RPC,)
    """What can be dialled beside the admin port, the main one first."""
    public: bool = False
    """Whether users and clients from outside may dial its public ports."""
    from_outside: bool = False
    """Whether it comes as clients from outside do, whatever edges its tier declares."""
    group: str = ""
    """The declared tier it comes from, where a kind stands for several."""
    dials: tuple[str, ...] = ()
    """Tiers and groups whose listed ports this machine may dial (its own tier included
    if it has peers)."""
    rights: tuple[tuple[str, str], ...] = ()
    """What else it may there: (right, tier or group), by words of protocols.control.RIGHTS."""
    outside: tuple[tuple[str, int], ...] = ()
    """Places of this computer, no machines of ours, that it may dial."""
    cpu: CpuSpec = field(default_factory=CpuSpec)
    disk: DiskSpec = field(default_factory=DiskSpec)
    clock: ClockSpec = field(default_factory=ClockSpec)
    logs: LogSpec = field(default_factory=LogSpec)

    @property
    def port(self) -> int:
        """The main port's number."""
        return self.ports[0].number if self.ports else RPC_PORT

    def listed(self, number: int) -> Port | None:
        for port in self.ports:
            if port.number == number:
                return port
        return None


class DiskControl(Protocol):
    """The fault switches of one machine's disk."""

    slow_factor: float
    """Multiplies every latency and divides the bandwidth."""
    fail_reads: bool
    fail_writes: bool
    full: bool
    bandwidth_bytes_per_s: float
    capacity_bytes: int
    """May be changed while it runs, as the bandwidth: the machine has another disk."""
    here: bool
    """Whether emu sees its files."""
    on_change: Callable[[str], object] | None
    """Called once, with the file's name, when the next change begins its way to the platter."""

    def flip_bit(self, name: str, byte_offset: int, bit: int) -> None:
        """Damage one bit of a file in place (negative offsets count from the end)."""
        ...

    def names(self) -> list[str]:
        """Of its files, whether the node runs or not."""
        ...

    def read(self, name: str) -> bytes:
        """A whole file, as the page cache has it. Raises OSError."""
        ...

    def wipe(self) -> None:
        """Remove every file: the machine was replaced."""
        ...

    def load(self, files: Mapping[str, bytes]) -> None:
        """Be a disk that has these files and no others, durably; the node must have ended."""
        ...


class ClockControl(Protocol):
    """The fault switches of one machine's clock."""

    def step(self, seconds: float) -> None:
        """Jump the wall clock; monotonic time does not move."""
        ...

    def set_drift(self, drift_ratio: float) -> None: ...
    def set_late(self, up_to_s: float, rng: random.Random) -> None:
        """Timers that are armed from now on come late, each by any time up to that."""
        ...


class Machine(Protocol):
    """A machine outlives its generations: address, disk, clock and cpu stay."""

    spec: MachineSpec
    address: str
    disk: DiskControl
    clock: ClockControl
    cores: int
    """May be changed while it runs."""
    metrics: Metrics
    """The newest generation's."""

    def boot(self, generation: int) -> tuple[Life, Context]:
        """A fresh generation; the one before must be dead."""
        ...


class World(Protocol):
    """Both worlds are async context managers: on exit every socket, file and timer
    of theirs is gone."""

    name: str
    links: Links
    metrics: Metrics
    """What the world measures of itself."""
    history: History
    """What clients did; put another in its place before boot to keep it."""
    epoch_s: float
    """The Unix time at which the run's true time is 0."""
    honest_disks: bool
    """Whether a disk that says it has synced has done so."""
    in_processes: bool
    """Whether machines of it are in other processes, which say a moment later what was seen."""

    @property
    def timers(self) -> Timers: ...
    def machine(self, spec: MachineSpec) -> Machine:
        """Build a machine, or find the one of that name."""
        ...

    def remove_machine(self, name: str) -> None:
        """Free its address and (if the world's data is temporary) its folder. It must be dead."""
        ...

    def endpoint(self, name: str, port: int) -> str:
        """`address:port` where clients from outside reach that port of a machine."""
        ...

    def operator_network(self) -> Network:
        """The network card of emu itself, for the admin listeners and the directory."""
        ...

    def outside_network(self) -> Network:
        """A card for a client from outside: it reaches public listeners only."""
        ...

    def machines(self) -> Iterable[Machine]: ...
    def save(self, path: str, data: bytes) -> None:
        """Write a file of whoever operates the cluster, whole or not at all. Raises OSError."""
        ...

    def load(self, path: str) -> bytes:
        """Read one. Raises OSError."""
        ...

    def settle(self) -> None:
        """Booting is over: what is measured of the world itself begins now."""
        ...

    def fidelity(self) -> dict[str, Any]:
        """How far its times can be believed: `loop_lag_s`, `trustworthy`, `reasons`."""
        ...
