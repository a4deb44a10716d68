"""The loopback network: an address per machine, identity by source address, who is admitted.

What a node does with its network is card.py's business. Faults reach it through the links only.
"""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import trio
from trio.lowlevel import checkpoint

from emu.live.addresses import Subnet
from emu.live.readiness import Readiness
from emu.live.relay import Relays
from emu.live.timers import LiveTimers
from emu.machine.access import may_dial, refusal, rights_at
from emu.machine.life import Life
from emu.machine.links import Links
from emu.machine.world import OPERATOR, MachineSpec
from nodes.base import DIRECTORY_HOST, OUTSIDE

BUFFER_BYTES: Final = 256 * 1024
FILES_PER_MACHINE: Final = 5
"""Beside its listed ports: the admin listener, and both ends of a connection to the directory and
of one to another tier."""
SPARE_FILES: Final = 128
FIXED_HOSTS: Final = {OPERATOR: 1, DIRECTORY_HOST: 2}
LOOPBACK: Final = "127."
LOCALHOST: Final = "127.0.0.1"
ANYWHERE: Final = "0.0.0.0"
UDP: Final = 1 << 16
"""Added to a port in tables that it shares with TCP."""


class Closable(Protocol):
    """A socket that may outlive its node."""

    def close(self, *, reset: bool) -> None: ...


class Destroyable(Protocol):
    """A socket that ends with the world, whatever holds it back."""

    def destroy(self, *, reset: bool) -> None: ...


