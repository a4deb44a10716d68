"""One MessagePack-RPC connection, without I/O: bytes in, messages out.

Messages are plain lists, told apart by their first item, because this is the hot path:
`[REQUEST, msgid, method, params]`, `[RESPONSE, msgid, error, result]`, `[NOTIFY, method, params]`.
What a method means is not known here. A broken rule of the wire raises RemoteProtocolError, and
the connection is poisoned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgpack
from msgpack import unpackb

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
URGENCY: Final = "urgency"
"""0 (the most) to 7, as RFC 9218 has it for HTTP; 3 where it is not said."""


Message = list[Any]


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

    __slots__ = ("_ended_at", "_fed_bytes", "_pack", "_packer", "_poisoned", "_unpacker", "limits",
                 "mid_message")  # fmt: skip

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._packer = msgpack.Packer(autoreset=True, buf_size=FIRST_BUFFER_BYTES)
        self._pack = self._packer.pack
        self._unpacker: msgpack.Unpacker | None = None
        """It takes 21 KB: kept only inside a message, and while chunks hold many of them."""
        self._fed_bytes = 0
        self._ended_at = 0
        self._poisoned = False
        self.mid_message = False
        """Whether the last byte received was inside a message that has not ended."""

    def _new_unpacker(self) -> msgpack.Unpacker:
        limit = self.limits.max_frame_bytes
        return msgpack.Unpacker(
            max_buffer_size=limit + 65536,
            read_size=FIRST_BUFFER_BYTES,
            strict_map_key=False,
            use_list=True,
            raw=False,
        )

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """The messages that end in `data` (at most 64 KiB at a time); b"" means
        that the peer closed.

        Raises RemoteProtocolError for garbage, for a message over the limit, and for an end inside
        one; its `messages_before` holds what was whole before the fault.
        """
        unpacker = self._unpacker
        if unpacker is None and data:
            try:
                sole = unpackb(data, strict_map_key=False)
                if _is_message(sole):
                    return [sole]
            except (ValueError, TypeError):
                pass  # more or less than one: the unpacker will tell
            unpacker = self._unpacker = self._new_unpacker()
        if self._poisoned:
            raise RemoteProtocolError("the connection is already broken")
        if not data:
            if self.mid_message:
                raise self._poison("the stream ended in the middle of a message")
            return []
        assert unpacker is not None
        messages: list[Message] = []
        try:
            unpacker.feed(data)
            for message in unpacker:
                if not _is_message(message):
                    raise RemoteProtocolError("not a MessagePack-RPC message")
                messages.append(message)
                self._ended_at = unpacker.tell()
        except RemoteProtocolError as error:
            raise self._poison(str(error), messages) from None
        except Exception as error:  # msgpack's many: format, depth, size, UTF-8, unhashable keys
            raise self._poison(f"not MessagePack: {_reason(error)}", messages) from None
        self._fed_bytes += len(data)
        self.mid_message = self._fed_bytes != self._ended_at
        if not self.mid_message:
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
            packed: bytes = self._pack((RESPONSE, msgid, error, result))
        except (TypeError, ValueError, OverflowError) as problem:
            self._packer.reset()
            raise LocalProtocolError(f"cannot pack the answer: {problem}") from problem
        if len(packed) > self.limits.max_frame_bytes:
            raise LocalProtocolError(f"the answer has {len(packed)} bytes")
        return packed

    def send_notify(self, method: str, params: Any) -> bytes:
        return self._packer.pack((NOTIFY, method, params))  # type: ignore[no-any-return]


def _is_message(message: Any) -> bool:
    """Whether it has the shape that the specification gives."""
    if type(message) is not list:
        return False
    if len(message) == 4:
        kind, msgid, third, fourth = message
        if type(kind) is not int or type(msgid) is not int or not 0 <= msgid <= MAX_MSGID:
            return False
        if kind == REQUEST:
            return type(third) is str and len(third) <= MAX_METHOD_CHARS and type(fourth) is list
        return kind == RESPONSE
    if len(message) == 3:
        kind, name, params = message
        named = type(name) is str and len(name) <= MAX_METHOD_CHARS
        return named and type(kind) is int and kind == NOTIFY and type(params) is list
    return False


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
