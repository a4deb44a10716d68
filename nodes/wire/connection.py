"""One connection that a Service answers: what arrives inline, what waits in tasks, one writer at a
time. Deadlines, cancellation, cpu and back-pressure are here; the methods are in service.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

import trio

from nodes.base import Context, Peer, Stream, Timer
from nodes.parts.shedding import LEAST
from nodes.wire.answers import (
    Batch,
    Call,
    Ending,
    Fused,
    Future,
    Handler,
    Method,
    as_rpc_error,
    current_call,
)
from nodes.wire.draining import DRAIN_QUIET_S, Draining
from protocols import rpc
from protocols.errors import RpcError
from protocols.rpc import NOTIFY, REQUEST

MAX_UNSENT_BYTES: Final = 4 << 20
"""Answers waiting for a slow reader; above it we stop reading that connection's requests."""
MAX_UNHEARD: Final = 100
MAX_REMAINING_MS: Final = 3_600_000
"""Whoever has more time than this (or no number) has named no limit."""
PROTOCOL_VERSION: Final = 1
LATE: Final = "its time was over when it arrived"


class Server(Protocol):
    """What all connections of a listener share (service.Service)."""

    ctx: Context
    limits: rpc.Limits
    notified: dict[str, Handler]
    charge_cpu: bool
    tells: bool
    """Whether its requests are the node's traffic, of which lines are kept."""
    batch: Batch | None
    draining: Draining
    in_flight: int
    answered: list[Method]

    def methods_for(self, peer: Peer) -> Mapping[str, Method]: ...
    def settle_soon(self, arrived_s: float) -> None: ...
    def count_error(self, method: str, code: str) -> None: ...


