"""What answers HTTP, once for all tiers that speak it: `HttpService`; its connections are in
http_connection.py.

Deadlines, cpu, the bound on requests in hand and the RED metrics live here and nowhere else; what a
path means is the tier's business (its `find`), what the bytes mean is protocols/http/'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeVar

from nodes.base import Context, Stream
from nodes.metrics import Counter, Histogram
from nodes.parts import jsons
from nodes.parts.shedding import MIDDLE
from nodes.parts.timing import Alarm
from nodes.wire.answers import as_rpc_error
from nodes.wire.answers import request_id as id_of_request
from nodes.wire.draining import Draining
from nodes.wire.hops import WHY, Hops, encoded
from nodes.wire.http_connection import AnyResponse, Connection, Via
from nodes.wire.service import (
    ERRORS_HELP,
    IN_FLIGHT_HELP,
    REQUESTS_HELP,
    SECONDS_HELP,
    Call,
    current_call,
)
from protocols.errors import RpcError
from protocols.http import message as http
from protocols.http import writing
from protocols.http.message import Request, Response, StreamedResponse
from protocols.numerals import whole

__all__ = ["Endpoint", "HttpLimits", "HttpService", "Via", "error_response", "json_response"]

MAX_DEADLINE_S: Final = 3600.0
ID_BITS: Final = 52

STATUS_OF_ERROR: Final = {
    "bad_request": 400,
    "unauthorized": 401,
    "not_found": 404,
    "no_such_method": 404,
    "refused": 409,
    "too_large": 413,
    "timeout": 504,
    "disconnected": 502,
    "cancelled": 504,
    "unknown_outcome": 504,
    "internal": 500,
}
"""HTTP status by error code; other codes are 503. 500, 502 (what came was no
whole answer) and 504 (none came in time): nobody knows whether it happened."""
RETRY_AFTER_S: Final = 1
FIRST_DATE_S: Final = -62_135_596_800
LAST_DATE_S: Final = 253_402_300_799
"""The years 1 and 9999: a node's clock may be stepped beyond them."""

_Answer = TypeVar("_Answer", Response, StreamedResponse, AnyResponse)


