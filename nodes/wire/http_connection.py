"""One HTTP connection of a server: what comes is fed and asked for, what goes is sent, each within
its time. Who answers is an `Answerer` (http_server.py), what bytes mean is protocols/http/'s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple, Protocol

import trio

from nodes.base import Context, Stream
from nodes.parts.auto_reset_event import AutoResetEvent
from nodes.parts.timing import Alarm
from nodes.wire.draining import DRAIN_QUIET_S, Draining
from protocols.errors import RpcError
from protocols.http.connection import ServerConnection
from protocols.http.head import tokens
from protocols.http.message import (
    Headers,
    Limits,
    LocalProtocolError,
    RemoteProtocolError,
    Request,
    Response,
    StreamedResponse,
)
from protocols.http.writing import Common, Writer

LINGER_S: Final = 1.0
"""After a refusal: how long we read on, so that the answer is not lost to a reset."""
LINGER_BYTES: Final = 1 << 18
CLOSE: Final = ("connection", "close")
FAIR_ANSWERS: Final = 16
"""So many in a row without a wait; then others have their turn."""

AnyResponse = Response | StreamedResponse


class Via(NamedTuple):
    """Where a request came from: the neighbour that dialed us, and the client's own address."""

    peer: str
    client: str
    rights: tuple[str, ...] = ()
    """The neighbour's, as the network knows it."""


class Answerer(Protocol):
    """What a connection asks of its service."""

    ctx: Context
    draining: Draining
    in_flight: int
    writer: Writer

    def streams(self, request: Request) -> bool:
        """Whether the endpoint of that request wants its body as it comes."""
        ...

    def common(self) -> Common:
        """The headers that every answer has."""
        ...

    def answer_now(self, request: Request, via: Via, arrived_s: float) -> Response | None:
        """The answer, if it takes no waiting."""
        ...

    async def answer(self, request: Request, via: Via, alarm: Alarm) -> AnyResponse:
        """Whatever happens; the alarm is set to when it is too late."""
        ...

    def late(self, request: Request) -> Response:
        """The answer when it was too late."""
        ...

    def refusal(self, error: RemoteProtocolError) -> Response:
        """The last answer on a connection that broke the protocol."""
        ...

    def failed(self, problem: Exception, request: Request) -> Response:
        """The answer to a request whose own one cannot be sent; it is logged."""
        ...


