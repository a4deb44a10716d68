"""The simulated network: every machine's card in memory, with the rules of the live one.

Nobody opens a socket here. Who may dial whom is emu/machine/access.py's business, what a
link does is emu/machine/links.py's.
"""

from __future__ import annotations

import errno
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import trio
from trio.lowlevel import ParkingLot, checkpoint

from emu.machine.access import may_dial, refusal
from emu.machine.handshake import shake_hands, sleep
from emu.machine.life import Life
from emu.machine.links import Links
from emu.machine.world import OPERATOR, MachineSpec
from emu.sim.datagrams import SimDatagramSocket
from emu.sim.streams import SimStream
from emu.sim.timers import SimClock
from nodes.base import DIRECTORY_HOST, OUTSIDE, Listener, Peer, Stream

BACKLOG: Final = 1024
LEAST_LATENCY_S: Final = 20e-6
"""What a plain link takes: a loopback's delay. No time at all would let loops run for ever."""
FIXED_HOSTS: Final = {OPERATOR: 1, DIRECTORY_HOST: 2}
OUTSIDE_ADDRESS: Final = "127.0.0.1"
FIRST_EPHEMERAL_PORT: Final = 32768


@dataclass(slots=True)
class Host:
    """A machine as the network knows it."""

    spec: MachineSpec
    address: str
    listeners: dict[int, SimListener] = field(default_factory=dict)
    datagrams: dict[int, SimDatagramSocket] = field(default_factory=dict)
    graves: list[SimStream] = field(default_factory=list)
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
        self._hosts: dict[str, Host] = {}
        self._name_by_address: dict[str, str] = {}
        self._next_host = 256
        self._next_port = FIRST_EPHEMERAL_PORT

    def add_machine(self, spec: MachineSpec) -> str:
        """Give the machine its address."""
        number = FIXED_HOSTS.get(spec.name)
        if number is None:
            number, self._next_host = self._next_host, self._next_host + 1
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self._hosts[spec.name] = Host(spec, address)
        self._name_by_address[address] = spec.name
        return address

    def remove_machine(self, name: str) -> None:
        host = self._hosts.pop(name, None)
        if host is not None:
            self.set_power(host, True)
            self._name_by_address.pop(host.address, None)

    def host(self, name_or_address: str) -> Host | None:
        name = self._name_by_address.get(name_or_address, name_or_address)
        return self._hosts.get(name)

    def set_power(self, host: Host, on: bool) -> None:
        """Off: its peers hear nothing. On again: what they hold is reset."""
        self.links.set_power(host.spec.name, on)
        if on:
            graves, host.graves = host.graves, []
            for grave in graves:
                grave.rise()

    def bury(self, name: str, stream: SimStream) -> None:
        """Keep a crashed generation's connection silent until the power is back."""
        host = self._hosts.get(name)
        if host is not None:
            host.graves.append(stream)

    def card(self, spec: MachineSpec, life: Life | None) -> SimCard:
        return SimCard(self, self._hosts[spec.name], life)

    def operator_card(self) -> SimCard:
        spec = MachineSpec(OPERATOR, OPERATOR, OPERATOR, "")
        if OPERATOR not in self._hosts:
            self.add_machine(spec)
        return SimCard(self, self._hosts[OPERATOR], None)

    def outside_card(self) -> SimCard:
        """A client from outside: nobody knows its name."""
        if OUTSIDE not in self._hosts:
            spec = MachineSpec(OUTSIDE, OUTSIDE, OUTSIDE, "")
            self._hosts[OUTSIDE] = Host(spec, OUTSIDE_ADDRESS)
            self._name_by_address[OUTSIDE_ADDRESS] = OUTSIDE
        return SimCard(self, self._hosts[OUTSIDE], None)

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

    def admit(self, host: Host, port: int, name: str) -> bool:
        """Whether `name` may talk to that port; a refusal is counted and told."""
        dialer = self._hosts.get(name)
        dialer_spec = dialer.spec if dialer is not None else None
        if may_dial(dialer_spec, name, host.spec, port):
            return True
        self.refused_total += 1
        self._on_refused(name, host.spec.name, refusal(dialer_spec, name, host.spec, port))
        return False


class SimCard:
    """One machine's network card, as one generation of its node sees it (nodes.base.Network)."""

    def __init__(self, network: SimNetwork, host: Host, life: Life | None) -> None:
        self.address = host.address
        self._network = network
        self._host = host
        self._life = life
        self._name = host.spec.name

    def after_arrivals(self, call: Callable[[], object]) -> None:
        call()

    async def open_stream(self, host: str, port: int) -> Stream:
        await checkpoint()
        self._check()
        target = self._network.host(host)
        if target is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"no machine is called {host}")
        await self._cross(target, port)
        self._check()
        listener = target.listeners.get(port)
        if listener is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{target.spec.name}:{port} is closed")
        return self._connect(target, listener)

    async def _cross(self, target: Host, port: int) -> None:
        """The handshake's time; a client from outside is connected whatever its link does."""
        network, least_s = self._network, 2 * self._network.least_latency_s
        if self._name == OUTSIDE:
            await sleep(network.timers, least_s)
            return
        await shake_hands(
            network.timers,
            network.links,
            self._name,
            target.spec.name,
            least_s=least_s,
            dropped=lambda: _is_full(target, port),
        )

    def _connect(self, target: Host, listener: SimListener) -> Stream:
        network, port = self._network, listener.port
        near = SimStream(
            network, self._life, self._name, Peer(target.spec.name, target.address, port)
        )
        dialer = Peer(self._name, self.address, network.ephemeral_port())
        far = SimStream(network, listener.life, target.spec.name, dialer)
        network.connections += 1
        near.join(far, port, network.connections)
        far.join(near, port, network.connections)
        detail = f"{port}/{network.connections}"
        network.trace.note(network.timers.now, "connect", self._name, target.spec.name, detail)
        if network.admit(target, port, self._name):
            listener.offer(far)
        else:
            far.abort()
        return near

    async def listen(self, port: int) -> Listener:
        await checkpoint()
        self._check()
        if port in self._host.listeners:
            raise OSError(errno.EADDRINUSE, f"port {port} of {self._name} is in use")
        return SimListener(self._host, self._life, port)

    async def open_datagram(self, port: int = 0) -> SimDatagramSocket:
        await checkpoint()
        self._check()
        return SimDatagramSocket(self._network, self._host, self._life, port)

    def _check(self) -> None:
        if self._life is not None:
            self._life.check()


def _is_full(host: Host, port: int) -> bool:
    """A full backlog drops the handshake, as Linux does."""
    listener = host.listeners.get(port)
    return listener is not None and listener.waiting >= BACKLOG


class SimListener(Listener):
    """Connections wait here, complete, until the node accepts them."""

    def __init__(self, host: Host, life: Life | None, port: int) -> None:
        self.port = port
        self.life = life
        self._host = host
        self._backlog: deque[SimStream] = deque()
        self._acceptors = ParkingLot()
        self._closed = False
        host.listeners[port] = self
        if life is not None:
            life.own(self)

    @property
    def waiting(self) -> int:
        return len(self._backlog)

    def offer(self, stream: SimStream) -> None:
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