class Endpoint(NamedTuple):
    """What answers a request. `name` is the route's, for metrics: few and bounded.

    `cost_s` is what it costs of the cpu (None: the declared service time; 0: nothing).
    """

    name: str
    handler: Callable[[Request, Via], Any]
    """A coroutine function that returns AnyResponse; where `at_once`, a plain one."""
    cost_s: float | None = None
    streams: bool = False
    """Whether it takes the request before its body, as `request.content`."""
    at_once: bool = False
    """Its handler never waits (and returns a Response): it is called where the request is read,
    which saves a turn of the scheduler, most of what a small answer costs."""


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
    """The plain refusal: `{"error": {"code", "message", "definite", "request"?}}`."""
    error = {"code": code, "message": message, "definite": RpcError(code).definite}
    if request is not None and (request_id := id_of_request()):
        error["request"] = request_id
    return json_response({"error": error}, status)


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
        self._ids = ctx.rng("request ids")
        self.in_flight = 0
        self.writer = writing.Writer()
        self._common = writing.NOTHING
        self._common_s = -1
        self._found_of: Request | None = None
        self._found = Endpoint("unknown", lambda request, via: None)
        self._series: dict[tuple[str, int], Counter] = {}
        self._seconds: dict[str, Histogram] = {}
        self._failures = ctx.metrics.counter("request_errors_total", ERRORS_HELP)
        ctx.metrics.gauge(
            "requests_in_flight", IN_FLIGHT_HELP, lambda: self.in_flight, protocol="http"
        )

    async def serve_stream(self, stream: Stream, received: bytes = b"", client: str = "") -> None:
        """Answer one connection until it ends; `received` was read from it already."""
        via = Via(stream.peer.name, client or stream.peer.address, stream.peer.rights)
        connection = Connection(self, self.limits.connection, stream, via)
        self.draining.add(connection)
        try:
            await connection.run(received)
        finally:
            self.draining.remove(connection)

    def _endpoint(self, request: Request) -> Endpoint:
        """Of one request it is mostly asked thrice in a row."""
        if request is not self._found_of:
            self._found_of, self._found = request, self.find(request)
        return self._found

    def streams(self, request: Request) -> bool:
        return self._endpoint(request).streams

    def answer_now(self, request: Request, via: Via, arrived_s: float) -> Response | None:
        """The answer of an endpoint that never waits, unless it must for something else: None."""
        endpoint = self._endpoint(request)
        if not endpoint.at_once or (self.ctx.cpu.cores and endpoint.cost_s != 0):
            return None
        if WHY in request.headers:
            return None
        call = self._call(request, via, arrived_s)
        token = current_call.set(call)
        try:
            response: Response = endpoint.handler(request, via)
        except Exception as problem:
            response = self._refuse(request, as_rpc_error(self.ctx, problem, route=endpoint.name))
        finally:
            current_call.reset(token)
        took_s = self.ctx.clock.monotonic_s() - arrived_s
        self._count(endpoint.name, response.status, took_s)
        return self._told(endpoint.name, response, took_s, call.trace, via.peer)

    async def answer(self, request: Request, via: Via, alarm: Alarm) -> AnyResponse:
        """Answer one request, whatever happens; count and time it. Who is cancelled when the alarm
        rings asks for `late`."""
        clock = self.ctx.clock
        arrived_s = clock.monotonic_s()
        endpoint = self._endpoint(request)
        call = self._call(request, via, arrived_s)
        if WHY in request.headers:
            call.hops = Hops(arrived_s)
        token = current_call.set(call)
        try:
            response = await self._admit(request, endpoint, via, alarm, call)
        finally:
            current_call.reset(token)
        if call.hops is not None:
            response = self._with_way(response, endpoint, call.hops)
        took_s = clock.monotonic_s() - arrived_s
        self._count(endpoint.name, response.status, took_s)
        return self._told(endpoint.name, response, took_s, call.trace, via.peer)

    def _call(self, request: Request, via: Via, arrived_s: float) -> Call:
        trace = _trace(request)
        if trace is None:  # a client from outside: here its way begins
            trace = self._ids.getrandbits(ID_BITS)
        call = Call(via.peer, arrived_s + self._limit_s(request), trace)
        told = request.headers.get(http.PRIORITY)
        if told is not None:
            call.urgency = urgency_of(told)
        return call

    async def _admit(
        self, request: Request, endpoint: Endpoint, via: Via, alarm: Alarm, call: Call
    ) -> AnyResponse:
        if self.in_flight >= self.limits.max_in_flight and endpoint.cost_s != 0:
            error = RpcError("overloaded", f"{self.in_flight} requests are in hand already")
            return self._refuse(request, error)
        self.in_flight += 1
        assert call.deadline_s is not None
        alarm.set(call.deadline_s)
        try:
            return await self._work(request, endpoint, via, call)
        finally:
            self.in_flight -= 1

    def _with_way(self, response: _Answer, endpoint: Endpoint, hops: Hops) -> _Answer:
        if not hops.decision:
            hops.say(str(response.status), f"route {endpoint.name}")
        found = hops.ended(self.ctx.name, self.ctx.tier, self.ctx.clock.monotonic_s())
        return replace(response, headers=(*response.headers, (WHY, encoded(found))))

    def _told(
        self, route: str, response: _Answer, took_s: float, trace: int | None, peer: str
    ) -> _Answer:
        """A line about it, if it is to be told; an answer that went wrong has its id."""
        access = self.ctx.access
        if access is not None:
            access.told(route, took_s, str(response.status), trace, peer)
        if response.status < HTTPStatus.BAD_REQUEST or trace is None:
            return response
        return replace(response, headers=(*response.headers, (http.REQUEST_ID, f"{trace:x}")))

    async def _work(
        self, request: Request, endpoint: Endpoint, via: Via, call: Call
    ) -> AnyResponse:
        try:
            if self.ctx.cpu.cores and endpoint.cost_s != 0:
                await self.ctx.cpu.run(
                    endpoint.cost_s, expires_at_s=call.deadline_s, rank=call.rank
                )
            answer = endpoint.handler(request, via)
            response: AnyResponse = answer if endpoint.at_once else await answer
            return response
        except Exception as problem:
            return self._refuse(request, as_rpc_error(self.ctx, problem, route=endpoint.name))

    def _limit_s(self, request: Request) -> float:
        return min(self.limits.timeout_s, _remaining_s(request))

    def late(self, request: Request) -> Response:
        limit_s = self._limit_s(request)
        response = self._refuse(request, RpcError("timeout", f"no answer within {limit_s:g} s"))
        route, trace = self.find(request).name, _trace(request)
        self._count(route, response.status, limit_s)
        return self._told(route, response, limit_s, trace, "")

    def failed(self, problem: Exception, request: Request) -> Response:
        if isinstance(problem, http.LocalProtocolError):
            self.ctx.log.error("response refused", path=request.path, why=str(problem))
            problem = RpcError("internal", "the answer was none that HTTP allows")
        error = as_rpc_error(self.ctx, problem, route=self.find(request).name)
        return self._refuse(request, error)

    def _refuse(self, request: Request, error: RpcError) -> Response:
        status = STATUS_OF_ERROR.get(error.code, HTTPStatus.SERVICE_UNAVAILABLE)
        response = self.render_error(request, int(status), error.code, error.message)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers = (*response.headers, ("retry-after", str(RETRY_AFTER_S)))
            response = replace(response, headers=headers)
        return response

    def common(self) -> writing.Common:
        """The headers that every answer has: who answered, and when by its own clock. A cache has
        them of whom it had the answer from."""
        wall_s = int(self.ctx.clock.wall_s())
        if wall_s != self._common_s:
            self._common_s = wall_s
            headers = (("date", http_date(wall_s)), (http.NODE, self.ctx.name))
            self._common = writing.common(headers)
        return self._common

    def refusal(self, error: http.RemoteProtocolError) -> Response:
        """The last answer on a connection that broke the protocol."""
        code = "too_large" if error.status in (413, 414, 431) else "bad_request"
        self._count("unknown", error.status, None)
        return self.render_error(None, error.status, code, error.reason)

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


def _remaining_s(request: Request) -> float:
    """What `X-Deadline-Ms` says, if it can be believed."""
    told_ms = whole(request.headers.get(http.DEADLINE_MS, ""), 8)
    return MAX_DEADLINE_S if told_ms is None else told_ms / 1000


def _trace(request: Request) -> int | None:
    text = request.headers.get(http.TRACE, "")
    try:
        return int(text, 16) if 0 < len(text) <= 16 else None
    except ValueError:
        return None


def urgency_of(text: str) -> int:
    """Of the header `Priority: u=1, i` (RFC 9218): what is no urgency there says nothing."""
    for item in text.split(","):
        name, _, value = item.partition(";")[0].strip().partition("=")
        if name == "u" and len(value) == 1 and value in "01234567":
            return int(value)
    return MIDDLE


def http_date(wall_s: float) -> str:
    """RFC 9110's fixed form: `Sun, 06 Nov 1994 08:49:37 GMT`."""
    return formatdate(min(max(int(wall_s), FIRST_DATE_S), LAST_DATE_S), usegmt=True)
