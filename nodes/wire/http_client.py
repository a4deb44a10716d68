"""The asking side of HTTP: connections kept alive per host, one request at a time on each.

It never retries (nodes/parts/backoff.py has the budget), except that a kept connection which turns
out closed is replaced once: before the request is sent whole, or if it only reads.
"""

from __future__ import annotations

from typing import Final

import trio

from nodes.base import HTTP_PORT, Context, Stream
from nodes.parts.causes import in_words
from nodes.parts.timing import move_on_after
from nodes.wire.service import CHUNK_BYTES, current_call
from protocols.errors import RpcError
from protocols.http import connection as http
from protocols.http.client import ClientConnection
from protocols.http.connection import Response

MAX_IDLE: Final = 64
IDLE_S: Final = 20.0
"""Below the servers' own idle time-out, so that they seldom close under us."""
READING: Final = frozenset({"GET", "HEAD"})

Target = tuple[str, int]


class _Connection:
    __slots__ = ("http", "idle_since_s", "stream", "target")

    def __init__(self, target: Target, stream: Stream) -> None:
        self.target = target
        self.stream = stream
        self.http = ClientConnection()
        self.idle_since_s = 0.0


class _Stale(Exception):
    """A kept connection was closed before a byte of an answer. `sent`: the request was sent whole,
    so the server may have acted on it."""

    def __init__(self, *, sent: bool) -> None:
        self.sent = sent


class HttpClient:
    """Ask any host. Failures are RpcErrors: definite (`unavailable`) or indefinite (`timeout`,
    `disconnected`); an answer of any status is a Response."""

    def __init__(self, ctx: Context, *, max_idle: int = MAX_IDLE, agent: str = "emu") -> None:
        self.ctx = ctx
        self.max_idle = max_idle
        self.agent = agent
        self._idle: dict[Target, list[_Connection]] = {}

    async def request(
        self,
        method: str,
        path: str,
        *,
        host: str,
        port: int = HTTP_PORT,
        headers: http.Headers = (),
        body: bytes = b"",
        timeout_s: float = 5.0,
        host_header: str = "",
    ) -> Response:
        """Send one request and return its answer, within `timeout_s` and what our caller has left.

        Raises RpcError.
        """
        clock = self.ctx.clock
        call = current_call.get()
        if call is not None and call.deadline_s is not None:
            timeout_s = min(timeout_s, call.deadline_s - clock.monotonic_s())
        if timeout_s <= 0:
            raise RpcError("expired", f"no time left to ask {host}")
        all_headers = [
            ("host", host_header or host),
            ("user-agent", self.agent),
            (http.DEADLINE_MS, str(max(1, int(timeout_s * 1000)))),
            *headers,
        ]
        if call is not None and call.trace is not None:
            all_headers.append((http.TRACE, f"{call.trace:x}"))
        sent = False
        with move_on_after(clock, timeout_s):
            connection, kept = await self._take((host, port))
            try:
                sent = True
                return await self._exchange(connection, kept, method, path, all_headers, body)
            except _Stale as stale:
                if stale.sent and method not in READING:
                    raise RpcError("disconnected", f"{host} closed a kept connection") from None
            sent = False
            connection = await self._connect((host, port))
            sent = True
            return await self._exchange(connection, False, method, path, all_headers, body)
        code = "timeout" if sent else "unavailable"
        raise RpcError(code, f"{method} {path[:80]} at {host} after {timeout_s:g} s")

    async def _take(self, target: Target) -> tuple[_Connection, bool]:
        now_s = self.ctx.clock.monotonic_s()
        idle = self._idle.get(target)
        while idle:
            connection = idle.pop()
            fresh = now_s - connection.idle_since_s <= IDLE_S
            if fresh and not connection.stream.ended():
                return connection, True
            connection.stream.abort()
        return await self._connect(target), False

    async def _connect(self, target: Target) -> _Connection:
        try:
            return _Connection(target, await self.ctx.network.open_stream(*target))
        except OSError as error:
            raise RpcError("unavailable", f"{target[0]}: {in_words(error)}") from error

    async def _exchange(
        self,
        connection: _Connection,
        kept: bool,
        method: str,
        path: str,
        headers: http.Headers,
        body: bytes,
    ) -> Response:
        """One request and its answer; the connection is kept or closed, whatever happens."""
        stream, sent, received = connection.stream, False, False
        keep = False
        try:
            await stream.send_all(connection.http.send_request(method, path, headers, body))
            sent = True
            while True:
                data = await stream.receive_some(CHUNK_BYTES)
                if not data and kept and not received:
                    raise _Stale(sent=True)
                received = True
                response = connection.http.receive_data(data)
                if response is not None:
                    keep = connection.http.reusable
                    return response
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if kept and not received:
                raise _Stale(sent=sent) from error
            raise RpcError("disconnected", "the connection broke before the answer") from error
        except http.RemoteProtocolError as error:
            raise RpcError("disconnected", f"no HTTP answer: {error.reason}") from error
        finally:
            self._put_back(connection, keep)

    def _put_back(self, connection: _Connection, keep: bool) -> None:
        idle = self._idle.setdefault(connection.target, [])
        if keep and len(idle) < self.max_idle:
            connection.idle_since_s = self.ctx.clock.monotonic_s()
            idle.append(connection)
        else:
            connection.stream.abort()

    def close(self) -> None:
        """Break the connections that are kept."""
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.stream.abort()
