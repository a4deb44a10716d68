"""Datagrams on real UDP sockets: late, lost or cut off as their link says."""

from __future__ import annotations

import socket
from collections import deque
from contextlib import suppress
from typing import Final

import trio
from trio.lowlevel import checkpoint, wait_readable

from emu.live.network import UDP, Host, LiveNetwork
from emu.machine.life import Life
from nodes.base import OUTSIDE, Peer

MAX_DATAGRAM_BYTES: Final = 65507
MAX_HELD: Final = 4096
"""Datagrams of outside clients on their way to one socket, or unread; further ones are lost."""


class LiveDatagramSocket:
    """A bound UDP socket. Sending never waits: what the kernel cannot take is lost, as in life."""

    def __init__(self, network: LiveNetwork, host: Host, life: Life | None, port: int) -> None:
        self._network = network
        self._host = host
        self._life = life
        self._name = host.spec.name
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        network.bind(self._sock, host, port)
        self._port = port or self._sock.getsockname()[1]
        self._asks = not port
        self._udp_port = self._port | UDP
        address, number = network.local_of(self._sock)
        self._endpoint = (address, number | UDP)
        if not self._asks:
            network.listening(self._sock, host, self._udp_port)
        if self._name != OUTSIDE:
            network.remember(self._endpoint, self._name)
        self._closed = False
        self._arrived: deque[tuple[bytes, Peer]] = deque()
        """From outside, over a link that took its time."""
        self._held = 0
        if life is not None:
            life.own(self)

    async def send_to(self, data: bytes, address: str, port: int) -> None:
        await checkpoint()
        self._check()
        if len(data) > MAX_DATAGRAM_BYTES:
            raise ValueError(f"a datagram of {len(data)} bytes; at most {MAX_DATAGRAM_BYTES}")
        name, where = self._find(address, port)
        self._network.dialled(self._endpoint, self._name, name)
        link, timers = self._network.links.link(self._name, name), self._network.timers
        if self._name == OUTSIDE or link.plain:
            self._send_now(data, where)
            return
        arrive_s = link.datagram_arrival_s(timers.now_s(), len(data))

        def arrive() -> None:
            if not link.cut:
                self._send_now(data, where)

        if arrive_s is not None:
            timers.call_at(arrive_s, arrive)

    def _find(self, address: str, port: int) -> tuple[str, tuple[str, int] | None]:
        """Whose port that is, and where it really is; None: nowhere."""
        target = self._network.host(address)
        if target is None:
            return self._network.name_of(address, port | UDP), (address, port)
        return target.spec.name, self._network.place(target, port | UDP)

    def _send_now(self, data: bytes, where: tuple[str, int] | None) -> None:
        if where is not None and not self._closed:
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
            name = self._network.name_of(address[0], address[1] | UDP)
            peer = Peer(name, self._network.seen_at(name, address[0]), address[1])
            if self._crosses(data, peer) and self._admits(peer.name):
                return data, peer

    async def _wait(self) -> None:
        try:
            await wait_readable(self._sock)
        except trio.ClosedResourceError:
            self._check()  # or something has crossed the link
        except OSError as error:
            raise trio.ClosedResourceError("this socket is closed") from error

    def _crosses(self, data: bytes, peer: Peer) -> bool:
        """What comes from outside crosses its link here: at once, later, or never."""
        if peer.name != OUTSIDE:
            return True
        link, timers = self._network.links.link(OUTSIDE, self._name), self._network.timers
        if link.plain:
            return True
        arrive_s = link.datagram_arrival_s(timers.now_s(), len(data))

        def arrive() -> None:
            self._held -= 1
            if not (self._closed or link.cut):
                self._arrived.append((data, peer))
                trio.lowlevel.notify_closing(self._sock)  # wakes the reader

        room = self._held + len(self._arrived) < MAX_HELD
        if arrive_s is not None and room and self._admits(peer.name):
            self._held += 1
            timers.call_at(arrive_s, arrive)
        return False

    def _admits(self, name: str) -> bool:
        if self._asks:
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
            if not self._asks:
                self._network.listens_no_more(self._host, self._udp_port)
            self._network.forget(self._endpoint)
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def end(self, *, crash: bool) -> None:
        self.close()
