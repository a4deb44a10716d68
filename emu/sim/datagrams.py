"""Simulated datagrams: late, lost or cut off as their link says, dropped when nobody reads."""

from __future__ import annotations

from collections import deque
from typing import Final

import trio
from trio.lowlevel import ParkingLot, checkpoint

from emu.machine.life import Life
from emu.sim.network import Host, SimNetwork
from nodes.base import OUTSIDE, Peer

MAX_DATAGRAM_BYTES: Final = 65507
BUFFER_BYTES: Final = 212_992
"""Linux's default receive buffer: what does not fit is dropped."""


class SimDatagramSocket:
    """A bound socket in memory."""

    def __init__(self, network: SimNetwork, host: Host, life: Life | None, port: int) -> None:
        self.port = port or network.ephemeral_port()
        self._asks = not port
        if self.port in host.datagrams:
            raise OSError(98, f"port {self.port} of {host.spec.name} is in use")
        self._network = network
        self._host = host
        self._life = life
        self._name = host.spec.name
        self._arrived: deque[tuple[bytes, Peer]] = deque()
        self._held_bytes = 0
        self._readers = ParkingLot()
        self._closed = False
        host.datagrams[self.port] = self
        if life is not None:
            life.own(self)

    async def send_to(self, data: bytes, address: str, port: int) -> None:
        await checkpoint()
        self._check()
        if len(data) > MAX_DATAGRAM_BYTES:
            raise ValueError(f"a datagram of {len(data)} bytes; at most {MAX_DATAGRAM_BYTES}")
        network = self._network
        target = network.host(address)
        name = target.spec.name if target is not None else OUTSIDE
        now_s = network.timers.now
        link = network.links.link(self._name, name)
        arrive_s = link.datagram_arrival_s(now_s, len(data))
        payload, peer = bytes(data), Peer(self._name, self._host.address, self.port)
        if arrive_s is None or target is None:
            network.trace.lost(now_s, _route(peer, name, port), payload)
            return
        arrive_s = max(arrive_s, now_s + network.least_latency_s)

        def arrive() -> None:
            bound = target.datagrams.get(port)
            if bound is not None and not link.cut:
                bound.deliver(payload, peer, now_s)
            else:
                network.trace.lost(now_s, _route(peer, name, port), payload)

        network.timers.call_at(arrive_s, arrive)

    def deliver(self, data: bytes, peer: Peer, sent_s: float) -> None:
        if self._held_bytes + len(data) > BUFFER_BYTES:
            return
        network = self._network
        route = _route(peer, self._name, self.port)
        network.trace.message(network.timers.now, route, data, sent_s)
        self._arrived.append((data, peer))
        self._held_bytes += len(data)
        self._readers.unpark()

    async def receive_from(self) -> tuple[bytes, Peer]:
        await checkpoint()
        while True:
            self._check()
            while self._arrived:
                data, peer = self._arrived.popleft()
                self._held_bytes -= len(data)
                if self._admits(peer.name):
                    return data, peer
            await self._readers.park()

    def _admits(self, name: str) -> bool:
        if self._asks:
            return True  # our own query's answers
        return self._network.admit(self._host, self.port, name)

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
            self._host.datagrams.pop(self.port, None)
            self._readers.unpark_all()

    def end(self, *, crash: bool) -> None:
        self.close()


def _route(sender: Peer, target: str, port: int) -> bytes:
    """How the trace names a datagram's way."""
    return f"{sender.name}|{target}:{port}/{sender.port}".encode()
