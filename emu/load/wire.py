"""What a load run sends and understands, without I/O: `request(n)` -> bytes, `feed(bytes)` ->
answers. HTTP is read here by hand, so that the generator is not what is measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

from emu.load.plan import Endpoint, Plan
from emu.load.stats import OK
from protocols import rpc
from protocols.errors import RpcError
from protocols.http.message import TRACE

MAX_HEAD_BYTES: Final = 65536
MAX_SIZE_DIGITS: Final = 15
MAX_MSGID: Final = 1 << 30
Answer = tuple[int, str]
"""The number of the request, and its outcome: `ok` or an error's code."""


class Broken(Exception):
    """The server does not speak the protocol."""


class Speaker(Protocol):
    """One connection's protocol."""

    closes: bool
    """The server has said that it will close after this answer."""

    def request(self) -> tuple[int, bytes]: ...
    def feed(self, data: bytes) -> list[Answer]: ...


class HttpSpeaker:
    """One request at a time; a status below 400 is ok, others are `http_STATUS`."""

    def __init__(self, endpoint: Endpoint, plan: Plan, numbers: Iterator[int]) -> None:
        """`numbers`: the ids of the whole run's requests."""
        self.closes = False
        self._head, self._body = _http_request(endpoint, plan)
        self._numbers = numbers
        self._number = -1
        self._buffer = bytearray()
        self._status = b""
        self._left: int | None = None
        """Bytes of the body that are to come; None: the head is not whole yet."""
        self._chunked = False

    def request(self) -> tuple[int, bytes]:
        self._number = next(self._numbers)
        return self._number, b"%b%x\r\n\r\n%b" % (self._head, self._number, self._body)

    def feed(self, data: bytes) -> list[Answer]:
        buffer = self._buffer
        buffer += data
        answers: list[Answer] = []
        while True:
            if self._left is None and not self._read_head():
                return answers
            if not (self._skip_chunks() if self._chunked else self._skip_body()):
                return answers
            self._left = None
            code = OK if self._status < b"400" else f"http_{self._status.decode()}"
            answers.append((self._number, code))

    def _read_head(self) -> bool:
        while (head := self._take_head()) is not None:
            self._status = head[9:12]
            if not head.startswith(b"http/1.") or not self._status.isdigit():
                raise Broken("not HTTP/1.1")
            if self._status < b"200":  # 100 Continue: the answer itself is to come
                continue
            self.closes = b"\r\nconnection: close" in head
            self._chunked = b"\r\ntransfer-encoding: chunked" in head
            _, found, rest = head.partition(b"\r\ncontent-length:")
            self._left = _size(rest.split(b"\r\n", 1)[0], 10) if found else 0
            return True
        return False

    def _take_head(self) -> bytes | None:
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > MAX_HEAD_BYTES:
                raise Broken("the head does not end")
            return None
        head = bytes(buffer[:end]).lower()
        del buffer[: end + 4]
        return head

    def _skip_body(self) -> bool:
        assert self._left is not None
        here = min(self._left, len(self._buffer))
        del self._buffer[:here]
        self._left -= here
        return self._left == 0

    def _skip_chunks(self) -> bool:
        """`_left` counts down the chunk with its line end; a chunk of size 0 is the last."""
        while True:
            if self._left and not self._skip_body():
                return False
            end = self._buffer.find(b"\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    raise Broken("the size of a chunk does not end")
                return False
            size = _size(self._buffer[:end].split(b";")[0], 16)
            if size == 0 and self._buffer[end + 2 : end + 4] != b"\r\n":
                return False  # trailers are not expected: wait for the last line end
            del self._buffer[: end + 2]
            self._left = size + 2
            if size == 0:
                return self._skip_body()


class RpcSpeaker:
    """MessagePack-RPC as any client speaks it, without our hello."""

    closes = False

    def __init__(self, plan: Plan) -> None:
        self._rpc = rpc.Connection(rpc.Limits(max_frame_bytes=64 << 20))
        self._method, self._params = plan.method, list(plan.params)
        self._next = 0

    def request(self) -> tuple[int, bytes]:
        self._next = (self._next + 1) % MAX_MSGID
        return self._next, self._rpc.send_request(self._next, self._method, self._params)

    def feed(self, data: bytes) -> list[Answer]:
        answers = []
        try:
            for start in range(0, len(data), 65536):
                for message in self._rpc.receive_data(data[start : start + 65536]):
                    if message[0] == rpc.RESPONSE:
                        answers.append((message[1], _outcome(message[2])))
        except rpc.RemoteProtocolError as error:
            raise Broken(str(error)) from error
        return answers


def _size(text: bytes | bytearray, base: int) -> int:
    digits = text.strip()
    if not digits.isalnum() or len(digits) > MAX_SIZE_DIGITS:
        raise Broken(f"{bytes(digits[:20])!r} is no size")
    return int(digits, base)


def speaker(endpoint: Endpoint, plan: Plan, numbers: Iterator[int]) -> Speaker:
    return HttpSpeaker(endpoint, plan, numbers) if endpoint.protocol == "http" else RpcSpeaker(plan)


def _outcome(error: Any) -> str:
    return OK if error is None else RpcError.from_wire(error).code


def _http_request(endpoint: Endpoint, plan: Plan) -> tuple[bytes, bytes]:
    """All before the request's id, and what comes after its head."""
    method = "POST" if plan.body else "GET"
    lines = [f"{method} {endpoint.path} HTTP/1.1", f"host: {endpoint.host}:{endpoint.port}"]
    lines += [f"{name}: {value}" for name, value in plan.headers]
    if plan.body:
        lines.append(f"content-length: {len(plan.body)}")
    return "\r\n".join([*lines, f"{TRACE}: "]).encode("latin-1"), plan.body
