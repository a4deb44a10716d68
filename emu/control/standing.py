"""The control socket of a simulation that is held at a moment: the verbs look around there.

Between their questions no time passes. An answer takes the virtual time that it takes.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import trio

from emu.control.server import ControlServer
from emu.control.unix import BACKLOG, listening
from emu.running.supervisor import Cluster
from nodes.base import Listener, Peer, Stream
from nodes.wire.service import Call
from protocols.errors import RpcError

LIVE_ONLY: Final = (
    "alerts", "doctor", "status", "record", "config", "plan", "apply", "url", "urls"
)  # fmt: skip
"""Methods of a live session, and the addresses of a live network."""
LOOK_S: Final = 0.001
"""While an answer is due, time goes on by so much until somebody is heard again."""
READ_BYTES: Final = 65536
WRITE_S: Final = 5.0
"""Real time that a verb may take to read a piece of its answer."""


class Standing:
    """A moment of `cluster`, and who looks at it: until `end` is called, or a verb asks for it."""

    def __init__(self, cluster: Cluster, extra: dict[str, Callable[..., Any]]) -> None:
        self._cluster = cluster
        refusing = dict.fromkeys(LIVE_ONLY, _refuse)
        self._service = ControlServer(cluster, extra={**refusing, **extra}).service
        self._selector = selectors.DefaultSelector()
        self._door = _Door()
        self._callers: set[_Caller] = set()
        self._ended = False

    def end(self) -> None:
        self._ended = True

    async def serve(self, path: Path, ready: Callable[[], None] = lambda: None) -> None:
        """Answer at `path` (mode 0600), holding the loop for as long as nobody asks. `ready`: who
        would ask may be told."""
        self._cluster.nursery.start_soon(self._service.serve, self._door)
        with self._selector, listening(path) as listener:
            self._selector.register(listener, selectors.EVENT_READ)
            ready()
            try:
                while not self._ended:
                    self._hear(listener, None)
                    await self._answer(listener)
            finally:
                for caller in list(self._callers):
                    caller.abort()

    async def _answer(self, listener: socket.socket) -> None:
        """Let time go on until all that was asked is answered."""
        sleep = self._cluster.operator.sleep
        await sleep(LOOK_S)
        while self._service.in_flight or any(caller.unread for caller in self._callers):
            self._hear(listener, 0)
            await sleep(LOOK_S)

    def _hear(self, listener: socket.socket, timeout_s: float | None) -> None:
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj is listener:
                self._let_in(listener)
            else:
                key.data.hear()

    def _let_in(self, listener: socket.socket) -> None:
        sock, _ = listener.accept()
        sock.settimeout(WRITE_S)
        caller = _Caller(sock, self._let_go)
        self._callers.add(caller)
        self._selector.register(sock, selectors.EVENT_READ, caller)
        self._door.waiting.send_nowait(caller)

    def _let_go(self, caller: _Caller, sock: socket.socket) -> None:
        self._callers.discard(caller)
        with suppress(KeyError):
            self._selector.unregister(sock)


class _Door(Listener):
    """Hands on who was let in."""

    port = 0

    def __init__(self) -> None:
        self.waiting, self._came = trio.open_memory_channel[Stream](BACKLOG)

    async def accept(self) -> Stream:
        return await self._came.receive()

    async def aclose(self) -> None:
        await self._came.aclose()


class _Caller(Stream):
    """A verb's connection: read while no time passes, served while it does."""

    def __init__(self, sock: socket.socket, gone: Callable[[_Caller, socket.socket], None]) -> None:
        self.peer = Peer("command-line", "unix", 0)
        self._socket: socket.socket | None = sock
        self._gone = gone
        self._pieces: list[bytes] = []
        self._heard = trio.Event()

    @property
    def unread(self) -> bool:
        return bool(self._pieces)

    def hear(self) -> None:
        """Take what has come. Who ends has left: no time passes for an answer that nobody reads."""
        assert self._socket is not None
        data = b""
        with suppress(OSError):
            data = self._socket.recv(READ_BYTES)
        if data:
            self._pieces.append(data)
        else:
            self.abort()
        self._heard.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while not self._pieces:
            if self._socket is None:
                raise trio.BrokenResourceError("the caller has left")
            self._heard = trio.Event()
            await self._heard.wait()
        return self._pieces.pop(0)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self._socket is None:
            raise trio.ClosedResourceError("this caller has left")
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise trio.BrokenResourceError("the caller has left, or does not read") from error

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        self.abort()
        await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        if self._socket is not None:
            self._gone(self, self._socket)
            self._socket.close()
            self._socket = None


def _refuse(call: Call, *params: Any) -> None:
    raise RpcError(
        "refused",
        "this is a simulation that stands still: it answers `emu ps`, `events`, `logs`, `summary`, "
        "`why`, `call`, `sql`, and bears faults; it has no addresses, pages and alerts",
    )
