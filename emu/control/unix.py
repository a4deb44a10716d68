"""A Unix socket that only its owner may open, as the Listener that the wire serves."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Final

import trio

from nodes.base import Listener, Peer, Stream

BACKLOG: Final = 64
NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
NO_ROOM_PAUSE_S: Final = 0.05


def listening(path: Path) -> socket.socket:
    """A socket of mode 0600 that listens at `path`, which does not exist yet."""
    sock = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


class UnixStream(Stream):
    """A control connection as the Stream that the wire expects."""

    def __init__(self, inner: trio.SocketStream) -> None:
        self._inner = inner
        self.peer = Peer("command-line", "unix", 0)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def abort(self) -> None:
        self._inner.socket.close()


class UnixListener(Listener):
    """Accepts at a path of mode 0600, whatever state its clients are in."""

    port = 0

    def __init__(self, path: Path) -> None:
        """Listen at `path`, which does not exist yet."""
        self._sock = trio.socket.from_stdlib_socket(listening(path))

    async def accept(self) -> Stream:
        while True:
            try:
                connection, _ = await self._sock.accept()
            except OSError as error:
                if self._sock.fileno() < 0:
                    raise trio.ClosedResourceError("this listener is closed") from error
                await trio.sleep(NO_ROOM_PAUSE_S if error.errno in NO_ROOM else 0)
                continue
            return UnixStream(trio.SocketStream(connection))

    async def aclose(self) -> None:
        self._sock.close()
        await trio.lowlevel.checkpoint()
