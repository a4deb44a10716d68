"""The asking side of HTTP: connections kept alive per host, one request at a time on each.

It never retries (nodes/parts/backoff.py has the budget), except that a kept connection which turns
out closed is replaced once: before the request is sent whole, or if it only reads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import trio

from nodes.base import HTTP_PORT, Context, Stream
from nodes.parts.causes import in_words
from nodes.parts.shedding import MIDDLE
from nodes.parts.timing import move_on_after
from nodes.wire.hops import ASKED, WHY
from nodes.wire.service import CHUNK_BYTES, current_call
from protocols.errors import RpcError
from protocols.http import message as http
from protocols.http.client import ClientConnection
from protocols.http.message import Body, Headers, Response

MAX_IDLE: Final = 64
MAX_WHOLE_BYTES: Final = 8 << 20
"""Of an answer that is not streamed."""
IDLE_S: Final = 20.0
"""Below the servers' own idle time-out, so that they seldom close under us."""
READING: Final = frozenset({"GET", "HEAD"})

Target = tuple[str, int]


class _Connection:
    __slots__ = ("http", "idle_since_s", "stream", "target")

    def __init__(self, target: Target, stream: Stream) -> None:
        self.target = target
        self.stream = stream
        self.http = ClientConnection(max_body_bytes=MAX_WHOLE_BYTES)
        self.idle_since_s = 0.0


class _Asked(NamedTuple):
    """A request, as it is sent; `body` may come as it is read, in chunks if of no known length."""

    method: str
    path: str
    headers: Headers
    body: bytes | Body
    length_bytes: int | None


class _Stale(Exception):
    """A kept connection was closed before a byte of an answer. `sent`: the request was sent whole,
    so the server may have acted on it."""

    def __init__(self, *, sent: bool) -> None:
        self.sent = sent


