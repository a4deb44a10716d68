"""A worker process's own world, on the network that emu claimed: it knows every machine by its
address, and lays the same shapes and rules over what its nodes send. emu's end is in shared.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from emu.live.addresses import Subnet
from emu.live.network import UDP
from emu.live.world import LiveWorld
from emu.machine.clock import ClockState, MachineClock
from emu.machine.disk import MachineDisk
from emu.machine.events import Events
from emu.machine.links import Links, Rule, Shaper, Throttle, Trunk
from emu.machine.machine import EmulatedMachine
from emu.machine.world import MachineSpec
from emu.processes.apart import GuestNetwork, boot_id, is_unreal
from emu.processes.control import plain
from emu.processes.trunks import Cells
from nodes.base import History

OWN_KEYS: Final = ("index", "time_s", "level", "event")
"""Of an event: what is no field of it."""


@dataclass(frozen=True)
class Hello:
    """What a worker process is told first."""

    number: int
    path: tuple[str, ...]
    """Where emu's own process finds modules."""
    seed: int | str
    links_seed: int | str
    data: Path
    temporary: bool
    subnet: int
    zero_s: float
    level: str
    trunks: tuple[str, int, int]
    """Where the memory is that senders share (see trunks.py)."""
    emus: str = ""
    """emu's address, where machines are on several computers; else "" (see apart.py)."""
    own: str = ""
    """This process's, as emu sees it."""
    boot: str = ""
    now_s: float = 0.0
    """Of emu's kernel, and emu's time: `zero_s` holds where that kernel is ours, too."""


class JoinedWorld(LiveWorld):
    """It makes machines for its own nodes; the others are known to its network only."""

    network_type = GuestNetwork
    network: GuestNetwork

    def __init__(
        self,
        hello: Hello,
        trunks_fd: int,
        *,
        events: Callable[[Callable[[], float]], Events],
        history: History,
    ) -> None:
        super().__init__(
            hello.links_seed,
            hello.data,
            temporary=hello.temporary,
            events=events,
            history=history,
            aliases=False,
            zero_s=zero_of(hello),
        )
        self.seed = hello.seed
        self._hello = hello
        self.links = self._links = JoinedLinks(hello.links_seed, Cells(trunks_fd))

    async def __aenter__(self) -> JoinedWorld:
        await super().__aenter__()
        self.network.subnet = self._subnet = JoinedSubnet(self._hello.subnet)
        self.network.start_listening_to(self._hello.emus, self._hello.own)
        return self

    def words(self) -> dict[str, Callable[..., object]]:
        """What emu tells of the network."""
        return {
            "machine": self._know,
            "ports": self._ports,
            "dials": self.network.hear_of,
            "closes": self.network.hear_no_more,
            "power": self._power,
            "shape": self._links.shape_with,
            "rule": self._links.put,
            "unrule": self.links.remove,
            "heal": self.links.heal,
            "settle": self.settle,
        }

    def own(self, spec: MachineSpec, clock: ClockState) -> EmulatedMachine:
        """The machine of a node that runs here, whose clock reads so."""
        if spec.name not in self._machines:
            self.network.remove_machine(spec.name)
        made = self.machine(spec)
        self.machine_clock(spec.name).restore(clock)
        return made

    def machine_clock(self, name: str) -> MachineClock:
        clock = self._machines[name].clock
        assert isinstance(clock, MachineClock)
        return clock

    def _know(self, spec: MachineSpec, address: str) -> None:
        self._subnet.know(spec.name, address)
        host = self.network.host(spec.name)
        if host is None:
            self.network.add_machine(spec)
        elif host.address != address:
            self._ports(spec.name, {})
            self.network.move(host, address)

    def forget(self, name: str) -> None:
        if name in self._machines:
            self.remove_machine(name)
        else:
            self._ports(name, {})
            self.network.remove_machine(name)
        self._subnet.forget(name)

    def reread(self, name: str) -> None:
        """emu has put other files on that disk, whose node has ended."""
        disk = self._machines[name].disk
        assert isinstance(disk, MachineDisk)
        self._files[name].reread()
        disk.cut()  # what was under way never ends

    def _ports(self, name: str, ports: dict[int, tuple[str, int]]) -> None:
        host = self.network.host(name)
        if host is None or name in self._machines:
            return
        for port, (address, number) in host.ports.items():
            self.network.forget((address, number | port & UDP))
        host.ports = dict(ports)
        for port, (address, number) in ports.items():
            self.network.remember((address, number | port & UDP), name)

    def _power(self, name: str, on: bool) -> None:
        """Of another's machine; what hangs on an own one's power is done where it is cut."""
        if name not in self._machines:
            self.links.set_power(name, on)

    def elsewhere(self, name: str) -> dict[int, tuple[str, int]]:
        """The ports of a machine that listens at others than its own."""
        host = self.network.hosts[name]
        return {port: where for port, where in host.ports.items() if where != (host.address, port)}


def zero_of(hello: Hello) -> float:
    """When emu's time began on this computer's clock; from afar that is late by what the greeting
    took."""
    if not hello.boot or hello.boot == boot_id():
        return hello.zero_s
    return time.monotonic() - hello.now_s


class JoinedSubnet(Subnet):
    """The network that another process has claimed, with the addresses that it gave."""

    def __init__(self, number: int) -> None:
        super().__init__(aliases=False)
        self.aliases = True
        self.number = number

    def is_real(self, address: str) -> bool:
        return not is_unreal(address)

    def know(self, name: str, address: str) -> None:
        self._by_name[name] = address

    def forget(self, name: str) -> None:
        self._by_name.pop(name, None)


class JoinedLinks(Links):
    """Links under the rules of another process, by its numbers."""

    def __init__(self, seed: int | str, cells: Cells) -> None:
        super().__init__(seed)
        self._cells = cells
        self._cell_of: dict[str, int] = {}

    def shape_with(self, shaper: Shaper, cells: dict[str, int]) -> None:
        self._cell_of = cells
        self.shape(shaper)

    def put(self, number: int, rule: Rule, cell: int | None) -> None:
        trunk = None
        if isinstance(rule, Throttle):
            trunk = self._cells.trunk(rule.bandwidth_bytes_per_s, cell)
        self._rules[number] = (rule, trunk)
        self._resolve_all()

    def _new_trunk(self, name: str, bandwidth_bytes_per_s: float) -> Trunk:
        return self._cells.trunk(bandwidth_bytes_per_s, self._cell_of.get(name))


def plain_events(level: str, tell: Callable[..., Any]) -> Callable[[Callable[[], float]], Events]:
    """Events that emu is told, and nobody else."""

    def made(now_s: Callable[[], float]) -> Events:
        events = Events(now_s, level=level)
        events.listeners.append(told)
        events.requests.listeners.append(told_request)
        return events

    def told(event: dict[str, Any]) -> None:
        tell("event", event["level"], event["event"], _fields(event))

    def told_request(line: dict[str, Any]) -> None:
        tell("request", line["level"], _fields(line))

    return made


def _fields(event: dict[str, Any]) -> dict[str, Any]:
    return {key: plain(value) for key, value in event.items() if key not in OWN_KEYS}
