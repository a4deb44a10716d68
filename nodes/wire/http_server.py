"""Where an HTTP connection meets a stream: `HttpService` answers, for every tier that speaks HTTP.

Deadlines, cpu, the bound on requests in hand and the RED metrics live here and nowhere else; what a
path means is the tier's business (its `find`), what the bytes mean is protocols/http/'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import trio

from nodes.base import Context, Stream, Timer
from nodes.metrics import Counter, Histogram
from nodes.parts import jsons
from nodes.parts.timing import move_on_after
from nodes.wire.answers import as_rpc_error
from nodes.wire.draining import DRAIN_QUIET_S, Draining
from nodes.wire.service import (
    ERRORS_HELP,
    IN_FLIGHT_HELP,
    REQUESTS_HELP,
    SECONDS_HELP,
    Call,
    current_call,
)
from protocols.errors import RpcError
from protocols.http import connection as http
from protocols.http.connection import Request, Response

LINGER_S: Final = 1.0
"""After a refusal: how long we read on, so that the answer is not lost to a reset."""
LINGER_BYTES: Final = 1 << 18
MAX_DEADLINE_S: Final = 3600.0

STATUS_OF_ERROR: Final = {
    "bad_request": 400,
    "unauthorized": 401,
    "not_found": 404,
    "no_such_method": 404,
    "refused": 409,
    "too_large": 413,
    "timeout": 504,
    "disconnected": 504,
    "cancelled": 504,
    "unknown_outcome": 504,
    "internal": 500,
}
"""HTTP status by error code; other codes are 503. 500 and 504: nobody knows whether it happened."""
RETRY_AFTER_S: Final = 1
FIRST_DATE_S: Final = -62_135_596_800
LAST_DATE_S: Final = 253_402_300_799
"""The years 1 and 9999: a node's clock may be stepped beyond them."""
CLOSE: Final = ("connection", "close")


class Via(NamedTuple):
    """Where a request came from: the neighbour that dialed us, and the client's own address."""

    peer: str
    client: str


class Endpoint(NamedTuple):
    """What answers a request. `name` is the route's, for metrics: few and bounded.

    `cost_s` is what it costs of the cpu (None: the declared service time; 0: nothing).
    """

    name: str
    handler: Callable[[Request, Via], Awaitable[Response]]
    cost_s: float | None = None


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of the service: the connection's, the requests in hand, and the time for one."""

    connection: http.Limits = field(default_factory=http.Limits)
    max_in_flight: int = 512
    timeout_s: float = 5.0


