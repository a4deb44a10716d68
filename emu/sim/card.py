"""A simulated machine's network card: how it dials, listens, and who it is."""

from __future__ import annotations

import errno
from collections.abc import Callable

from trio.lowlevel import checkpoint

from emu.machine.card import Card
from emu.machine.handshake import shake_hands, sleep
from emu.machine.world import OPERATOR, MachineSpec
from emu.sim.datagrams import SimDatagramSocket
from emu.sim.network import BACKLOG, Host, SimListener, SimNetwork
from emu.sim.streams import SimStream
from nodes.base import OUTSIDE, Listener, Peer, Stream


def operator_card(network: SimNetwork) -> SimCard:
    """emu's own."""
    if OPERATOR not in network.hosts:
        network.add_machine(MachineSpec(OPERATOR, OPERATOR, OPERATOR, ""))
    return SimCard(network, network.hosts[OPERATOR], None)


def outside_card(network: SimNetwork) -> SimCard:
    """A client from outside: nobody knows its name."""
    if OUTSIDE not in network.hosts:
        network.add_outside()
    return SimCard(network, network.hosts[OUTSIDE], None)


class SimCard(Card[SimNetwork, Host]):
    """A card on simulated wires."""

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
        rights = network.rights(target, port, self._name)
        dialer = Peer(self._name, self.address, network.ephemeral_port(), rights)
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


def _is_full(host: Host, port: int) -> bool:
    """A full backlog drops the handshake, as Linux does."""
    listener = host.listeners.get(port)
    return listener is not None and listener.waiting >= BACKLOG