class Answer:
    """An answer whose body comes as it is read (a Body). Call `abort` when done with it: at the end
    of the body its connection is kept, else closed."""

    def __init__(
        self, client: HttpClient, connection: _Connection, head: Response, timeout_s: float
    ) -> None:
        self.status = head.status
        self.headers = head.headers
        self.interim = connection.http.interim
        """The answers below 200 that came before."""
        self._client = client
        self._connection: _Connection | None = connection
        self._timeout_s = timeout_s
        self._trailers: Headers = ()
        if connection.http.body_ended:
            self._end()

    def header(self, name: str) -> str | None:
        """The first header of that (lower case) name."""
        return http.first(self.headers, name)

    @property
    def trailers(self) -> Headers:
        return self._trailers

    async def receive_some(self) -> bytes:
        """Within the time that the request was given, for each piece. Raises RpcError."""
        connection = self._connection
        if connection is None:
            return b""
        try:
            with move_on_after(self._client.ctx.clock, self._timeout_s):
                while True:
                    data = connection.http.read_body()
                    if connection.http.body_ended:
                        self._trailers = connection.http.trailers
                        self._end()
                        return data
                    if data:
                        return data
                    connection.http.feed(await connection.stream.receive_some(CHUNK_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.abort()
            raise RpcError("disconnected", "the connection broke in the answer") from error
        except http.RemoteProtocolError as error:
            self.abort()
            raise RpcError("disconnected", f"no whole HTTP answer: {error.reason}") from error
        self.abort()
        raise RpcError("timeout", f"no more of the answer within {self._timeout_s:g} s")

    def _end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client.put_back(connection, keep=connection.http.reusable)

    def abort(self) -> None:
        """Nobody reads on."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.stream.abort()


class HttpClient:
    """Ask any host. Failures are RpcErrors: definite (`unavailable`) or indefinite (`timeout`,
    `disconnected`); an answer of any status is a Response."""

    def __init__(self, ctx: Context, *, max_idle: int = MAX_IDLE, agent: str = "emu") -> None:
        """`agent` is told as user-agent, unless it is empty."""
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
        headers: Headers = (),
        body: bytes = b"",
        timeout_s: float = 5.0,
        host_header: str = "",
    ) -> Response:
        """Send one request and return its answer, within `timeout_s` and what our caller has left.

        Raises RpcError.
        """
        timeout_s = self._time_left_s(host, timeout_s)
        all_headers = self._headers(host_header or host, headers, timeout_s)
        asked = _Asked(method, path, all_headers, body, None)
        response, _ = await self._within(timeout_s, (host, port), asked, whole=True)
        return response

    async def stream(
        self,
        method: str,
        path: str,
        *,
        host: str,
        port: int = HTTP_PORT,
        headers: Headers = (),
        body: bytes | Body = b"",
        length_bytes: int | None = None,
        timeout_s: float = 5.0,
        host_header: str = "",
    ) -> Answer:
        """The same, but the answer is returned when its head has come, and each piece of its body
        may take `timeout_s` again. A `body` that is read as it is sent goes out in chunks, unless
        its `length_bytes` is told.
        """
        timeout_s = self._time_left_s(host, timeout_s)
        all_headers = self._headers(host_header or host, headers, timeout_s)
        asked = _Asked(method, path, all_headers, body, length_bytes)
        head, connection = await self._within(timeout_s, (host, port), asked, whole=False)
        return Answer(self, connection, head, timeout_s)

    def _time_left_s(self, host: str, timeout_s: float) -> float:
        """What our caller has left of it. Raises RpcError for nothing."""
        call = current_call.get()
        if call is not None and call.deadline_s is not None:
            timeout_s = min(timeout_s, call.deadline_s - self.ctx.clock.monotonic_s())
        if timeout_s <= 0:
            raise RpcError("expired", f"no time left to ask {host}")
        return timeout_s

    def _headers(self, host: str, headers: Headers, timeout_s: float) -> Headers:
        call = current_call.get()
        all_headers = [("host", host)]
        if self.agent:
            all_headers.append(("user-agent", self.agent))
        all_headers.append((http.DEADLINE_MS, str(max(1, int(timeout_s * 1000)))))
        all_headers += headers
        if call is not None and call.trace is not None:
            all_headers.append((http.TRACE, f"{call.trace:x}"))
        if call is not None and call.urgency != MIDDLE:
            all_headers.append((http.PRIORITY, f"u={call.urgency}"))
        if call is not None and call.hops is not None:
            all_headers.append(ASKED)
        return all_headers

    async def _within(
        self, timeout_s: float, target: Target, asked: _Asked, *, whole: bool
    ) -> tuple[Response, _Connection]:
        """The answer, whole or only its head, and where it comes from."""
        call = current_call.get()
        if call is None or call.hops is None:
            return await self._once_or_twice(timeout_s, target, asked, whole)
        clock = self.ctx.clock
        began_s = clock.monotonic_s()
        response, connection = await self._once_or_twice(timeout_s, target, asked, whole)
        call.hops.asked(target[0], began_s, clock.monotonic_s(), response.header(WHY) or "")
        headers = [pair for pair in response.headers if pair[0] != WHY]
        return replace(response, headers=headers), connection

    async def _once_or_twice(
        self, timeout_s: float, target: Target, asked: _Asked, whole: bool
    ) -> tuple[Response, _Connection]:
        host, method = target[0], asked.method
        sent = False
        with move_on_after(self.ctx.clock, timeout_s):
            connection, kept = await self._take(target)
            try:
                sent = True
                return await self._exchange(connection, kept, asked, whole), connection
            except _Stale as stale:
                again = isinstance(asked.body, bytes) and (not stale.sent or method in READING)
                if not again:
                    raise RpcError("disconnected", f"{host} closed a kept connection") from None
            sent = False
            connection = await self._connect(target)
            sent = True
            return await self._exchange(connection, False, asked, whole), connection
        code = "timeout" if sent else "unavailable"
        raise RpcError(code, f"{method} {asked.path[:80]} at {host} after {timeout_s:g} s")

    async def _take(self, target: Target) -> tuple[_Connection, bool]:
        now_s = self.ctx.clock.monotonic_s()
        idle = self._idle.get(target)
        while idle:
            connection = idle.pop()
            fresh = now_s - connection.idle_since_s <= IDLE_S
            if fresh and not connection.stream.has_arrived():
                return connection, True
            connection.stream.abort()
        return await self._connect(target), False

    async def _connect(self, target: Target) -> _Connection:
        try:
            return _Connection(target, await self.ctx.network.open_stream(*target))
        except OSError as error:
            raise RpcError("unavailable", f"{target[0]}: {in_words(error)}") from error

    async def _exchange(
        self, connection: _Connection, kept: bool, asked: _Asked, whole: bool
    ) -> Response:
        """One request and its answer, whole or only its head; the connection is kept or closed,
        whatever happens, unless the answer's body is to come."""
        stream, sent, received, done = connection.stream, False, False, False
        take = connection.http.receive_data if whole else connection.http.receive_head
        try:
            await _send(connection, asked)
            sent = True
            while True:
                data = await stream.receive_some(CHUNK_BYTES)
                if not data and kept and not received:
                    raise _Stale(sent=True)
                received = True
                response = take(data)
                if response is not None:
                    done = True
                    return response
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if kept and not received:
                raise _Stale(sent=sent) from error
            raise RpcError("disconnected", "the connection broke before the answer") from error
        except http.RemoteProtocolError as error:
            raise RpcError("disconnected", f"no HTTP answer: {error.reason}") from error
        finally:
            if whole or not done:
                self.put_back(connection, keep=done and connection.http.reusable)

    def put_back(self, connection: _Connection, *, keep: bool) -> None:
        """Its exchange is over."""
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


async def _send(connection: _Connection, asked: _Asked) -> None:
    method, path, headers, body, length_bytes = asked
    stream = connection.stream
    if isinstance(body, bytes):
        await stream.send_all(connection.http.send_request(method, path, headers, body))
        return
    try:
        await stream.send_all(connection.http.start_request(method, path, headers, length_bytes))
        while data := await body.receive_some():
            await stream.send_all(connection.http.send_data(data))
        await stream.send_all(connection.http.end_request(body.trailers))
    except trio.BrokenResourceError:
        pass  # who takes no more may have answered already
    finally:
        body.abort()
