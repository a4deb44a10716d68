"""The loopback network: an address per machine, identity by source address, links
applied at the sender.

Nobody but this module opens a socket for a node. Faults reach it through the links only.
"""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import trio
from trio.lowlevel import checkpoint, wait_readable, wait_writable

from emu.live.addresses import AddressSlot
from emu.live.datagrams import UDP, LiveDatagramSocket
from emu.live.readiness import Readiness
from emu.live.relay import Relays
from emu.live.sockets import SocketSink, prepare
from emu.live.streams import LiveStream
from emu.live.timers import LiveTimers
from emu.machine.access import may_dial, refusal
from emu.machine.handshake import shake_hands
from emu.machine.life import Life
from emu.machine.links import Links
from emu.machine.world import OBSERVE, OPERATOR, MachineSpec
from nodes.base import DIRECTORY_HOST, OUTSIDE, Listener, Peer, Stream

BUFFER_BYTES: Final = 256 * 1024
BACKLOG: Final = 1024
FILES_PER_MACHINE: Final = 5
"""Beside its listed ports: the admin listener, and both ends of a connection to the directory and
of one to another tier."""
SPARE_FILES: Final = 128
FIXED_HOSTS: Final = {OPERATOR: 1, DIRECTORY_HOST: 2}


class Closable(Protocol):
    def close(self, *, reset: bool) -> None: ...