class Connection:
    """A reader that feeds (and notices a reset), and one request at a time."""

    def __init__(self, service: Answerer, limits: Limits, stream: Stream, via: Via) -> None:
        self.service = service
        self.stream = stream
        self.via = via
        self.limits = limits
        self.http = ServerConnection(limits, service.streams, service.writer)
        self._more = AutoResetEvent()
        self._room = AutoResetEvent()
        self._ended = False
        self._lingered_bytes: int | None = None
        self._alarm = Alarm(service.ctx.clock, self._ring)
        self._scope = trio.CancelScope()
        self._waiting = False
        """For the next request."""
        self._late = False
        """It waited too long."""
        self._sending = False
        self._asked: Request | None = None
        """What was read at its arrival, and takes waiting."""
        self._unsent = b""
        """Of answers that were given at once."""
        self._in_a_row = 0

    async def run(self, received: bytes) -> None:
        """Answer until it ends; `received` was read already."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_forever, received, nursery.cancel_scope)
            try:
                await self._answer_forever()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the peer left; nobody is there to be answered
            finally:
                self._alarm.close()
            nursery.cancel_scope.cancel()

    def hurry(self) -> None:
        """The service drains: an idle client may still ask, but not for long."""
        if self._waiting and not self.http.mid_request:
            self._alarm.hasten(min(DRAIN_QUIET_S, self.limits.idle_timeout_s))

    def _ring(self) -> None:
        if self._waiting:
            self._late = True
            self._more.set()
        else:
            self._scope.cancel()

    # --- what comes --------------------------------------------------------------------------

    async def _read_forever(self, received: bytes, scope: trio.CancelScope) -> None:
        """Feed the parser; when the peer resets, whatever we do for it is cancelled."""
        if received:
            self._take(received)
        try:
            while not self._ended:
                while self.http.buffered_bytes > self.limits.max_buffered_bytes:
                    await self._room.wait()
                await self.stream.receive_each(self._take)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            scope.cancel()
        if self._lingered_bytes is not None:
            scope.cancel()

    def _take(self, data: bytes | bytearray) -> bool:
        """Whether there is room for more."""
        if self._lingered_bytes is not None:
            self._lingered_bytes += len(data)
            self._ended = not data or self._lingered_bytes > LINGER_BYTES
            return not self._ended
        self.http.receive_data(data)
        self._ended = not data
        if not self._waiting or not data or not self._answer_now():
            self._more.set()
        return bool(data) and self.http.buffered_bytes <= self.limits.max_buffered_bytes

    def _answer_now(self) -> bool:
        """Answer what has come while nothing was in hand, as far as that takes no waiting; whether
        that was all."""
        service, http = self.service, self.http
        if self._late or self._asked is not None or self._unsent or service.draining.begun:
            return False
        answers: list[bytes] = []
        arrived_s = service.ctx.clock.monotonic_s()
        try:
            while len(answers) < FAIR_ANSWERS and (request := http.next_request()) is not None:
                response = (
                    None if http.streaming else service.answer_now(request, self.via, arrived_s)
                )
                if response is None:
                    self._asked = request
                    break
                answers.append(self._written(request, response))
        except RemoteProtocolError:
            pass  # whoever asks for the next request hears of it
        if answers:
            data = answers[0] if len(answers) == 1 else b"".join(answers)
            self._unsent = data[self.stream.send_nowait(data) :]
            self._alarm.set(arrived_s + self.limits.idle_timeout_s)
        done = self._asked is None and not self._unsent and not http.must_close
        return done and bool(answers) and not http.mid_request

    def _written(self, request: Request, response: Response) -> bytes:
        common = self.service.common()
        try:
            return self.http.send_response(response, common)
        except LocalProtocolError as error:
            return self.http.send_response(self.service.failed(error, request), common)

    async def _next_request(self) -> Request | None:
        """The next one; None when the peer is done or idle for too long."""
        request, self._asked = self._asked or self.http.next_request(), None
        if request is not None:
            return request
        begun = False
        self._waiting, self._late = True, False
        self._alarm.set_in(self.limits.idle_timeout_s)
        try:
            while True:
                reply = self.http.data_to_send()
                if reply:
                    await self.stream.send_all(reply)
                if self._ended:
                    return None
                if not begun and self.http.mid_request:
                    begun = True
                    self._alarm.set_in(self.limits.request_timeout_s)
                self._room.set()
                await self._more.wait()
                if self._late:
                    break
                if self._has_rest:
                    return None
                request, self._asked = self._asked or self.http.next_request(), None
                if request is not None:
                    return request
        finally:
            self._waiting = False
            self._alarm.clear()
        if self.http.mid_request:
            raise RemoteProtocolError("the request did not end in time", 408)
        return None

    async def more_of_body(self) -> bytes:
        """The next piece of the streamed request's body; b"" is the end."""
        while True:
            try:
                data = self.http.read_body()
            except RemoteProtocolError as error:
                code = "too_large" if error.status == 413 else "bad_request"
                raise RpcError(code, error.reason) from error
            if data or self.http.body_ended:
                return data
            reply = self.http.data_to_send()
            if reply:
                await self.stream.send_all(reply)
            self._room.set()
            await self._more.wait()

    # --- what goes ---------------------------------------------------------------------------

    async def _answer_forever(self) -> None:
        while await self._answer_some():
            pass

    async def _answer_some(self) -> bool:
        """Answer until that takes too long, all under one scope (one for each request is a tenth of
        what a small one costs); False: the connection is over."""
        request: Request | None = None
        response: AnyResponse | None = None
        with trio.CancelScope() as self._scope:
            while True:
                response = None
                if self._has_rest and not await self._send_rest():
                    return False
                try:
                    request = await self._next_request()
                except RemoteProtocolError as error:
                    await self._refuse(error)
                    return False
                if request is None:
                    if self._has_rest:
                        continue
                    return False
                if self.http.streaming:
                    request = replace(request, content=Upload(self))
                response = await self.service.answer(request, self.via, self._alarm)
                self._alarm.clear()
                if self._scope.cancel_called:
                    break  # answered at the last moment
                if not await self._send(request, response):
                    return False
        if self._sending or request is None:
            self.stream.abort()  # its client takes nothing, or what it waits for does not come
            return False
        return await self._send(request, response or self.service.late(request))

    @property
    def _has_rest(self) -> bool:
        """Whether what was answered at once is to be ended."""
        return bool(self._unsent) or self.http.must_close

    async def _send_rest(self) -> bool:
        """Whether another request may follow."""
        data, self._unsent = self._unsent, b""
        self._sending = True
        await self._send_all(data)
        self._sending = False
        if self.http.must_close:
            await self._linger()
            return False
        return True

    async def _send(self, request: Request, response: AnyResponse) -> bool:
        """Whether another request may follow."""
        if self.service.draining.begun:
            response = replace(response, headers=(*response.headers, CLOSE))
        self._sending = True
        if isinstance(response, StreamedResponse):
            if not await self._send_streamed(request, response):
                return False
        else:
            await self._send_all(self._written(request, response))
        self._sending = False
        if self.http.must_close:
            await self._linger()
            return False
        self._in_a_row += 1
        if self._in_a_row >= FAIR_ANSWERS:
            self._in_a_row = 0
            await trio.lowlevel.checkpoint()
        return True

    async def _send_all(self, data: bytes) -> None:
        sent = self.stream.send_nowait(data)
        if sent < len(data):
            self._alarm.set_in(self.limits.idle_timeout_s)
            await self.stream.send_all(data[sent:])
            self._alarm.clear()

    async def _send_streamed(self, request: Request, response: StreamedResponse) -> bool:
        """Whether all of it went out; else the connection is broken off, so that nobody takes a
        part for the whole."""
        content, service = response.content, self.service
        service.in_flight += 1
        try:
            for status, headers in response.interim:
                await self._send_all(self.http.send_interim(status, headers))
            head = self.http.start_response(
                response.status, response.headers, response.length_bytes, service.common()
            )
            await self._send_all(head)
            while not self.http.body_is_sent:
                self._alarm.set_in(self.limits.idle_timeout_s)
                data = await content.receive_some()
                if not data:
                    break
                await self._send_all(self.http.send_data(data))
            told = "trailers" in tokens(request.headers.get("te", ""))
            await self._send_all(self.http.end_response(content.trailers if told else ()))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except Exception as problem:
            service.failed(problem, request)
            self.stream.abort()
            return False
        finally:
            service.in_flight -= 1
            self._alarm.clear()
            content.abort()
        return True

    async def _refuse(self, error: RemoteProtocolError) -> None:
        self.service.ctx.log.debug("request refused", peer=self.via.peer, why=error.reason)
        response = self.service.refusal(error)
        if not self.http.can_answer:
            return
        response = replace(response, headers=(*response.headers, CLOSE))
        await self._send_all(self.http.send_response(response, self.service.common()))
        await self._linger()

    async def _linger(self) -> None:
        """Say that we are done, then read on a little: a close with unread data is a reset."""
        self._lingered_bytes = 0
        self._room.set()
        await self.stream.send_eof()
        if not self._ended:
            await self.service.ctx.clock.sleep(LINGER_S)


class Upload:
    """The body of a streamed request, as its handler reads it (a Body)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def trailers(self) -> Headers:
        return self._connection.http.trailers

    async def receive_some(self) -> bytes:
        return await self._connection.more_of_body()

    def abort(self) -> None:
        """What is left of it ends the connection after the answer."""
