"""The control connection between emu and a child process: MessagePack-RPC notices on a socketpair.

What only Python knows (a spec, a rule of the links) goes as a pickle: both ends are this program.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import trio

from protocols import rpc

MAX_WAITING: Final = 4096
LIMITS: Final = rpc.Limits(max_frame_bytes=64 << 20)
READ_BYTES: Final = 65536


class Control:
    """One end. Notices arrive in the order in which they were sent."""

    def __init__(self, end: socket.socket) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(end))
        self._connection = rpc.Connection(LIMITS)
        self._outgoing, self._to_send = trio.open_memory_channel[bytes](MAX_WAITING)

    def tell(self, word: str, *params: Any) -> None:
        """Say something, without waiting. Raises OSError if the other end reads nothing."""
        try:
            self._outgoing.send_nowait(self._connection.send_notify(word, params))
        except trio.WouldBlock:
            raise OSError(f"{MAX_WAITING} notices wait: the other end reads nothing") from None
        except trio.BrokenResourceError:
            pass  # it has ended, and will be told so by its process

    async def serve(self, handlers: Mapping[str, Callable[..., object]]) -> None:
        """Hand over what is said, until the other end closes."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send)
            with suppress(trio.BrokenResourceError):
                while data := await self._stream.receive_some(READ_BYTES):
                    for _, word, params in self._connection.receive_data(data):
                        handlers[word](*params)
            nursery.cancel_scope.cancel()

    async def _send(self) -> None:
        with self._to_send, suppress(trio.BrokenResourceError):
            async for data in self._to_send:
                await self._stream.send_all(data)

    async def aclose(self) -> None:
        self._outgoing.close()
        await self._stream.aclose()


def packed(value: Any) -> bytes:
    return pickle.dumps(value)


def unpacked(data: bytes) -> Any:
    return pickle.loads(data)
