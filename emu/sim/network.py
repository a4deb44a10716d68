"""The simulated network: every machine and what listens there, with the rules of the live one.

How a node dials is card.py's business, who may dial whom is emu/machine/access.py's, what a link
does is emu/machine/links.py's.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import trio
from trio.lowlevel import ParkingLot, checkpoint

from emu.machine.access import may_dial, refusal, rights_at
from emu.machine.life import Life
from emu.machine.links import Links
from emu.machine.world import OPERATOR, MachineSpec
from emu.sim.timers import SimClock
from nodes.base import DIRECTORY_HOST, OUTSIDE, Listener, Peer, Stream

BACKLOG: Final = 1024
LEAST_LATENCY_S: Final = 20e-6
"""What a plain link takes: a loopback's delay. No time at all would let loops run for ever."""
FIXED_HOSTS: Final = {OPERATOR: 1, DIRECTORY_HOST: 2}
OUTSIDE_ADDRESS: Final = "127.0.0.1"
FIRST_EPHEMERAL_PORT: Final = 32768


class HalfOpen(Protocol):
    """An end whose machine has lost its power."""

    def reset_far_end(self) -> None:
        """The power is back: nobody knows this connection any more."""
        ...


class Bound(Protocol):
    """A datagram socket."""

    def deliver(self, data: bytes, peer: Peer, sent_s: float) -> None: ...


@dataclass(slots=True)
class Host:
    """A machine as the network knows it."""

    spec: MachineSpec
    address: str
    listeners: dict[int, SimListener] = field(default_factory=dict)
    datagrams: dict[int, Bound] = field(default_factory=dict)
    half_open: list[HalfOpen] = field(default_factory=list)
    """Connections of a crashed generation: silent until the power is back."""


class SimNetwork:
    """All machines' network cards."""

    def __init__(
        self,
        timers: SimClock,
        links: Links,
        seed: int | str,
        *,
        split_ratio: float = 0.0,
        checkpoint_every: int = 64,
        on_refused: Callable[[str, str, str], Any] = lambda dialer, target, why: None,
    ) -> None:
        self.timers = timers
        self.trace = timers.trace
        self.links = links
        self.checkpoint_every = checkpoint_every
        self.least_latency_s = LEAST_LATENCY_S
        self.split_ratio = split_ratio
        self._seed = seed
        self._splits: dict[tuple[str, str], Callable[[], float]] = {}
        self.refused_total = 0
        self.connections = 0
        """How many there were: each has its number in the trace."""
        self._on_refused = on_refused
        self.hosts: dict[str, Host] = {}
        self._name_by_address: dict[str, str] = {}
        self._next_host = 256
        self._next_port = FIRST_EPHEMERAL_PORT

    def add_machine(self, spec: MachineSpec) -> str:
        """Give the machine its address."""
        number = FIXED_HOSTS.get(spec.name)
        if number is None:
            number, self._next_host = self._next_host, self._next_host + 1
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.hosts[spec.name] = Host(spec, address)
        self._name_by_address[address] = spec.name
        return address

    def add_outside(self) -> None:
        """Whoever dials from no machine of ours: all of them share an address."""
        spec = MachineSpec(OUTSIDE, OUTSIDE, OUTSIDE, "")
        self.hosts[OUTSIDE] = Host(spec, OUTSIDE_ADDRESS)
        self._name_by_address[OUTSIDE_ADDRESS] = OUTSIDE

    def remove_machine(self, name: str) -> None:
        host = self.hosts.pop(name, None)
        if host is not None:
            self.set_power(host, True)
            self._name_by_address.pop(host.address, None)

    def host(self, name_or_address: str) -> Host | None:
        name = self._name_by_address.get(name_or_address, name_or_address)
        return self.hosts.get(name)

    def set_power(self, host: Host, on: bool) -> None:
        """Off: its peers hear nothing. On again: what they hold is reset."""
        self.links.set_power(host.spec.name, on)
        if on:
            half_open, host.half_open = host.half_open, []
            for each in half_open:
                each.reset_far_end()

    def leave_half_open(self, name: str, stream: HalfOpen) -> None:
        """Keep a crashed generation's connection silent until the power is back."""
        host = self.hosts.get(name)
        if host is not None:
            host.half_open.append(stream)

    def ephemeral_port(self) -> int:
        self._next_port += 1
        if self._next_port > 60999:
            self._next_port = FIRST_EPHEMERAL_PORT
        return self._next_port

    def split_random(self, source: str, target: str) -> Callable[[], float]:
        """Where the bytes of one direction between two machines are cut."""
        found = self._splits.get((source, target))
        if found is None:
            found = random.Random(f"{self._seed}/split/{source}/{target}").random
            self._splits[source, target] = found
        return found

    def rights(self, host: Host, port: int, name: str) -> tuple[str, ...]:
        """What `name` may ask at that port, if the port is one where not all may ask everything."""
        return rights_at(self._spec_of(name), name, host.spec, port)

    def _spec_of(self, name: str) -> MachineSpec | None:
        host = self.hosts.get(name)
        return host.spec if host is not None else None

    def admit(self, host: Host, port: int, name: str) -> bool:
        """Whether `name` may talk to that port; a refusal is counted and told."""
        dialer_spec = self._spec_of(name)
        if may_dial(dialer_spec, name, host.spec, port):
            return True
        self.refused_total += 1
        self._on_refused(name, host.spec.name, refusal(dialer_spec, name, host.spec, port))
        return False


class SimListener(Listener):
    """Connections wait here, complete, until the node accepts them."""

    def __init__(self, host: Host, life: Life | None, port: int) -> None:
        self.port = port
        self.life = life
        self._host = host
        self._backlog: deque[Stream] = deque()
        self._acceptors = ParkingLot()
        self._closed = False
        host.listeners[port] = self
        if life is not None:
            life.own(self)

    @property
    def waiting(self) -> int:
        return len(self._backlog)

    def offer(self, stream: Stream) -> None:
        self._backlog.append(stream)
        self._acceptors.unpark()

    async def accept(self) -> Stream:
        await checkpoint()
        while True:
            if self.life is not None:
                self.life.check()
            if self._closed:
                raise trio.ClosedResourceError("this listener is closed")
            if self._backlog:
                return self._backlog.popleft()
            await self._acceptors.park()

    async def aclose(self) -> None:
        if self.life is not None:
            self.life.disown(self)
        self._close()
        while self._backlog:
            self._backlog.popleft().abort()
        await checkpoint()

    def end(self, *, crash: bool) -> None:
        self._close()  # what waits in the backlog is owned by the life, and ends by itself

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._host.listeners.pop(self.port, None)
            self._acceptors.unpark_all()
