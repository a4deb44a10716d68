"""The command line's end of the control socket: a plain blocking MessagePack-RPC client."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from protocols import rpc
from protocols.errors import RpcError

LIMITS = rpc.Limits(max_frame_bytes=64 << 20)


class ControlError(Exception):
    """The control socket cannot be used; the message says what to do."""


class ControlEnded(ControlError):
    """The emu at the other end has ended."""


class ControlClient:
    """One connection to a running emu. Use as a context manager."""

    def __init__(self, path: Path, *, timeout_s: float | None = 60.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise ControlError(f"cannot reach emu at {path}: {error.strerror or error}") from error
        self._rpc = rpc.Connection(LIMITS)
        self._timeout_s = timeout_s
        self._next_msgid = 1
        self._answers: dict[int, tuple[Any, ...]] = {}

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def call(self, method: str, *params: Any) -> Any:
        """Ask and wait; Ctrl-C takes the question back, and the client can be used on.

        Raises RpcError (emu refused) or ControlError (emu is gone, or silent).
        """
        msgid = self.begin(method, *params)
        try:
            return self.wait(msgid)
        except KeyboardInterrupt:
            self._give_up(msgid)
            raise
        except TimeoutError as error:
            raise ControlError("emu does not answer: is it stopped or very busy?") from error

    def begin(self, method: str, *params: Any) -> int:
        """Ask, and wait later; other calls may be made meanwhile. Raises ControlError."""
        msgid = self._next_msgid
        self._next_msgid += 1
        try:
            packed = self._rpc.send_request(msgid, method, list(params))
        except (TypeError, ValueError, OverflowError) as error:
            raise RpcError("bad_request", f"this cannot be sent: {error}") from error
        try:
            self._socket.sendall(packed)
        except (ConnectionResetError, BrokenPipeError) as error:
            raise ControlEnded("emu ended while answering") from error
        except OSError as error:
            raise ControlError(f"lost the connection to emu: {error}") from error
        return msgid

    def wait(self, msgid: int, timeout_s: float | None = None) -> Any:
        """The answer to what was begun. Raises TimeoutError where it has not come by then (None: by
        this client's own limit), RpcError, ControlError."""
        give_up_s = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            while msgid not in self._answers:
                if give_up_s is not None:
                    self._socket.settimeout(max(0.001, give_up_s - time.monotonic()))
                self._receive()
        finally:
            self._socket.settimeout(self._timeout_s)
        error, result = self._answers.pop(msgid)
        if error is not None:
            raise RpcError.from_wire(error)
        return result

    def _receive(self) -> None:
        try:
            data = self._socket.recv(65536)
            for message in self._rpc.receive_data(data):
                if message[0] == rpc.RESPONSE:
                    self._answers[message[1]] = message[2], message[3]
        except TimeoutError:
            raise
        except ConnectionResetError as error:
            raise ControlEnded("emu ended while answering") from error
        except (OSError, rpc.RemoteProtocolError) as error:
            raise ControlError(f"lost the connection to emu: {error}") from error
        if not data:
            raise ControlEnded("emu ended while answering")

    def _give_up(self, msgid: int) -> None:
        with suppress(OSError):
            self._socket.sendall(self._rpc.send_notify(rpc.CANCEL, [msgid]))