def json_response(
    value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    """`value` as JSON, never cached unless `headers` say so."""
    text = jsons.dumps(value, ensure_ascii=False, separators=(",", ":"))
    body = text.encode("utf-8", "backslashreplace") + b"\n"  # of a lone surrogate: JSON's escape
    if not any(name == "cache-control" for name, _ in headers):
        headers = (*headers, ("cache-control", "no-store"))
    return Response(status, (("content-type", "application/json"), *headers), body)


def error_response(request: Request | None, status: int, code: str, message: str) -> Response:
    """The plain refusal: `{"error": {"code", "message", "definite"}}`."""
    definite = RpcError(code).definite
    return json_response(
        {"error": {"code": code, "message": message, "definite": definite}}, status
    )


RenderError = Callable[[Request | None, int, str, str], Response]


class HttpService:
    """Answers connections: `find(request)` names the endpoint, and never fails or waits."""

    def __init__(
        self,
        ctx: Context,
        find: Callable[[Request], Endpoint],
        *,
        limits: HttpLimits | None = None,
        render_error: RenderError = error_response,
    ) -> None:
        self.ctx = ctx
        self.find = find
        self.limits = limits or HttpLimits()
        self.render_error = render_error
        self.draining = Draining()
        self.in_flight = 0
        self._series: dict[tuple[str, int], Counter] = {}
        self._seconds: dict[str, Histogram] = {}
        self._failures = ctx.metrics.counter("request_errors_total", ERRORS_HELP)
        ctx.metrics.gauge(
            "requests_in_flight", IN_FLIGHT_HELP, lambda: self.in_flight, protocol="http"
        )

    async def serve_stream(self, stream: Stream, received: bytes = b"", client: str = "") -> None:
        """Answer one connection until it ends; `received` was read from it already."""
        via = Via(stream.peer.name, client or stream.peer.address)
        connection = _HttpConnection(self, stream, via)
        self.draining.add(connection)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.read_forever, received, nursery.cancel_scope)
                try:
                    await connection.answer_forever()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass  # the peer left; nobody is there to be answered
                nursery.cancel_scope.cancel()
        finally:
            self.draining.remove(connection)

    async def answer(self, request: Request, via: Via) -> Response:
        """Answer one request, whatever happens, within its deadline; count and time it."""
        clock = self.ctx.clock
        arrived_s = clock.monotonic_s()
        endpoint = self.find(request)
        if self.in_flight >= self.limits.max_in_flight and endpoint.cost_s != 0:
            error = RpcError("overloaded", f"{self.in_flight} requests are in hand already")
            response = self._refuse(request, error)
        else:
            self.in_flight += 1
            try:
                response = await self._work(request, endpoint, via, arrived_s)
            finally:
                self.in_flight -= 1
        self._count(endpoint.name, response.status, clock.monotonic_s() - arrived_s)
        return self.finished(response)

    async def _work(
        self, request: Request, endpoint: Endpoint, via: Via, arrived_s: float
    ) -> Response:
        limit_s = min(self.limits.timeout_s, _remaining_s(request))
        call = Call(via.peer, arrived_s + limit_s, _trace(request))
        token = current_call.set(call)
        try:
            with move_on_after(self.ctx.clock, limit_s) as scope:
                if self.ctx.cpu.cores and endpoint.cost_s != 0:
                    await self.ctx.cpu.run(endpoint.cost_s, expires_at_s=call.deadline_s)
                return await endpoint.handler(request, via)
        except Exception as problem:
            return self._refuse(request, as_rpc_error(self.ctx, problem, route=endpoint.name))
        finally:
            current_call.reset(token)
        assert scope.cancelled_caught
        return self._refuse(request, RpcError("timeout", f"no answer within {limit_s:g} s"))

    def _refuse(self, request: Request, error: RpcError) -> Response:
        status = STATUS_OF_ERROR.get(error.code, HTTPStatus.SERVICE_UNAVAILABLE)
        response = self.render_error(request, int(status), error.code, error.message)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers = (*response.headers, ("retry-after", str(RETRY_AFTER_S)))
            response = replace(response, headers=headers)
        return response

    def finished(self, response: Response) -> Response:
        """With the headers that every answer has: who answered, and when by its own clock."""
        headers = (*response.headers, ("date", http_date(self.ctx.clock.wall_s())))
        if response.header(http.NODE) is None:
            headers = (*headers, (http.NODE, self.ctx.name))
        return replace(response, headers=headers)

    def refusal(self, error: http.RemoteProtocolError) -> Response:
        """The last answer on a connection that broke the protocol."""
        code = "too_large" if error.status in (413, 431) else "bad_request"
        self._count("unknown", error.status, None)
        return self.finished(self.render_error(None, error.status, code, error.reason))

    def _count(self, route: str, status: int, seconds: float | None) -> None:
        counter = self._series.get((route, status))
        if counter is None:
            counter = self.ctx.metrics.counter(
                "requests_total", REQUESTS_HELP, method=route, code=str(status)
            )
            self._series[route, status] = counter
        counter.value += 1
        self._failures.value += status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if seconds is None:
            return
        histogram = self._seconds.get(route)
        if histogram is None:
            histogram = self.ctx.metrics.histogram("request_seconds", SECONDS_HELP, method=route)
            self._seconds[route] = histogram
        histogram.observe(seconds)