class ServerConnection:
    """One connection: a reader that answers inline, tasks for handlers that wait, one
    writer at a time."""

    def __init__(self, service: Server, stream: Stream, nursery: trio.Nursery) -> None:
        self.service = service
        self.ctx = service.ctx
        self.stream = stream
        self.methods = service.methods_for(stream.peer)
        self.nursery = nursery
        self.rpc = rpc.Connection(service.limits)
        self.receive_data = self.rpc.receive_data
        self.send_response = self.rpc.send_response
        self.access = service.ctx.access if service.tells else None
        self.monotonic_s = service.ctx.clock.monotonic_s
        self.cpu = service.ctx.cpu
        self.ending = Ending()
        self.plain_call = Call(stream.peer.name, ending=self.ending)
        """Of every request without metadata: a Call is only read."""
        self.knows_metadata = False
        self.running: dict[int, trio.CancelScope] = {}
        self.unheard: dict[int, Callable[[], object]] = {}
        """Of the latest answers that opened something: see Call."""
        self.unsent: list[bytes] = []
        self.unsent_bytes = 0
        self.writing = False
        self.will_flush = False
        self.pending = 0
        """Answers that somebody will settle."""
        self.stopped = False
        self.fault: rpc.RemoteProtocolError | None = None
        self.peer_ended = False
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
        quiet = not (self.running or self.pending or self.writing)
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
        if received and not self._take(received) and not await self._attend():
            return
        while True:
            await self.stream.receive_each(self._take)
            if not await self._attend():
                return

    async def _attend(self) -> bool:
        """`_take` has left something that takes waiting; whether the connection goes on."""
        if self.fault is not None:
            await self._refuse(self.fault)
            return False
        if self.peer_ended:
            await self._finish()
            return False
        await self._flush()
        while not self._has_room():
            self.room = trio.Event()
            await self.room.wait()
        return True

    def _take(self, data: bytes | bytearray) -> bool:
        """Answer what these bytes ask, as far as that takes no waiting; whether that was all."""
        try:
            messages = self.receive_data(data)
        except rpc.RemoteProtocolError as error:
            messages, self.fault = error.messages_before, error
        self.active_s = now_s = self.monotonic_s()
        if messages:
            self._answer_all(messages, now_s)
        if not self.rpc.mid_message:
            self.begun_s = None
        elif messages or self.begun_s is None:  # what is begun now is another one
            self.begun_s = now_s
        self.peer_ended = not data
        if self.fault is not None or self.peer_ended:
            return False
        if self.unsent and not self.writing and not self._flush_now():
            return False
        return not (self.running or self.pending or self.unsent) or self._has_room()

    def _has_room(self) -> bool:
        in_hand = len(self.running) + self.pending
        room = in_hand < self.service.limits.max_pipeline
        return room and self.unsent_bytes <= MAX_UNSENT_BYTES

    async def _finish(self) -> None:
        """The peer half-closed: answer what it had asked, then end."""
        while self.running or self.pending or self.writing:
            self.room = trio.Event()
            await self.room.wait()
        await self._flush()

    async def _refuse(self, error: rpc.RemoteProtocolError) -> None:
        """Say why in the peer's own protocol, then close."""
        self.service.count_error("unknown", "bad_request")
        self.ctx.log.debug("connection refused", peer=self.stream.peer.name, why=str(error))
        self._queue(self.send_response(0, ["bad_request", str(error)], None))
        while self.writing:
            self.room = trio.Event()
            await self.room.wait()
        await self._flush()
        self.writing = True  # for good: what is still being worked on has nowhere to go
        await self.stream.send_eof()

    def _answer_all(self, messages: list[rpc.Message], arrived_s: float) -> None:
        service = self.service
        methods, batch = self.methods, service.batch
        charging = service.charge_cpu and self.cpu.cores > 0
        if batch is not None:
            batch.begin(arrived_s)
        for message in messages:
            kind = message[0]
            method = methods.get(message[2]) if kind == REQUEST else None
            if method is not None and method.fused is not None and not charging:
                self._answer_fused(method, method.fused, message[1], message[3], arrived_s)
                continue
            if batch is not None:  # what is no part of it may change who may serve
                batch.end()
            self._answer_other(message, method, charging, arrived_s)
            if batch is not None:
                batch.begin(arrived_s)
        if batch is not None or service.answered:
            service.settle_soon(arrived_s)

    def _answer_other(
        self, message: rpc.Message, method: Method | None, charging: bool, arrived_s: float
    ) -> None:
        if message[0] == REQUEST:
            if method is None or method.is_async or (charging and method.cost_s != 0):
                self._answer(method, message[1], message[2], message[3], arrived_s)
            else:
                self._answer_inline(method, message[1], message[3], arrived_s)
        elif message[0] == NOTIFY and message[1] == rpc.CANCEL:
            self._cancel(message[2])
        elif message[0] == NOTIFY:
            self._take_notice(message[1], message[2], arrived_s)

    def _cancel(self, params: list[Any]) -> None:
        """The caller gave up; whatever names no request in hand is ignored."""
        msgid = params[0] if params else None
        if type(msgid) is not int:
            return
        if scope := self.running.get(msgid):
            scope.cancel()
        elif undo := self.unheard.pop(msgid, None):
            undo()

    def _answer_fused(
        self, method: Method, fused: Fused, msgid: int, params: list[Any], arrived_s: float
    ) -> None:
        """The hot path: `_answered` is in line here."""
        epoch = metadata = None
        try:
            if self.knows_metadata and params and type(params[-1]) is dict:
                metadata = params.pop()
                epoch = metadata.get(rpc.EPOCH)
                if metadata.get(rpc.REMAINING_MS) == 0:
                    raise RpcError("expired", LATE)
            result = fused(params, epoch)
            if type(result) is Future:
                self.pending += 1
                self.service.in_flight += 1
                trace = None if metadata is None else metadata.get(rpc.TRACE)
                result.when_settled(partial(self._settled, result, method, msgid, arrived_s, trace))
                return
            if result is NotImplemented:
                params += () if metadata is None else (metadata,)
                self._answer(method, msgid, method.name, params, arrived_s)
                return
            answer = self.send_response(msgid, None, result)
        except Exception as error:
            self._fail(msgid, method.name, as_rpc_error(self.ctx, error, method=method.name))
            return
        if not method.batched:
            self.service.answered.append(method)
        method.batched += 1
        self.unsent.append(answer)
        self.unsent_bytes += len(answer)
        if metadata is not None and self.access is not None and self.access.samples:
            took_s = self.monotonic_s() - arrived_s
            self._tell(method.name, took_s, None, metadata.get(rpc.TRACE))

    def _answered(self, method: Method, answer: bytes) -> None:
        if not method.batched:
            self.service.answered.append(method)
        method.batched += 1
        self.unsent.append(answer)
        self.unsent_bytes += len(answer)

    def _settled(
        self, future: Future, method: Method, msgid: int, arrived_s: float, trace: int | None
    ) -> None:
        self.pending -= 1
        self.service.in_flight -= 1
        now_s = self.monotonic_s()
        if self.access is not None and now_s - arrived_s >= self.access.least_s:
            self._tell(method.name, now_s - arrived_s, future.error, trace)
        if self.stopped:
            return
        if future.error is not None:
            self._fail(msgid, method.name, future.error)
        else:
            self._respond(msgid, method, future.result, arrived_s, now_s)
        self.room.set()
        if self.writing or self.will_flush:
            return
        if self.pending or not self._flush_now():  # others may follow in this turn
            self.will_flush = True
            self.nursery.start_soon(self._flush_soon)

    def _flush_now(self) -> bool:
        """Send what can be sent without waiting; whether that was all."""
        unsent = self.unsent
        data = b"".join(unsent)
        unsent.clear()
        sent, self.unsent_bytes = self.stream.send_nowait(data), 0
        if sent == len(data):
            return True
        unsent.append(data[sent:])
        self.unsent_bytes = len(data) - sent
        return False

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
            self._queue(self.send_response(msgid, None, hello))
            return
        call = self._call(params, arrived_s)
        if method is None:
            known = ", ".join(sorted(self.methods)[:20])
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
            answer = self.send_response(msgid, None, method.handler(call, *params))
        except Exception as error:
            self._fail(msgid, method.name, as_rpc_error(self.ctx, error, method=method.name))
            return
        self._answered(method, answer)
        if self.access is not None and self.access.samples:
            self._tell(method.name, self.monotonic_s() - arrived_s, None, call.trace)

    def _call(self, params: list[Any], arrived_s: float) -> Call:
        """Take the metadata off the params, if this client sends it."""
        if not (self.knows_metadata and params and type(params[-1]) is dict):
            return self.plain_call
        metadata = params.pop()
        remaining_ms = metadata.get(rpc.REMAINING_MS)
        deadline_s = None
        if isinstance(remaining_ms, int | float) and remaining_ms < MAX_REMAINING_MS:
            deadline_s = arrived_s + max(0, remaining_ms) / 1000
        trace, epoch = metadata.get(rpc.TRACE), metadata.get(rpc.EPOCH)
        call = Call(self.stream.peer.name, deadline_s, trace, epoch, self.ending)
        urgency = metadata.get(rpc.URGENCY)
        if type(urgency) is int and 0 <= urgency <= LEAST:
            call.urgency = urgency
        return call

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
                        await self.ctx.cpu.run(
                            method.cost_s, expires_at_s=call.deadline_s, rank=call.rank
                        )
                    result = method.handler(call, *params)
                    if method.is_async:
                        result = await result
                except Exception as error:
                    failure = as_rpc_error(self.ctx, error, method=method.name)
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
            self._respond(msgid, method, result, arrived_s, self.monotonic_s())
            if call.unheard is not None:
                self._note_unheard(msgid, call.unheard, given_up=scope.cancel_called)
        if self.access is not None and not (method.waits and failure is None):
            self._tell(method.name, self.monotonic_s() - arrived_s, failure, call.trace)
        await self._flush()

    def _note_unheard(self, msgid: int, undo: Callable[[], object], *, given_up: bool) -> None:
        if given_up:
            undo()
            return
        self.unheard[msgid] = undo
        if len(self.unheard) > MAX_UNHEARD:
            del self.unheard[next(iter(self.unheard))]

    def _tell(
        self, method: str, took_s: float, failure: RpcError | None, trace: int | None
    ) -> None:
        """A line about a request, if it is to be told."""
        assert self.access is not None
        outcome = "ok" if failure is None else failure.code
        self.access.told(method, took_s, outcome, trace, self.stream.peer.name)

    def _respond(
        self, msgid: int, method: Method, result: Any, arrived_s: float, now_s: float
    ) -> None:
        try:
            answer = self.send_response(msgid, None, result)
        except rpc.LocalProtocolError as error:
            self._fail(msgid, method.name, RpcError("too_large", str(error)))
            return
        method.ok.value += 1
        self.active_s = now_s
        if not method.waits:
            method.seconds.observe(now_s - arrived_s)
        self.unsent.append(answer)
        self.unsent_bytes += len(answer)

    def _fail(self, msgid: int, method: str, error: RpcError) -> None:
        self.service.count_error(method, error.code)
        try:
            self._queue(self.send_response(msgid, error.to_wire(), None))
        except rpc.LocalProtocolError:
            self._queue(self.send_response(msgid, [error.code, error.message[:300]], None))

    def _queue(self, data: bytes) -> None:
        self.unsent.append(data)
        self.unsent_bytes += len(data)

    async def _flush(self) -> None:
        """Whoever comes first writes for all; the others' answers ride along."""
        if self.writing:
            return
        self.writing = True
        try:
            while self.unsent and not self._flush_now():
                (data,), self.unsent, self.unsent_bytes = self.unsent, [], 0
                await self.stream.send_all(data)
                self.active_s = self.ctx.clock.monotonic_s()
        finally:
            self.writing = False
            self.room.set()
