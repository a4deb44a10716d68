"""The command line's end of the control socket: a plain blocking MessagePack-RPC client."""

from __future__ import annotations

import socket
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
        self._next_msgid = 1

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
        msgid = self._next_msgid
        self._next_msgid += 1
        try:
            self._socket.sendall(self._rpc.send_request(msgid, method, list(params)))
            while True:
                data = self._socket.recv(65536)
                for message in self._rpc.receive_data(data):
                    if message[0] == rpc.RESPONSE and message[1] == msgid:
                        if message[2] is not None:
                            raise RpcError.from_wire(message[2])
                        return message[3]
                if not data:
                    raise ControlEnded("emu ended while answering")
        except KeyboardInterrupt:
            self._give_up(msgid)
            raise
        except TimeoutError as error:
            raise ControlError("emu does not answer: is it stopped or very busy?") from error
        except (ConnectionResetError, BrokenPipeError) as error:
            raise ControlEnded("emu ended while answering") from error
        except (OSError, rpc.RemoteProtocolError) as error:
            raise ControlError(f"lost the connection to emu: {error}") from error

    def _give_up(self, msgid: int) -> None:
        with suppress(OSError):
            self._socket.sendall(self._rpc.send_notify(rpc.CANCEL, [msgid]))