class _HttpConnection:
    """One connection: a reader that feeds (and notices a reset), and one request at a time."""

    def __init__(self, service: HttpService, stream: Stream, via: Via) -> None:
        self.service = service
        self.stream = stream
        self.via = via
        self.limits = service.limits.connection
        self.http = http.ServerConnection(self.limits)
        self.more = trio.Event()
        self.room = trio.Event()
        self.ended = False
        self.lingered_bytes: int | None = None
        self.waiting: trio.CancelScope | None = None
        """While it waits for the next request."""
        self.timer: Timer | None = None

    def hurry(self) -> None:
        """The service drains: an idle client may still ask, but not for long."""
        if self.waiting is not None and not self.http.mid_request:
            self._limit_wait(self.waiting, min(DRAIN_QUIET_S, self.limits.idle_timeout_s))

    def _limit_wait(self, scope: trio.CancelScope, limit_s: float) -> None:
        if self.timer is not None:
            self.timer.cancel()
        clock = self.service.ctx.clock
        self.timer = clock.call_at(clock.monotonic_s() + limit_s, scope.cancel)

    async def read_forever(self, received: bytes, scope: trio.CancelScope) -> None:
        """Feed the parser; when the peer resets, whatever we do for it is cancelled."""
        if received:
            self._take(received)
        try:
            while not self.ended:
                while self.http.buffered_bytes > self.limits.max_buffered_bytes:
                    self.room = trio.Event()
                    await self.room.wait()
                await self.stream.receive_each(self._take)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            scope.cancel()
        if self.lingered_bytes is not None:
            scope.cancel()

    def _take(self, data: bytes | bytearray) -> bool:
        """Whether there is room for more."""
        if self.lingered_bytes is not None:
            self.lingered_bytes += len(data)
            self.ended = not data or self.lingered_bytes > LINGER_BYTES
            return not self.ended
        self.http.receive_data(data)
        self.ended = not data
        self.more.set()
        return not self.ended and self.http.buffered_bytes <= self.limits.max_buffered_bytes

    async def answer_forever(self) -> None:
        while True:
            try:
                request = await self._next_request()
            except http.RemoteProtocolError as error:
                await self._refuse(error)
                return
            if request is None:
                return
            response = await self.service.answer(request, self.via)
            if self.service.draining.begun:
                response = replace(response, headers=(*response.headers, CLOSE))
            try:
                data = self.http.send_response(response)
            except http.LocalProtocolError as error:
                self.service.ctx.log.error("response refused", path=request.path, why=str(error))
                return
            await self.stream.send_all(data)
            if self.http.must_close:
                await self._linger()
                return
            self.room.set()

    async def _next_request(self) -> Request | None:
        """The next one; None when the peer is done or idle for too long."""
        request = self.http.next_request()
        if request is not None:
            return request
        idle_s, begun_s = self.limits.idle_timeout_s, self.limits.request_timeout_s
        begun = self.http.mid_request
        with trio.CancelScope() as scope:
            self.waiting = scope
            self._limit_wait(scope, begun_s if begun else idle_s)
            try:
                while True:
                    request = self.http.next_request()
                    if request is not None:
                        return request
                    reply = self.http.data_to_send()
                    if reply:
                        await self.stream.send_all(reply)
                    if self.ended:
                        return None
                    if self.http.mid_request and not begun:
                        begun = True
                        self._limit_wait(scope, begun_s)
                    self.more = trio.Event()
                    self.room.set()
                    await self.more.wait()
            finally:
                self.waiting = None
                if self.timer is not None:
                    self.timer.cancel()
        if self.http.mid_request:
            raise http.RemoteProtocolError("the request did not end in time", 408)
        return None

    async def _refuse(self, error: http.RemoteProtocolError) -> None:
        self.service.ctx.log.debug("request refused", peer=self.via.peer, why=error.reason)
        response = self.service.refusal(error)
        if not self.http.can_answer:
            return
        response = replace(response, headers=(*response.headers, CLOSE))
        await self.stream.send_all(self.http.send_response(response))
        await self._linger()

    async def _linger(self) -> None:
        """Say that we are done, then read on a little: a close with unread data is a reset."""
        self.lingered_bytes = 0
        self.room.set()
        await self.stream.send_eof()
        if not self.ended:
            await self.service.ctx.clock.sleep(LINGER_S)


def _remaining_s(request: Request) -> float:
    """What `X-Deadline-Ms` says, if it can be believed."""
    text = request.headers.get(http.DEADLINE_MS, "")
    return (
        int(text) / 1000 if text.isascii() and text.isdigit() and len(text) < 9 else MAX_DEADLINE_S
    )


def _trace(request: Request) -> int | None:
    text = request.headers.get(http.TRACE, "")
    try:
        return int(text, 16) if 0 < len(text) <= 16 else None
    except ValueError:
        return None


def http_date(wall_s: float) -> str:
    """RFC 9110's fixed form: `Sun, 06 Nov 1994 08:49:37 GMT`."""
    return formatdate(min(max(int(wall_s), FIRST_DATE_S), LAST_DATE_S), usegmt=True)
