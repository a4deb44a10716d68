"""The sender's end of a real connection: what its kernel would do with bytes, ends and resets.

A closed socket outlives its owner while bytes are on their way, and a cut link hears nothing of it.
Reading and writing for a node is streams.py's business.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Final, Protocol

import trio
from trio.lowlevel import checkpoint, wait_readable, wait_writable

from emu.live.network import LiveNetwork
from emu.machine.links import Link
from emu.machine.pipe import Pipe

RECEIVE_BYTES: Final = 65536
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Reading(Protocol):
    """The node's side of the same socket (streams.LiveStream)."""

    broken: bool

    def stop_waiting(self) -> None: ...


class SocketSink:
    """The sender's end of a real connection, as its pipe's sink: what reaches it is on the wire."""

    def __init__(self, network: LiveNetwork, sock: socket.socket, link: Link) -> None:
        self._network = network
        self._sock = sock
        self._link = link
        self._close_with_reset = False
        self._unwanted = False
        """Bytes came for an end that was closed already."""
        self.pipe: Pipe | None = None
        self.stream: Reading | None = None
        self.close_when_done = False
        self.gone = False
        network.sinks[self] = None

    def deliver(self, data: bytes | memoryview) -> int:
        try:
            taken = self._sock.send(data)
        except BlockingIOError:
            taken = 0
        except OSError:
            self._lost()
            return 0
        if taken < len(data):
            self._network.spawn(self._unclog_when_writable)
        return taken

    async def _unclog_when_writable(self) -> None:
        try:
            await wait_writable(self._sock)
        except (OSError, ValueError, trio.ClosedResourceError, trio.BusyResourceError):
            await trio.sleep(0.005)
        if not self.gone and self.pipe is not None:
            self.pipe.unclog()

    def deliver_end(self) -> None:
        if self.close_when_done:
            self.close(reset=self._unwanted)
        else:
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def deliver_reset(self) -> None:
        self._break()
        self.close(reset=True)

    def lose(self) -> None:
        self._break()
        self.close(reset=True)

    def _lost(self) -> None:
        """The kernel says that the other end is gone."""
        self._break()
        if self.close_when_done:
            self.close(reset=True)

    def _break(self) -> None:
        if self.pipe is not None:
            self.pipe.break_now()
        if self.stream is not None:
            self.stream.broken = True

    def read_on(self) -> None:
        """Closed, with bytes on their way: as in a kernel, the socket outlives its owner."""
        self.close_when_done = True
        self._notify_closing()
        self._network.spawn(self._read_on)

    async def _read_on(self) -> None:
        """Whoever still sends to a closed connection is reset, after what is on its way to him."""
        while not self.gone:
            try:
                if not self._sock.recv(RECEIVE_BYTES):
                    return
                self._unwanted = True
                await checkpoint()
            except BlockingIOError:
                with suppress(trio.ClosedResourceError, trio.BusyResourceError):
                    await wait_readable(self._sock)
            except OSError:
                self._lost()

    def close(self, *, reset: bool) -> None:
        """Close the socket itself, once; while a cut holds, when that is over."""
        if self.gone:
            return
        if self._link.cut == "hold":
            self._close_with_reset = reset
            self._link.listeners[self._close_when_open] = None
            self._notify_closing()
            return
        self.destroy(reset=reset)

    def _close_when_open(self) -> None:
        if self._link.cut != "hold":
            self.destroy(reset=self._close_with_reset or bool(self._link.cut))

    def destroy(self, *, reset: bool) -> None:
        """Close the socket at once."""
        if self.gone:
            return
        self.gone = True
        self._network.sinks.pop(self, None)
        self._link.listeners.pop(self._close_when_open, None)
        if self.pipe is not None:
            self.pipe.break_now()
        with suppress(OSError):
            if reset:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._notify_closing()
        self._sock.close()

    def _notify_closing(self) -> None:
        """Wake whoever waits for this socket."""
        if self.stream is not None:
            self.stream.stop_waiting()
        trio.lowlevel.notify_closing(self._sock)
        self._network.relays.closing(self._sock.fileno())


def prepare(sock: socket.socket, buffer_bytes: int) -> None:
    """Non-blocking, no Nagle, and buffers small enough that back-pressure and loss are honest."""
    sock.setblocking(False)
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
