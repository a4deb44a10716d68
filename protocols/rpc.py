"""One MessagePack-RPC connection, without I/O: bytes in, messages out.

Messages are plain tuples, told apart by their first item, because this is the hot path:
`(REQUEST, msgid, method, params)`, `(RESPONSE, msgid, error, result)`, `(NOTIFY, method, params)`.
What a method means is not known here. A broken rule of the wire raises RemoteProtocolError, and
the connection is poisoned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgpack

REQUEST: Final = 0
RESPONSE: Final = 1
NOTIFY: Final = 2
MAX_MSGID: Final = 2**32 - 1
MAX_METHOD_CHARS: Final = 128
MANY_MESSAGES: Final = 8
FIRST_BUFFER_BYTES: Final = 1024
"""msgpack's own would be 256 KB to write and 16 KB to read: too much for connections that sleep."""

HELLO: Final = "hello"
"""A client of ours calls this first: from then on the last of its params is the metadata map."""
CANCEL: Final = "cancel"
"""Notification `[msgid]`: the caller no longer waits for that request."""
PING: Final = "ping"

REMAINING_MS: Final = "remaining_ms"
TRACE: Final = "trace"
EPOCH: Final = "epoch"


Message = tuple[Any, ...]


class LocalProtocolError(Exception):
    """We broke the protocol: our bug."""


class RemoteProtocolError(Exception):
    """The peer broke the protocol: answer `messages_before` if you can, then close."""

    def __init__(self, reason: str, messages_before: list[Message] | None = None) -> None:
        super().__init__(reason)
        self.messages_before = messages_before or []


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection; each has an answer when reached."""

    max_frame_bytes: int = 1 << 20
    """A longer message closes the connection."""
    max_pipeline: int = 1024
    """Requests in hand at once; reading stops (back-pressure) until one is answered."""
    idle_timeout_s: float = 300.0
    """A connection on which nothing moves for so long is closed."""
    frame_timeout_s: float = 30.0
    """A message that is begun must end within this, or the connection is closed."""


class Connection:
    """The state of one connection. Feed it with `receive_data`, write with the `send_*` methods."""

    __slots__ = ("_ended_at", "_fed_bytes", "_packer", "_poisoned", "_unpacker", "limits")

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._packer = msgpack.Packer(autoreset=True, buf_size=FIRST_BUFFER_BYTES)
        self._unpacker: msgpack.Unpacker | None = None
        """It takes 21 KB: kept only inside a message, and while chunks hold many of them."""
        self._fed_bytes = 0
        self._ended_at = 0
        self._poisoned = False

    def _new_unpacker(self) -> msgpack.Unpacker:
        limit = self.limits.max_frame_bytes
        return msgpack.Unpacker(
            max_buffer_size=limit + 65536,
            read_size=FIRST_BUFFER_BYTES,
            strict_map_key=False,
            use_list=True,
            raw=False,
        )

    @property
    def mid_message(self) -> bool:
        """Whether the last byte received was inside a message that has not ended."""
        return self._fed_bytes != self._ended_at

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """The messages that end in `data` (at most 64 KiB at a time); b"" means
        that the peer closed.

        Raises RemoteProtocolError for garbage, for a message over the limit, and for an end inside
        one; its `messages_before` holds what was whole before the fault.
        """
        if self._poisoned:
            raise RemoteProtocolError("the connection is already broken")
        if not data:
            if self._fed_bytes != self._ended_at:
                raise self._poison("the stream ended in the middle of a message")
            return []
        unpacker = self._unpacker
        if unpacker is None:
            sole = _sole_message(data)
            if sole is not None:
                return [sole]
            unpacker = self._unpacker = self._new_unpacker()
        messages: list[Message] = []
        try:
            unpacker.feed(data)
            for message in unpacker:
                messages.append(_checked(message))
                self._ended_at = unpacker.tell()
        except RemoteProtocolError as error:
            raise self._poison(str(error), messages) from None
        except Exception as error:  # msgpack's many: format, depth, size, UTF-8, unhashable keys
            raise self._poison(f"not MessagePack: {_reason(error)}", messages) from None
        self._fed_bytes += len(data)
        if self._fed_bytes == self._ended_at:
            if len(messages) < MANY_MESSAGES:
                self._unpacker = None
                self._fed_bytes = self._ended_at = 0
        elif self._fed_bytes - self._ended_at > self.limits.max_frame_bytes:
            raise self._poison(f"a message over {self.limits.max_frame_bytes} bytes", messages)
        return messages

    def _poison(self, reason: str, seen: list[Message] | None = None) -> RemoteProtocolError:
        self._poisoned = True
        return RemoteProtocolError(reason, seen)

    def send_request(self, msgid: int, method: str, params: Any) -> bytes:
        return self._packer.pack((REQUEST, msgid, method, params))  # type: ignore[no-any-return]

    def send_response(self, msgid: int, error: Any, result: Any) -> bytes:
        """Raises LocalProtocolError if the result cannot be packed, or is over the frame limit."""
        try:
            packed: bytes = self._packer.pack((RESPONSE, msgid, error, result))
        except (TypeError, ValueError, OverflowError) as problem:
            self._packer.reset()
            raise LocalProtocolError(f"cannot pack the answer: {problem}") from problem
        if len(packed) > self.limits.max_frame_bytes:
            raise LocalProtocolError(f"the answer has {len(packed)} bytes")
        return packed

    def send_notify(self, method: str, params: Any) -> bytes:
        return self._packer.pack((NOTIFY, method, params))  # type: ignore[no-any-return]


def _sole_message(data: bytes | bytearray | memoryview) -> Message | None:
    """The message that `data` is; None if it is anything but exactly one."""
    try:
        return _checked(msgpack.unpackb(data, strict_map_key=False, use_list=True, raw=False))
    except (ValueError, TypeError, RemoteProtocolError):
        return None


def _checked(message: Any) -> Message:
    """The message as a tuple, if it has the shape that the specification gives."""
    if type(message) is list:
        size = len(message)
        if size == 4:
            kind, msgid, third, fourth = message
            if type(msgid) is int and 0 <= msgid <= MAX_MSGID and type(kind) is int:
                if kind == REQUEST:
                    if _is_method(third) and type(fourth) is list:
                        return kind, msgid, third, fourth
                elif kind == RESPONSE:
                    return kind, msgid, third, fourth
        elif size == 3:
            kind, method, params = message
            if kind == NOTIFY and _is_method(method) and type(params) is list:
                return kind, method, params
    raise RemoteProtocolError("not a MessagePack-RPC message")


def _is_method(name: Any) -> bool:
    return type(name) is str and len(name) <= MAX_METHOD_CHARS


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
