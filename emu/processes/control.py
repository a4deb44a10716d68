"""The control connection between emu and a process that runs nodes: MessagePack-RPC notices, on a
socketpair, or on a connection that was let in (door.py).

What they say is pickled. Such a process believes emu, which started it, or has proven that it knows
the token; emu takes plain values only, so that nothing that it is told can make it run anything.
Where others might get in between, each notice is sealed.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import pickle
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import trio

from protocols import rpc
from protocols.rpc import RemoteProtocolError

MAX_WAITING_BYTES: Final = 64 << 20
LIMITS: Final = rpc.Limits(max_frame_bytes=MAX_WAITING_BYTES)
READ_BYTES: Final = 65536
BUFFER_BYTES: Final = 4 << 20
SEAL_BYTES: Final = 16
UNREADABLE: Final = (
    ValueError, TypeError, EOFError, pickle.UnpicklingError, ImportError, AttributeError
)  # fmt: skip
"""What reading a notice may raise; the last two: it names code that is not installed here."""
PLAIN_TYPES: Final = (type(None), bool, int, float, str, bytes)

Hear = Callable[..., object]
"""`hear(word, ...)`. Raises Nonsense where that ends the connection."""


class Nonsense(Exception):
    """A notice whose words mean nothing; the message says which, and why."""


class Seal:
    """Proves, with a key that both ends have, whose notice this is and which one."""

    def __init__(self, key: bytes, *, emus: bool) -> None:
        """`emus`: whether this end is emu's own."""
        self._key = key
        self._emus = emus
        self._sent = self._received = 0

    def put(self, word: str, packed: bytes) -> bytes:
        """Of the next notice that leaves."""
        self._sent += 1
        return self._of(self._emus, self._sent, word, packed)

    def check(self, word: str, packed: bytes, seal: object) -> None:
        """Of the next one that arrives. Raises ValueError."""
        self._received += 1
        wanted = self._of(not self._emus, self._received, word, packed)
        if not (isinstance(seal, bytes) and hmac.compare_digest(wanted, seal)):
            raise ValueError("a notice without the seal of who came with the token")

    def _of(self, emus: bool, number: int, word: str, packed: bytes) -> bytes:
        head = f"{emus:d} {number} {word} ".encode()
        return hashlib.blake2b(head + packed, key=self._key, digest_size=SEAL_BYTES).digest()


class Control:
    """One end. Notices arrive in the order in which they were told."""

    def __init__(
        self, end: socket.socket, *, believes: bool = False, seal: Seal | None = None
    ) -> None:
        """`believes`: whether the other end may say anything, and not plain values only."""
        end.setblocking(False)
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, buffer, BUFFER_BYTES)
        self.broken = False
        """Nobody is there any more, or reads, or what it says is no notice."""
        self.problem = ""
        """Why it was ended from here."""
        self._end = end
        self._seal = seal
        self._unpacked = pickle.loads if believes else unpacked_plain
        self._connection = rpc.Connection(LIMITS)
        self._waiting = bytearray()
        self._wake = trio.Event()

    def tell(self, word: str, *params: Any) -> None:
        """Say something. It leaves at once: whoever is killed a moment later has still said it."""
        if self.broken:
            return
        packed = pickle.dumps(params)
        sealed = [packed] if self._seal is None else [packed, self._seal.put(word, packed)]
        data = memoryview(self._connection.send_notify(word, sealed))
        if not self._waiting:
            try:
                data = data[self._end.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                self._break()
                return
        if data:
            self._waiting += data
            self._wake.set()
            if len(self._waiting) > MAX_WAITING_BYTES:
                self.problem = "it heard nothing"
                self._break()

    async def serve(self, hear: Hear) -> None:
        """Hand over what is said, until the other end closes or says what is no notice."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_waiting)
                with suppress(OSError, trio.ClosedResourceError):
                    await self._receive(hear)
                nursery.cancel_scope.cancel()
        finally:
            self._break()

    async def _receive(self, hear: Hear) -> None:
        while True:
            try:
                data = self._end.recv(READ_BYTES)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._end)
                continue
            try:
                messages = self._connection.receive_data(data)
            except RemoteProtocolError as error:
                self._hand_over(error.messages_before, hear)
                if data:
                    self.problem = str(error)
                return
            if not (data and self._hand_over(messages, hear)):
                return
            await trio.lowlevel.checkpoint()

    def _hand_over(self, messages: Any, hear: Hear) -> bool:
        for message in messages:
            try:
                _, word, (packed, *sealed) = message
                if self._seal is not None:
                    self._seal.check(word, packed, *sealed)
                params = self._unpacked(packed)
            except UNREADABLE as error:
                self.problem = f"it said what it may not: {error}"
                return False
            try:
                hear(word, *params)
            except Nonsense as error:
                self.problem = f"it said what it may not: {error}"
                return False
        return True

    async def _send_waiting(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._waiting and not self.broken:
                try:
                    del self._waiting[: self._end.send(self._waiting)]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._end)
                except OSError:
                    self._break()

    def _break(self) -> None:
        if not self.broken:
            self.broken = True
            self._waiting.clear()
            with suppress(OSError):
                self._end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Call it when `serve` has ended."""
        self._break()
        self._end.close()


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


def unpacked_plain(data: bytes) -> Any:
    """Raises UnpicklingError for all that is more than numbers, texts and containers of them."""
    return _PlainUnpickler(io.BytesIO(data)).load()


def plain(value: Any) -> Any:
    """`value`, with its text in place of whatever is not plain."""
    kind = type(value)
    if kind in PLAIN_TYPES:
        return value
    if kind in (list, tuple, set, frozenset):
        return kind(plain(each) for each in value)
    if kind is dict:
        return {plain(key): plain(each) for key, each in value.items()}
    return str(value)