@dataclass(slots=True)
class Host:
    """A machine as the network knows it."""

    spec: MachineSpec
    address: str
    ports: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Where each port really listens: another place without loopback aliases, or where another
    program of this computer has taken the port for all addresses."""
    graves: list[Closable] = field(default_factory=list)
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
        self.slot = AddressSlot(aliases=aliases)
        self.sinks: dict[SocketSink, None] = {}
        """Every socket of a connection that is open, to be closed with the world."""
        self.relays = Relays(self.spawn)
        self.readiness = Readiness()
        self._nursery = nursery
        self._on_refused = on_refused
        self._on_taken = on_taken
        self._hosts: dict[str, Host] = {}
        self._name_by_address: dict[str, str] = {}
        self._name_by_endpoint: dict[tuple[str, int], str] = {}
        self._most_files = raise_file_limit()
        self._listed_ports = 0

    def spawn(self, task: Callable[[], Awaitable[Any]]) -> None:
        """Run a task of the network's own."""
        with suppress(RuntimeError):  # the world is closing
            self._nursery.start_soon(task)

    def add_machine(self, spec: MachineSpec) -> str:
        """Give the machine its address. Raises OSError EMFILE where the system cannot hold more."""
        self._check_room(spec)
        address = self.slot.address(spec.name, FIXED_HOSTS.get(spec.name))
        self._hosts[spec.name] = Host(spec, address)
        self._listed_ports += len(spec.ports)
        self._name_by_address[address] = spec.name
        return address

    def _check_room(self, spec: MachineSpec) -> None:
        count = len(self._hosts) + 1
        listed = self._listed_ports + len(spec.ports)
        needed = count * FILES_PER_MACHINE + listed + SPARE_FILES
        if needed > self._most_files:
            raise OSError(
                errno.EMFILE,
                f"{spec.name} does not fit: {count} machines need some {needed:,} open files, this "
                f"system allows {self._most_files:,}. Take fewer nodes, or raise `ulimit -Hn`",
            )

    def remove_machine(self, name: str) -> None:
        host = self._hosts.pop(name, None)
        if host is not None:
            self.set_power(host, True)
            self._listed_ports -= len(host.spec.ports)
            self._name_by_address.pop(host.address, None)

    def host(self, name_or_address: str) -> Host | None:
        name = self._name_by_address.get(name_or_address, name_or_address)
        return self._hosts.get(name)

    def where(self, name: str, port: int) -> tuple[str, int]:
        """Where a port of a machine really listens (or would)."""
        host = self._hosts[name]
        return host.ports.get(port, (host.address, port))

    def set_power(self, host: Host, on: bool) -> None:
        """Off: its peers hear nothing. On again: what they hold is reset."""
        self.links.set_power(host.spec.name, on)
        if on:
            graves, host.graves = host.graves, []
            for grave in graves:
                grave.close(reset=True)

    def bury(self, life: Life | None, sink: Closable) -> None:
        """Keep a crashed generation's socket open and silent until the power is back."""
        host = self._hosts.get(life.node) if life is not None else None
        if host is None:
            sink.close(reset=True)
        else:
            host.graves.append(sink)

    def card(self, spec: MachineSpec, life: Life | None) -> LiveCard:
        return LiveCard(self, self._hosts[spec.name], life)

    def operator_card(self) -> LiveCard:
        spec = MachineSpec(OPERATOR, OPERATOR, OPERATOR, "", (OBSERVE,), public=True)
        if OPERATOR not in self._hosts:
            self.add_machine(spec)
        return LiveCard(self, self._hosts[OPERATOR], None)

    def outside_card(self) -> LiveCard:
        """A client from outside: it dials from 127.0.0.1 and nobody knows its name."""
        spec = MachineSpec(OUTSIDE, OUTSIDE, OUTSIDE, "")
        return LiveCard(self, Host(spec, "127.0.0.1"), None)

    def name_of(self, address: str, port: int) -> str:
        """Who dials: by source address, or (without aliases) by the port it was given."""
        found = self._name_by_endpoint.get((address, port))
        if found is None and self.slot.aliases:
            found = self._name_by_address.get(address)
        return found or OUTSIDE

    def remember(self, endpoint: tuple[str, int], name: str) -> None:
        self._name_by_endpoint[endpoint] = name

    def forget(self, endpoint: tuple[str, int]) -> None:
        self._name_by_endpoint.pop(endpoint, None)

    def admit(self, host: Host, port: int, name: str) -> bool:
        """Whether `name` may talk to that port; a refusal is counted and told."""
        dialer = self._hosts.get(name)
        dialer_spec = dialer.spec if dialer is not None else None
        if may_dial(dialer_spec, name, host.spec, port):
            return True
        self.refused_total += 1
        self._on_refused(name, host.spec.name, refusal(dialer_spec, name, host.spec, port))
        return False

    def bind(self, sock: socket.socket, host: Host, port: int) -> None:
        """Take the machine's own port; where another program has it, any other, with an event."""
        if not self.slot.aliases:
            self._bind_elsewhere(sock, host, "127.0.0.1", port)
            return
        try:
            sock.bind((host.address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not port:
                raise
            self._bind_elsewhere(sock, host, host.address, port)
            self._on_taken(host.spec.name, port, sock.getsockname()[1])

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
        for host in self._hosts.values():
            self.set_power(host, True)
        for sink in list(self.sinks):
            sink.destroy(reset=True)
        self.slot.release()
        await checkpoint()


class LiveCard:
    """One machine's network card, as one generation of its node sees it."""

    def __init__(self, network: LiveNetwork, host: Host, life: Life | None) -> None:
        self.address = host.address
        self._network = network
        self._host = host
        self._life = life
        self._name = host.spec.name

    def after_arrivals(self, call: Callable[[], object]) -> None:
        afterwards = self._network.readiness.afterwards
        if afterwards is None or self._life is None:
            call()
        else:
            afterwards.append(partial(self._life.call, call))

    async def open_stream(self, host: str, port: int) -> Stream:
        await checkpoint()
        self._check()
        target = self._network.host(host)
        if target is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"no machine is called {host}")
        if self._name != OUTSIDE:  # whom the kernel connects, whatever we do
            await shake_hands(
                self._network.timers, self._network.links, self._name, target.spec.name
            )
            self._check()
        return await self._connect(target, port)

    async def _connect(self, target: Host, port: int) -> Stream:
        network = self._network
        where = target.ports.get(port, (target.address, port))
        if not network.slot.aliases and port not in target.ports:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{target.spec.name}:{port} is closed")
        sock = socket.socket()
        prepare(sock, network.buffer_bytes)
        local = ("", 0)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.address if network.slot.aliases else "127.0.0.1", 0))
            local = sock.getsockname()
            if self._name != OUTSIDE:
                network.remember(local, self._name)
            with suppress(BlockingIOError):
                sock.connect(where)
            await self._wait_connected(sock, f"{target.spec.name}:{port}")
            self._check()
        except BaseException:
            network.forget(local)
            sock.close()
            raise
        peer = Peer(target.spec.name, target.address, port)
        return DialledStream(network, sock, self._life, peer, self._name, local)

    async def _wait_connected(self, sock: socket.socket, where: str) -> None:
        """A full backlog ignores us: the kernel would try for two minutes."""
        timers, limit_s = self._network.timers, self._network.links.connect_timeout_s
        timer = timers.call_at(timers.now_s() + limit_s, lambda: trio.lowlevel.notify_closing(sock))
        try:
            await wait_writable(sock)
        except trio.ClosedResourceError:
            raise TimeoutError(errno.ETIMEDOUT, f"{where} does not answer") from None
        finally:
            timer.cancel()
        problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            raise OSError(problem, where)

    async def listen(self, port: int) -> Listener:
        await checkpoint()
        self._check()
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._network.buffer_bytes)
        sock.setblocking(False)
        network = self._network
        try:
            network.bind(sock, self._host, port)
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        self._host.ports[port] = sock.getsockname()
        return LiveListener(self._network, self._host, self._life, sock, port)

    async def open_datagram(self, port: int = 0) -> LiveDatagramSocket:
        await checkpoint()
        self._check()
        return LiveDatagramSocket(self._network, self._host, self._life, port)

    def _check(self) -> None:
        if self._life is not None:
            self._life.check()