@dataclass(slots=True)
class Host:
    """A machine as the network knows it."""

    spec: MachineSpec
    address: str
    ports: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Where each port really listens: another place without loopback aliases, or where another
    program of this computer has taken the port for all addresses."""
    half_open: list[Closable] = field(default_factory=list)
    """Sockets of a crashed generation: silent until the power is back."""


class LiveNetwork:
    """All machines' network cards. `nursery` belongs to the world."""

    shaped_at_acceptor: Final = frozenset({OUTSIDE})
    least_latency_s: Final = 0.0

    def __init__(
        self,
        nursery: trio.Nursery,
        timers: LiveTimers,
        links: Links,
        *,
        aliases: bool = True,
        checkpoint_every: int = 64,
        buffer_bytes: int = BUFFER_BYTES,
        on_refused: Callable[[str, str, str], Any] = lambda dialer, target, why: None,
        on_taken: Callable[[str, int, int], Any] = lambda name, port, instead: None,
    ) -> None:
        self.timers = timers
        self.links = links
        self.checkpoint_every = checkpoint_every
        self.buffer_bytes = buffer_bytes
        self.refused_total = 0
        self.subnet = Subnet(aliases=aliases)
        self.sinks: dict[Destroyable, None] = {}
        """Every socket of a connection that is open, to be closed with the world."""
        self.relays = Relays(self.spawn)
        self.readiness = Readiness()
        self._nursery = nursery
        self._on_refused = on_refused
        self._on_taken = on_taken
        self.hosts: dict[str, Host] = {}
        self._name_by_address: dict[str, str] = {}
        self._name_by_endpoint: dict[tuple[str, int], str] = {}
        self._most_files = raise_file_limit()
        self.outer = ""
        """At which address of this computer its machines are, where some are on other computers:
        all at the same one."""
        self.common = LOCALHOST
        """Where machines are whose own address is in the network's tables only."""
        self.shared: frozenset[str] = frozenset()
        """Addresses of several machines, which tell nobody's name."""
        self.on_dialled: Callable[[tuple[str, int], str, str], object] | None = None
        """Is told from which endpoint who dials whom, just before."""
        self.on_forgotten: Callable[[tuple[str, int]], object] | None = None
        """Is told which endpoint is nobody's any more."""
        self.on_listening: Callable[[Host], object] | None = None
        """Is told of a machine that listens elsewhere than at its address and port, or no more."""
        self._listed_ports = 0

    def spawn(self, task: Callable[[], Awaitable[Any]]) -> None:
        """Run a task of the network's own."""
        with suppress(RuntimeError):  # the world is closing
            self._nursery.start_soon(task)

    def add_machine(self, spec: MachineSpec) -> str:
        """Give the machine its address. Raises OSError EMFILE where the system cannot hold more."""
        self._check_room(spec)
        address = self.subnet.address(spec.name, FIXED_HOSTS.get(spec.name))
        self.hosts[spec.name] = Host(spec, address)
        self._listed_ports += len(spec.ports)
        if address not in self.shared:
            self._name_by_address[address] = spec.name
        return address

    def move(self, host: Host, address: str) -> None:
        """The machine has another address from now on."""
        if self._name_by_address.get(host.address) == host.spec.name:
            del self._name_by_address[host.address]
        host.address = address
        host.ports.clear()
        if address not in self.shared:
            self._name_by_address[address] = host.spec.name

    def _check_room(self, spec: MachineSpec) -> None:
        count = len(self.hosts) + 1
        listed = self._listed_ports + len(spec.ports)
        needed = count * FILES_PER_MACHINE + listed + SPARE_FILES
        if needed > self._most_files:
            raise OSError(
                errno.EMFILE,
                f"{spec.name} does not fit: {count} machines need some {needed:,} open files, this "
                f"system allows {self._most_files:,}. Take fewer nodes, or raise `ulimit -Hn`",
            )

    def remove_machine(self, name: str) -> None:
        host = self.hosts.pop(name, None)
        if host is not None:
            self.set_power(host, True)
            self._listed_ports -= len(host.spec.ports)
            if self._name_by_address.get(host.address) == name:
                del self._name_by_address[host.address]

    def host(self, name_or_address: str) -> Host | None:
        name = self._name_by_address.get(name_or_address, name_or_address)
        return self.hosts.get(name)

    def where(self, name: str, port: int) -> tuple[str, int]:
        """Where a port of a machine really listens (or would)."""
        host = self.hosts[name]
        return self.place(host, port) or (host.address, port & ~UDP)

    def place(self, host: Host, port: int) -> tuple[str, int] | None:
        """Where a port of a machine is to be dialled; None: nowhere."""
        found = host.ports.get(port)
        if found is not None:
            return found
        if self.subnet.is_real(host.address):
            return host.address, port & ~UDP
        asks = port & UDP and self.name_of(self.common, port) == host.spec.name
        return (self.common, port & ~UDP) if asks else None

    def seen_at(self, name: str, address: str) -> str:
        """The address of whoever has come from there: one that machines share says nothing."""
        host = self.hosts.get(name)
        if host is None or self.subnet.is_real(host.address):
            return address
        return host.address

    def set_power(self, host: Host, on: bool) -> None:
        """Off: its peers hear nothing. On again: what they hold is reset."""
        self.links.set_power(host.spec.name, on)
        if on:
            half_open, host.half_open = host.half_open, []
            for each in half_open:
                each.close(reset=True)

    def leave_half_open(self, life: Life | None, sink: Closable) -> None:
        """Keep a crashed generation's socket open and silent until the power is back."""
        host = self.hosts.get(life.node) if life is not None else None
        if host is None:
            sink.close(reset=True)
        else:
            host.half_open.append(sink)

    def name_of(self, address: str, port: int) -> str:
        """Who dials: by source address, or (without aliases) by the port it was given."""
        found = self._name_by_endpoint.get((address, port))
        if found is None and self.subnet.aliases:
            found = self._name_by_address.get(address)
        return found or OUTSIDE

    def identify(self, endpoint: tuple[str, int], call: Callable[[str], object]) -> None:
        """Call with who has dialled from there (`name_of`), as soon as that can be known."""
        call(self.name_of(*endpoint))

    def dial_from(self, address: str, where: str) -> str:
        """The local address with which a machine of that address dials; "": any."""
        if self.outer:
            return self.outer
        if not where.startswith(LOOPBACK):  # elsewhere nobody could answer our address
            return ""
        return address if self.subnet.aliases else LOCALHOST

    def dialled(self, endpoint: tuple[str, int], dialer: str, target: str) -> None:
        """`dialer` is about to connect (or send) to `target`."""
        if self.on_dialled is not None:
            self.on_dialled(endpoint, dialer, target)

    def local_of(self, sock: socket.socket) -> tuple[str, int]:
        """Where others find that socket."""
        address, number = sock.getsockname()
        return self.outer if address == ANYWHERE else address, number

    def listening(self, sock: socket.socket, host: Host, port: int) -> None:
        """That socket is the machine's port."""
        host.ports[port] = self.local_of(sock)
        self._tell_listening(host, port, host.ports[port])

    def listens_no_more(self, host: Host, port: int) -> None:
        """That port is closed."""
        where = host.ports.pop(port, None)
        if where is not None:
            self._tell_listening(host, port, where)

    def _tell_listening(self, host: Host, port: int, where: tuple[str, int]) -> None:
        if self.on_listening is not None and where != (host.address, port & ~UDP):
            self.on_listening(host)

    def remember(self, endpoint: tuple[str, int], name: str) -> None:
        self._name_by_endpoint[endpoint] = name

    def forget(self, endpoint: tuple[str, int]) -> None:
        self._name_by_endpoint.pop(endpoint, None)
        if self.on_forgotten is not None:
            self.on_forgotten(endpoint)

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

    def bind(self, sock: socket.socket, host: Host, port: int) -> None:
        """Take the machine's own port; where another program has it, any other, with an event."""
        if not self.subnet.aliases:
            self._bind_elsewhere(sock, host, LOCALHOST, port)
            return
        if self.outer and host.address != LOCALHOST:
            self._bind_outer(sock, host, port)
            return
        try:
            sock.bind((host.address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not port:
                raise
            self._bind_elsewhere(sock, host, host.address, port)
            self._on_taken(host.spec.name, port, sock.getsockname()[1])

    def _bind_outer(self, sock: socket.socket, host: Host, port: int) -> None:
        """Of the machines that share the address the first one has the port; who comes by another
        way than the network (a forwarded port) finds that one on this computer, too."""
        address = self.outer if self.outer.startswith(LOOPBACK) else ANYWHERE
        try:
            sock.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not port:
                raise
            self._bind_elsewhere(sock, host, address, port)

    def _bind_elsewhere(self, sock: socket.socket, host: Host, address: str, port: int) -> None:
        """Take any port; of UDP and TCP the second one takes the first one's, if it can, so that
        one number names a door that speaks over both."""
        first = host.ports.get(port | UDP) or host.ports.get(port)
        try:
            sock.bind((address, first[1] if first is not None else 0))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            sock.bind((address, 0))

    async def aclose(self) -> None:
        for host in self.hosts.values():
            self.set_power(host, True)
        for sink in list(self.sinks):
            sink.destroy(reset=True)
        self.subnet.release()
        await checkpoint()


def raise_file_limit() -> int:
    """Let this process open as many sockets as the system allows; return that number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > 1 << 20:
        hard = 1 << 20
    if soft < hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            )
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
