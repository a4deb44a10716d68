"""Where an RPC connection meets a stream, once for all tiers: `Service` answers, `Client` asks.

Deadlines, cancellation, cpu, back-pressure and the RED metrics live here and nowhere else. What a
method means is the tier's business; what the bytes mean is protocols/rpc.py's.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import trio

from nodes.accepting import accept_forever
from nodes.base import Context, CpuBusy, CpuExpired, Fenced, Listener, Stream, Timer
from nodes.parts.answers import Batch, Call, Fused, Handler, Later, Method, current_call
from nodes.parts.draining import DRAIN_QUIET_S, Draining
from nodes.parts.metrics import Counter, Metrics
from protocols import rpc
from protocols.errors import SERVER_ERRORS, RpcError

__all__ = ["Call", "Service", "current_call"]

CHUNK_BYTES: Final = 65536
MAX_UNSENT_BYTES: Final = 4 << 20
"""Answers waiting for a slow reader; above it we stop reading that connection's requests."""
MAX_REMAINING_MS: Final = 3_600_000
"""Whoever has more time than this (or no number) has named no limit."""
PROTOCOL_VERSION: Final = 1
LATE: Final = "its time was over when it arrived"


class Service:
    """The methods that a node answers at one listener. `ping` is always there."""

    def __init__(
        self,
        ctx: Context,
        *,
        limits: rpc.Limits | None = None,
        charge_cpu: bool = True,
        metrics: Metrics | None = None,
    ) -> None:
        """`metrics`: another registry than the node's, for what is none of its traffic."""
        self.ctx = ctx
        self.metrics = ctx.metrics if metrics is None else metrics
        self.limits = limits or rpc.Limits()
        self.methods: dict[str, Method] = {}
        self.notified: dict[str, Handler] = {}
        """What arrives without wanting an answer: plain functions, called inline."""
        self.charge_cpu = charge_cpu
        self.batch: Batch | None = None
        self.draining = Draining()
        self.in_flight = 0
        self.answered: list[Method] = []
        """Methods that have answered inline since `settle_batch` was last called."""
        self._errors: dict[tuple[str, str], Counter] = {}
        self._failures = self.metrics.counter("request_errors_total", ERRORS_HELP)
        self.metrics.gauge(
            "requests_in_flight", IN_FLIGHT_HELP, lambda: self.in_flight, protocol="rpc"
        )
        self.add("ping", lambda call: "pong", cost_s=0.0, metrics=Metrics())  # no traffic

    def add(
        self,
        name: str,
        handler: Handler,
        *,
        cost_s: float | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Answer `name` with `handler(call, *params)`.

        `cost_s` is what it costs of the node's cpu (None: the declared service time; 0: nothing).
        Raise RpcError to refuse; any other exception is answered `internal` and logged.
        """
        metrics = self.metrics if metrics is None else metrics
        ok = metrics.counter("requests_total", REQUESTS_HELP, method=name, code="ok")
        seconds = metrics.histogram("request_seconds", SECONDS_HELP, method=name)
        self.methods[name] = Method(name, handler, cost_s, ok, seconds)

    def fuse(self, name: str, fused: Fused) -> None:
        """Answer the method `name`, already added, by this wherever nothing has to be charged or
        waited for: the hot path, without a Call and a histogram of each request's own."""
        method = self.methods[name]
        method.fused = fused

    @property
    def charging(self) -> bool:
        return self.charge_cpu and self.ctx.cpu.cores > 0

    def settle_batch(self, arrived_s: float) -> None:
        """The answers of a batch are on their way: all of them took until now."""
        if self.answered:
            elapsed_s = self.ctx.clock.monotonic_s() - arrived_s
            for method in self.answered:
                method.answered_batch(elapsed_s)
            self.answered.clear()

    def count_error(self, method: str, code: str) -> None:
        """Count a request that was answered with an error."""
        known = method if method in self.methods else "unknown"
        counter = self._errors.get((known, code))
        if counter is None:
            counter = self.metrics.counter("requests_total", REQUESTS_HELP, method=known, code=code)
            self._errors[known, code] = counter
        counter.value += 1
        if code in SERVER_ERRORS:
            self._failures.value += 1

    async def serve(self, listener: Listener) -> None:
        """Answer every connection that the listener accepts, until cancelled."""
        await accept_forever(self.ctx, listener, self.serve_stream, metrics=self.metrics)

    async def serve_stream(self, stream: Stream, received: bytes = b"") -> None:
        """Answer one connection until it ends; `received` was read from it already."""
        async with trio.open_nursery() as nursery:
            connection = _ServerConnection(self, stream, nursery)
            self.draining.add(connection)
            try:
                await connection.run(received)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the peer left; nobody is there to be answered
            finally:
                connection.stop()
                self.draining.remove(connection)
            nursery.cancel_scope.cancel()


REQUESTS_HELP: Final = "Requests answered, by method and code (ok or the error's code)."
SECONDS_HELP: Final = "Seconds from a request's arrival to its answer."
ERRORS_HELP: Final = "Requests that failed on the server's side, whatever the protocol."
IN_FLIGHT_HELP: Final = "Requests in hand now, by protocol."


class _ServerConnection:
    """One connection: a reader that answers inline, tasks for handlers that wait, one
    writer at a time."""

    def __init__(self, service: Service, stream: Stream, nursery: trio.Nursery) -> None:
        self.service = service
        self.ctx = service.ctx
        self.stream = stream
        self.nursery = nursery
        self.rpc = rpc.Connection(service.limits)
        self.plain_call = Call(stream.peer.name)
        """Of every request without metadata: a Call is only read."""
        self.knows_metadata = False
        self.running: dict[int, trio.CancelScope] = {}
        self.unsent: list[bytes] = []
        self.unsent_bytes = 0
        self.writing = False
        self.will_flush = False
        self.later = 0
        """Answers that somebody will settle."""
        self.stopped = False
        self.room = trio.Event()
        self.active_s = self.ctx.clock.monotonic_s()
        self.begun_s: float | None = None
        self.watch: Timer | None = None
        self._arm_watch()

    @property
    def _idle_timeout_s(self) -> float:
        limit_s = self.service.limits.idle_timeout_s
        return min(limit_s, DRAIN_QUIET_S) if self.service.draining.begun else limit_s

    def hurry(self) -> None:
        """The service drains."""
        self.stop()
        self._arm_watch()

    def _arm_watch(self) -> None:
        interval_s = min(self._idle_timeout_s, self.service.limits.frame_timeout_s) / 2
        clock = self.ctx.clock
        self.watch = clock.call_at(clock.monotonic_s() + interval_s, self._look)

    def _look(self) -> None:
        """Close what is idle for too long, or has begun a message that never ends."""
        now_s = self.ctx.clock.monotonic_s()
        quiet = not (self._in_hand or self.writing)
        idle = quiet and now_s - self.active_s > self._idle_timeout_s
        frame_timeout_s = self.service.limits.frame_timeout_s
        stuck = self.begun_s is not None and now_s - self.begun_s > frame_timeout_s
        if idle or stuck:
            self.nursery.cancel_scope.cancel()
        else:
            self._arm_watch()

    def stop(self) -> None:
        self.stopped = True
        if self.watch is not None:
            self.watch.cancel()

    async def run(self, received: bytes) -> None:
        data: bytes | bytearray = received
        limits = self.service.limits
        while True:
            if not data:
                data = await self.stream.receive_some(CHUNK_BYTES)
            closing: rpc.RemoteProtocolError | None = None
            try:
                messages = self.rpc.receive_data(data)
            except rpc.RemoteProtocolError as error:
                messages, closing = error.messages_before, error
            self.active_s = now_s = self.ctx.clock.monotonic_s()
            self.begun_s = (self.begun_s or now_s) if self.rpc.mid_message else None
            self._answer_all(messages, now_s)
            if closing is not None:
                await self._refuse(closing)
                return
            if not data:
                await self._finish()
                return
            if self.unsent and not self.writing and (rest := self._write()):
                await self._flush(rest)
            while self._in_hand >= limits.max_pipeline or self.unsent_bytes > MAX_UNSENT_BYTES:
                self.room = trio.Event()
                await self.room.wait()
            data = b""

    @property
    def _in_hand(self) -> int:
        return len(self.running) + self.later

    async def _finish(self) -> None:
        """The peer half-closed: answer what it had asked, then end."""
        while self._in_hand or self.writing:
            self.room = trio.Event()
            await self.room.wait()
        await self._flush()

    async def _refuse(self, error: rpc.RemoteProtocolError) -> None:
        """Say why in the peer's own protocol, then close."""
        self.service.count_error("unknown", "bad_request")
        self.ctx.log.debug("connection refused", peer=self.stream.peer.name, why=str(error))
        self._queue(self.rpc.send_response(0, ["bad_request", str(error)], None))
        await self._flush()
        await self.stream.send_eof()

    def _answer_all(self, messages: list[rpc.Message], arrived_s: float) -> None:
        service = self.service
        methods, batch = service.methods, service.batch
        charging = service.charging
        if batch is not None and messages:
            batch.begin(arrived_s)
        for message in messages:
            kind = message[0]
            if kind == rpc.REQUEST:
                method = methods.get(message[2])
                if method is not None and method.fused is not None and not charging:
                    self._answer_fused(method, method.fused, message[1], message[3], arrived_s)
                elif method is None or method.is_async or (charging and method.cost_s != 0):
                    self._answer(method, message[1], message[2], message[3], arrived_s)
                else:
                    self._answer_inline(method, message[1], message[3], arrived_s)
            elif kind == rpc.NOTIFY and message[1] == rpc.CANCEL:
                self._cancel(message[2])
            elif kind == rpc.NOTIFY:
                self._take_notice(message[1], message[2], arrived_s)
        if batch is not None and messages:
            batch.end()
        service.settle_batch(arrived_s)

    def _cancel(self, params: list[Any]) -> None:
        """The caller gave up; whatever names no request in hand is ignored."""
        msgid = params[0] if params else None
        scope = self.running.get(msgid) if type(msgid) is int else None
        if scope is not None:
            scope.cancel()

    def _answer_fused(
        self, method: Method, fused: Fused, msgid: int, params: list[Any], arrived_s: float
    ) -> None:
        metadata: dict[str, Any] | None = None
        if self.knows_metadata and params and type(params[-1]) is dict:
            metadata = params.pop()
        try:
            if metadata is not None and metadata.get(rpc.REMAINING_MS) == 0:
                raise RpcError("expired", LATE)
            result = fused(params, None if metadata is None else metadata.get(rpc.EPOCH))
            if result is NotImplemented:
                params += () if metadata is None else (metadata,)
                self._answer(method, msgid, method.name, params, arrived_s)
                return
            if type(result) is Later:
                self.later += 1
                self.service.in_flight += 1
                result.when_settled(partial(self._settled, result, method, msgid, arrived_s))
                return
            answer = self.rpc.send_response(msgid, None, result)
        except rpc.LocalProtocolError as error:
            self._fail(msgid, method.name, RpcError("too_large", str(error)))
            return
        except Exception as error:
            self._fail(msgid, method.name, self._as_rpc_error(method.name, error))
            return
        self._answered(method, answer)

    def _answered(self, method: Method, answer: bytes) -> None:
        if not method.batched:
            self.service.answered.append(method)
        method.batched += 1
        self.unsent.append(answer)
        self.unsent_bytes += len(answer)

    def _settled(self, later: Later, method: Method, msgid: int, arrived_s: float) -> None:
        self.later -= 1
        self.service.in_flight -= 1
        if self.stopped:
            return
        if later.error is not None:
            self._fail(msgid, method.name, later.error)
        else:
            self._respond(msgid, method, later.result, arrived_s)
        self.room.set()
        if self.writing or self.will_flush:
            return
        if self.later or not self._flush_now():  # others may follow in this turn
            self.will_flush = True
            self.nursery.start_soon(self._flush_soon)

    def _flush_now(self) -> bool:
        """Send what can be sent without waiting; whether that was all."""
        data = b"".join(self.unsent)
        sent = self.stream.send_nowait(data)
        self.unsent[:] = (data[sent:],) if sent < len(data) else ()
        self.unsent_bytes = len(data) - sent
        return sent == len(data)

    async def _flush_soon(self) -> None:
        """What is settled in one turn of the scheduler leaves in one write."""
        self.will_flush = False
        await self._flush()

    def _take_notice(self, name: str, params: list[Any], arrived_s: float) -> None:
        """Unknown notifications are ignored, as the specification asks."""
        handler = self.service.notified.get(name)
        if handler is None:
            return
        try:
            handler(self._call(params, arrived_s), *params)
        except (TypeError, ValueError, RpcError) as error:
            self.service.count_error("unknown", "bad_request")
            self.ctx.log.debug("notification refused", method=name, why=repr(error))

    def _answer(
        self, method: Method | None, msgid: int, name: str, params: list[Any], arrived_s: float
    ) -> None:
        """Answer with a task of its own, or refuse."""
        service = self.service
        if name == rpc.HELLO:
            self.knows_metadata = True
            hello = {"version": PROTOCOL_VERSION, "node": self.ctx.name, "kind": self.ctx.kind}
            self._queue(self.rpc.send_response(msgid, None, hello))
            return
        call = self._call(params, arrived_s)
        if method is None:
            known = ", ".join(sorted(service.methods)[:20])
            self._fail(msgid, name, RpcError("no_such_method", f"{name}; there are: {known}"))
        elif refusal := method.arguments.refusal(name, params):
            self._fail(msgid, name, refusal)
        elif call.deadline_s is not None and call.deadline_s <= arrived_s:
            self._fail(msgid, name, RpcError("expired", LATE))
        elif len(self.running) >= service.limits.max_pipeline or msgid in self.running:
            self._fail(msgid, name, RpcError("overloaded", "too many requests in hand"))
        else:
            scope = self.running[msgid] = trio.CancelScope()
            self.nursery.start_soon(self._work, msgid, method, call, params, scope, arrived_s)

    def _answer_inline(
        self, method: Method, msgid: int, params: list[Any], arrived_s: float
    ) -> None:
        """Answer at once, into the batch that leaves when all that came with it is answered."""
        call = self._call(params, arrived_s) if self.knows_metadata else self.plain_call
        if refusal := method.arguments.refusal(method.name, params):
            self._fail(msgid, method.name, refusal)
            return
        try:
            answer = self.rpc.send_response(msgid, None, method.handler(call, *params))
        except rpc.LocalProtocolError as error:
            self._fail(msgid, method.name, RpcError("too_large", str(error)))
            return
        except Exception as error:
            self._fail(msgid, method.name, self._as_rpc_error(method.name, error))
            return
        self._answered(method, answer)

    def _call(self, params: list[Any], arrived_s: float) -> Call:
        """Take the metadata off the params, if this client sends it."""
        if not (self.knows_metadata and params and type(params[-1]) is dict):
            return self.plain_call
        metadata = params.pop()
        remaining_ms = metadata.get(rpc.REMAINING_MS)
        deadline_s = None
        if isinstance(remaining_ms, int | float) and remaining_ms < MAX_REMAINING_MS:
            deadline_s = arrived_s + max(0, remaining_ms) / 1000
        return Call(
            self.stream.peer.name, deadline_s, metadata.get(rpc.TRACE), metadata.get(rpc.EPOCH)
        )

    async def _work(
        self,
        msgid: int,
        method: Method,
        call: Call,
        params: list[Any],
        scope: trio.CancelScope,
        arrived_s: float,
    ) -> None:
        """Run one handler in its own task, within its deadline and its caller's patience."""
        service, timer = self.service, None
        current_call.set(call)
        service.in_flight += 1
        if call.deadline_s is not None:
            timer = self.ctx.clock.call_at(call.deadline_s, scope.cancel)
        failure: RpcError | None = None
        result = None
        try:
            with scope:
                try:
                    if service.charge_cpu and self.ctx.cpu.cores and method.cost_s != 0:
                        await self.ctx.cpu.run(method.cost_s, expires_at_s=call.deadline_s)
                    result = method.handler(call, *params)
                    if method.is_async:
                        result = await result
                except Exception as error:
                    failure = self._as_rpc_error(method.name, error)
        finally:
            service.in_flight -= 1
            if timer is not None:
                timer.cancel()
            self.running.pop(msgid, None)
            self.room.set()
        if scope.cancelled_caught:
            failure = RpcError("cancelled", "the caller gave up or its time was over")
        if failure is not None:
            self._fail(msgid, method.name, failure)
        else:
            self._respond(msgid, method, result, arrived_s)
        await self._flush()

    def _as_rpc_error(self, method: str, error: Exception) -> RpcError:
        match error:
            case RpcError():
                return error
            case Fenced():
                raise error
            case CpuBusy():
                return RpcError("overloaded", "the cpu's queue is full")
            case CpuExpired():
                return RpcError("expired", "dropped from the cpu's queue: its time was over")
        self.ctx.log.error("handler failed", method=method, error=repr(error))
        return RpcError("internal", f"{type(error).__name__}: {error}"[:300])

    def _respond(self, msgid: int, method: Method, result: Any, arrived_s: float) -> None:
        try:
            answer = self.rpc.send_response(msgid, None, result)
        except rpc.LocalProtocolError as error:
            self._fail(msgid, method.name, RpcError("too_large", str(error)))
            return
        method.ok.value += 1
        self.active_s = now_s = self.ctx.clock.monotonic_s()
        method.seconds.observe(now_s - arrived_s)
        self._queue(answer)

    def _fail(self, msgid: int, method: str, error: RpcError) -> None:
        self.service.count_error(method, error.code)
        try:
            self._queue(self.rpc.send_response(msgid, error.to_wire(), None))
        except rpc.LocalProtocolError:
            self._queue(self.rpc.send_response(msgid, [error.code, error.message[:300]], None))

    def _queue(self, data: bytes) -> None:
        self.unsent.append(data)
        self.unsent_bytes += len(data)

    def _write(self) -> bytes:
        """Send what there is, as far as that takes no waiting; give what is left of it."""
        data, self.unsent, self.unsent_bytes = b"".join(self.unsent), [], 0
        return data[self.stream.send_nowait(data) :]

    async def _flush(self, rest: bytes = b"") -> None:
        """Whoever comes first writes for all; the others' answers ride along."""
        if self.writing:
            return
        self.writing = True
        try:
            while rest or self.unsent:
                rest = rest or self._write()
                if rest:
                    await self.stream.send_all(rest)
                    rest = b""
                    self.active_s = self.ctx.clock.monotonic_s()
        finally:
            self.writing = False
            self.room.set()
