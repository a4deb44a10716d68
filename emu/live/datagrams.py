"""Datagrams on real UDP sockets: late, lost or cut off as their link says."""

from __future__ import annotations

import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import checkpoint, wait_readable

from nodes.base import OUTSIDE, Peer

if TYPE_CHECKING:
    from emu.life import Life
    from emu.live.network import Host, LiveNetwork

MAX_DATAGRAM_BYTES = 65507
MAX_HELD = 4096
"""Datagrams of outside clients on their way to one socket; further ones are lost."""


class LiveDatagramSocket:
    """A bound UDP socket. Sending never waits: what the kernel cannot take is lost, as in life."""

    def __init__(self, network: LiveNetwork, host: Host, life: Life | None, port: int) -> None:
        self._network = network
        self._host = host
        self._life = life
        self._name = host.spec.name
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        aliases = network.slot.aliases
        network.bind(self._sock, host, port)
        self._local = self._sock.getsockname()
        self._port = port or self._local[1]
        self._udp_port = self._port | 1 << 16
        host.ports[self._udp_port] = self._local
        if self._name != OUTSIDE:
            network.remember((self._local[0], self._udp_port if not aliases else -1), self._name)
        self._closed = False
        self._held = 0
        self._arrived: deque[tuple[bytes, Peer]] = deque()
        self._waiting: trio.CancelScope | None = None
        if life is not None:
            life.own(self)

    async def send_to(self, data: bytes, address: str, port: int) -> None:
        await checkpoint()
        self._check()
        if len(data) > MAX_DATAGRAM_BYTES:
            raise ValueError(f"a datagram of {len(data)} bytes; at most {MAX_DATAGRAM_BYTES}")
        target = self._network.host(address)
        name = target.spec.name if target is not None else OUTSIDE
        where = (address, port)
        if target is not None:
            where = target.ports.get(port | 1 << 16, (target.address, port))
        link = self._network.links.link(self._name, name)
        if link.plain:
            self._send_now(data, where)
            return
        timers = self._network.timers
        arrive_s = link.datagram_arrival_s(timers.now_s(), len(data))
        if arrive_s is not None:
            timers.call_at(arrive_s, lambda: self._send_now(data, where))

    def _send_now(self, data: bytes, where: tuple[str, int]) -> None:
        if not self._closed:
            with suppress(OSError):
                self._sock.sendto(data, where)

    async def receive_from(self) -> tuple[bytes, Peer]:
        await checkpoint()
        while True:
            self._check()
            if self._arrived:
                return self._arrived.popleft()
            try:
                data, address = self._sock.recvfrom(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                await self._wait()
                continue
            except ConnectionError:
                continue  # an ICMP error of something sent before
            name = self._network.name_of(address[0], address[1])
            peer = Peer(name, address[0], address[1])
            if self._crosses(data, peer) and self._admits(name):
                return data, peer

    async def _wait(self) -> None:
        """Until something may be there: in the socket, or from a client whose link holds it."""
        with trio.CancelScope() as self._waiting:
            try:
                await wait_readable(self._sock)
            except (OSError, trio.ClosedResourceError) as error:
                self._check()
                raise trio.ClosedResourceError("this socket is closed") from error
        self._waiting = None

    def _crosses(self, data: bytes, peer: Peer) -> bool:
        """Whether it is here now. Clients from outside cross their link here: what they sent may be
        lost, or come later."""
        if peer.name != OUTSIDE:
            return True
        link = self._network.links.link(OUTSIDE, self._name)
        if link.plain:
            return True
        timers = self._network.timers
        now_s = timers.now_s()
        arrive_s = link.datagram_arrival_s(now_s, len(data))
        if arrive_s is None or self._held >= MAX_HELD:
            return False
        if arrive_s <= now_s:
            return True
        self._held += 1
        timers.call_at(arrive_s, lambda: self._arrive(data, peer))
        return False

    def _arrive(self, data: bytes, peer: Peer) -> None:
        self._held -= 1
        if not self._closed and self._admits(peer.name):
            self._arrived.append((data, peer))
            if self._waiting is not None:
                self._waiting.cancel()

    def _admits(self, name: str) -> bool:
        if self._port != self._host.spec.port:
            return True  # our own query's answers
        return self._network.admit(self._host, self._port, name)

    def _check(self) -> None:
        if self._life is not None:
            self._life.check()
        if self._closed:
            raise trio.ClosedResourceError("this socket is closed")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._life is not None:
                self._life.disown(self)
            self._host.ports.pop(self._udp_port, None)
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def end(self, *, crash: bool) -> None:
        self.close()
