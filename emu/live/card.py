"""A machine's network card: it dials, listens and says who it is.

Nobody but this package opens a socket for a node. Who is admitted is network.py's business.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import trio
from trio.lowlevel import checkpoint, wait_readable, wait_writable

from emu.live.datagrams import LiveDatagramSocket
from emu.live.network import Host, LiveNetwork
from emu.live.sockets import SocketSink, prepare
from emu.live.streams import LiveStream
from emu.machine.card import Card
from emu.machine.handshake import shake_hands
from emu.machine.life import Life
from emu.machine.world import OBSERVE, OPERATOR, MachineSpec
from nodes.base import OUTSIDE, Listener, Peer, Stream

BACKLOG: Final = 1024


def operator_card(network: LiveNetwork) -> LiveCard:
    """emu's own."""
    if OPERATOR not in network.hosts:
        spec = MachineSpec(OPERATOR, OPERATOR, OPERATOR, "", (OBSERVE,), public=True)
        network.add_machine(spec)
    return LiveCard(network, network.hosts[OPERATOR], None)


def outside_card(network: LiveNetwork) -> LiveCard:
    """A client from outside: it dials from 127.0.0.1 and nobody knows its name."""
    spec = MachineSpec(OUTSIDE, OUTSIDE, OUTSIDE, "")
    return LiveCard(network, Host(spec, "127.0.0.1"), None)


class LiveCard(Card[LiveNetwork, Host]):
    """A card on real sockets."""

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
            target = self._outside(host, port)
        if self._name != OUTSIDE:  # whom the kernel connects, whatever we do
            await shake_hands(
                self._network.timers, self._network.links, self._name, target.spec.name
            )
            self._check()
        return await self._connect(target, port)

    def _outside(self, address: str, port: int) -> Host:
        """A place that is none of ours, where the topology names it."""
        if (address, port) not in self._host.spec.outside:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"no machine is called {address}")
        spec = MachineSpec(OUTSIDE, OUTSIDE, OUTSIDE, "")
        return Host(spec, address, {port: (address, port)})

    async def _connect(self, target: Host, port: int) -> Stream:
        network = self._network
        where = network.place(target, port)
        if where is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{target.spec.name}:{port} is closed")
        sock = socket.socket()
        prepare(sock, network.buffer_bytes)
        local = ("", 0)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            source = network.dial_from(self.address, where[0])
            if source:
                sock.bind((source, 0))
            local = sock.getsockname()
            if self._name != OUTSIDE:
                network.remember(local, self._name)
            network.dialled(local, self._name, target.spec.name)
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
        network.listening(sock, self._host, port)
        return LiveListener(self._network, self._host, self._life, sock, port)

    async def open_datagram(self, port: int = 0) -> LiveDatagramSocket:
        await checkpoint()
        self._check()
        return LiveDatagramSocket(self._network, self._host, self._life, port)


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

    def end(self, *, crash: bool) -> None:
        super().end(crash=crash)
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
        self._closed = self._waits = False
        self._unknown: dict[socket.socket, tuple[str, int]] = {}
        """Connections whose dialer is still to be told, and where they come from."""
        self._known: deque[tuple[socket.socket, tuple[str, int], str]] = deque()
        if life is not None:
            life.own(self)

    async def accept(self) -> Stream:
        await checkpoint()
        while True:
            self._check()
            if self._known:
                stream = self._let_in(*self._known.popleft())
                if stream is not None:
                    return stream
                await checkpoint()
                continue
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
            self._unknown[sock] = address
            self._network.identify(address, partial(self._identified, sock))

    def _identified(self, sock: socket.socket, name: str) -> None:
        address = self._unknown.pop(sock, None)
        if address is not None:  # else this listener is closed
            self._known.append((sock, address, name))
            if self._waits:
                trio.lowlevel.notify_closing(self._sock)

    def _let_in(self, sock: socket.socket, address: tuple[str, int], name: str) -> Stream | None:
        """None: whoever that is may not come in, and was reset."""
        network = self._network
        if not network.admit(self._host, self.port, name):
            link = network.links.link(self._host.spec.name, name)
            SocketSink(network, sock, link).close(reset=True)
            return None
        prepare(sock, network.buffer_bytes)
        rights = network.rights(self._host, self.port, name)
        peer = Peer(name, network.seen_at(name, address[0]), address[1], rights)
        return LiveStream(network, sock, self._life, peer, self._host.spec.name)

    async def _wait(self) -> None:
        self._waits = True
        try:
            await wait_readable(self._sock)
        except trio.ClosedResourceError:
            self._check()  # or somebody is known now
        except OSError as error:
            self._check()
            raise trio.ClosedResourceError("this listener is closed") from error
        finally:
            self._waits = False

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
            self._network.leave_half_open(self._life, self)
        else:
            self.close(reset=False)

    def close(self, *, reset: bool) -> None:
        if not self._closed:
            self._closed = True
            self._network.listens_no_more(self._host, self.port)
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            for waiting in (*self._unknown, *(known[0] for known in self._known)):
                waiting.close()
            self._unknown.clear()
            self._known.clear()