class DialledStream(LiveStream):
    """The dialling end: its local endpoint says who it is."""

    def __init__(
        self,
        network: LiveNetwork,
        sock: socket.socket,
        life: Life | None,
        peer: Peer,
        local: str,
        endpoint: tuple[str, int],
    ) -> None:
        super().__init__(network, sock, life, peer, local)
        self._endpoint = endpoint

    def _leave_life(self) -> None:
        super()._leave_life()
        self._network.forget(self._endpoint)


class LiveListener(Listener):
    """Accepts, asks who it is, and refuses whoever may not come in."""

    def __init__(
        self, network: LiveNetwork, host: Host, life: Life | None, sock: socket.socket, port: int
    ) -> None:
        self.port = port
        self._network = network
        self._host = host
        self._life = life
        self._sock = sock
        self._closed = False
        if life is not None:
            life.own(self)

    async def accept(self) -> Stream:
        await checkpoint()
        while True:
            self._check()
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                await self._wait()
                continue
            except OSError as error:
                if self._closed:
                    raise trio.ClosedResourceError("this listener is closed") from error
                await trio.sleep(0.05 if error.errno in (errno.EMFILE, errno.ENFILE) else 0)
                continue
            name = self._network.name_of(address[0], address[1])
            if not self._network.admit(self._host, self.port, name):
                link = self._network.links.link(self._host.spec.name, name)
                SocketSink(self._network, sock, link).close(reset=True)
                continue
            prepare(sock, self._network.buffer_bytes)
            peer = Peer(name, address[0], address[1])
            return LiveStream(self._network, sock, self._life, peer, self._host.spec.name)

    async def _wait(self) -> None:
        try:
            await wait_readable(self._sock)
        except (OSError, trio.ClosedResourceError) as error:
            self._check()
            raise trio.ClosedResourceError("this listener is closed") from error

    def _check(self) -> None:
        if self._life is not None:
            self._life.check()
        if self._closed:
            raise trio.ClosedResourceError("this listener is closed")

    async def aclose(self) -> None:
        if self._life is not None:
            self._life.disown(self)
        self.close(reset=False)
        await checkpoint()

    def end(self, *, crash: bool) -> None:
        if crash:
            self._network.bury(self._life, self)
        else:
            self.close(reset=False)

    def close(self, *, reset: bool) -> None:
        if not self._closed:
            self._closed = True
            self._host.ports.pop(self.port, None)
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()


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
