"""The asking side of the wire: one `Client` per peer, many calls in flight on one connection.

It connects when first needed, and again with jitter when the connection broke or fell silent. It
never retries a call: only the tier knows what may be asked twice (see nodes/parts/backoff.py).
"""

from __future__ import annotations

from collections import deque
from functools import partial
from math import inf
from typing import Any, Final

import trio
from trio import lowlevel

from nodes.base import RPC_PORT, Context, Stream, Timer
from nodes.parts.causes import in_words
from nodes.parts.shedding import MIDDLE
from nodes.parts.timing import move_on_after
from nodes.wire.answers import current_call
from nodes.wire.connection import PROTOCOL_VERSION
from protocols import rpc
from protocols.errors import RpcError

DEFAULT_TIMEOUT_S: Final = 5.0
CONNECT_TIMEOUT_S: Final = 2.0
MAX_PENDING: Final = 1024
MAX_NOTICES: Final = 16
SILENT_CALLS: Final = 3
SILENT_S: Final = 1.0
"""So many calls in a row without an answer, over at least so long, and not one byte came meanwhile:
the connection is given up. After a partition it may sleep long in its retransmission backoff, where
a new one gets through at once; a peer that hangs is dialled anew once in this time at most."""
LAST_CHANCE_S: Final = 0.05
BACKOFF_FIRST_S: Final = 0.02
BACKOFF_MOST_S: Final = 1.0


class _Waiter:
    """One call that waits for its answer. `task` is None once it has been woken."""

    __slots__ = (
        "answer", "deadline_s", "epoch", "error", "heard", "method", "params", "sent", "sent_s",
        "task", "trace", "urgency",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        params: tuple[Any, ...],
        deadline_s: float,
        trace: int | None,
        epoch: int | None,
    ) -> None:
        self.method = method
        self.params = params
        self.deadline_s = deadline_s
        self.trace = trace
        self.epoch = epoch
        self.urgency = MIDDLE
        self.task: lowlevel.Task | None = None
        self.answer: Any = None
        self.error: RpcError | None = None
        self.sent = False
        self.sent_s = 0.0
        self.heard = 0
        """How often its connection had brought anything when it was sent."""

    async def wait(self) -> None:
        if self.error is not None:
            await lowlevel.checkpoint()
            return
        self.task = lowlevel.current_task()
        await lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: Any) -> lowlevel.Abort:
        self.task = None
        return lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        task, self.task = self.task, None
        if task is not None:
            lowlevel.reschedule(task)

    def fail(self, code: str, why: str) -> None:
        self.error = self.error or RpcError(code, why)
        self.wake()


class Client:
    """Calls to one peer. Use from any task of the node; its own tasks live in `nursery`.

    Every failure is an RpcError: definite (`unavailable`: it was never sent) or indefinite
    (`timeout`, `disconnected`: it may have happened).
    """

    def __init__(
        self,
        ctx: Context,
        nursery: trio.Nursery,
        host: str,
        port: int = RPC_PORT,
        *,
        limits: rpc.Limits | None = None,
        hello: bool = True,
    ) -> None:
        self.ctx = ctx
        self.host = host
        self.port = port
        self._nursery = nursery
        self._limits = limits or rpc.Limits()
        self._hello = hello
        self._waiting: dict[int, _Waiter] = {}
        self._unsent: dict[int, _Waiter] = {}
        self._notices: deque[tuple[str, list[Any]]] = deque(maxlen=MAX_NOTICES)
        self._next_msgid = 0
        self._link: _Link | None = None
        self._connecting = False
        self._failures = 0
        self._retry_at_s = 0.0
        self._closed = False
        self._alarm: Timer | None = None
        self._alarm_s = inf
        """When to look next for calls whose time is over: one timer for all of them."""
        self._silent_calls = 0
        self._silent_heard = 0
        self._silent_since_s = 0.0
        self._last_answers = 0
        """How many came together last time: while they come one by one, calls leave one by one."""

    @property
    def in_flight(self) -> int:
        """Calls that wait for an answer now."""
        return len(self._waiting)

    def close(self) -> None:
        """Break the connection; calls in flight fail, later ones are refused."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        if self._link is not None:
            self._link.scope.cancel()
        self._fail_all("the client was closed")

    async def call(
        self,
        method: str,
        *params: Any,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        epoch: int | None = None,
        trace: int | None = None,
    ) -> Any:
        """Ask, and return the result, within `timeout_s` and within what our own caller has left.

        Raises RpcError.
        """
        clock = self.ctx.clock
        now_s = clock.monotonic_s()
        deadline_s = now_s + timeout_s
        parent = current_call.get()
        if parent is not None:
            if parent.deadline_s is not None and parent.deadline_s < deadline_s:
                deadline_s = parent.deadline_s
            trace = parent.trace if trace is None else trace
        if deadline_s <= now_s:
            raise RpcError("expired", f"no time left to call {method} at {self.host}")
        if len(self._waiting) >= MAX_PENDING:
            raise RpcError("overloaded", f"{MAX_PENDING} calls wait for {self.host} already")
        if self._closed:
            raise RpcError("unavailable", f"the client of {self.host} is closed")
        waiter = _Waiter(method, params, deadline_s, trace, epoch)
        if parent is not None:
            waiter.urgency = parent.urgency
        msgid = self._take_msgid()
        self._waiting[msgid] = waiter
        if deadline_s < self._alarm_s:
            self._set_alarm(deadline_s)
        try:
            self._start(msgid, waiter, now_s)
            await waiter.wait()
        except trio.Cancelled:
            self._forget(msgid)
            raise
        if parent is not None and parent.hops is not None:
            failed = "" if waiter.error is None else waiter.error.code
            parent.hops.called(self.host, method, now_s, clock.monotonic_s(), failed)
        if waiter.error is not None:
            raise waiter.error
        return waiter.answer

    def notify(self, method: str, *params: Any) -> bool:
        """Send without an answer; False if there is no connection to send it over now.

        Without a connection one is made, and the latest few notices wait for it: an election that
        follows a silence should not have to ask twice.
        """
        if self._link is not None:
            self._link.send(self._link.rpc.send_notify(method, list(params)), at_once=True)
            return True
        if not self._closed and self._connect_soon():
            self._notices.append((method, list(params)))
        return False

    def _take_msgid(self) -> int:
        while True:
            msgid = self._next_msgid
            self._next_msgid = (msgid + 1) & rpc.MAX_MSGID
            if msgid not in self._waiting:
                return msgid

    def _start(self, msgid: int, waiter: _Waiter, now_s: float) -> None:
        """Send now if connected; else when the connection that is being made stands."""
        if self._link is not None:
            self._send(self._link, msgid, waiter, now_s)
            return
        self._unsent[msgid] = waiter
        if not self._connect_soon():
            self._fail_all(f"{self.host} was not reachable a moment ago")

    def _send(self, link: _Link, msgid: int, waiter: _Waiter, now_s: float) -> None:
        values: list[Any] = list(waiter.params)
        if self._hello:
            left_ms = int((waiter.deadline_s - now_s) * 1000)
            metadata: dict[str, Any] = {rpc.REMAINING_MS: max(1, left_ms)}
            if waiter.trace is not None:
                metadata[rpc.TRACE] = waiter.trace
            if waiter.epoch is not None:
                metadata[rpc.EPOCH] = waiter.epoch
            if waiter.urgency != MIDDLE:
                metadata[rpc.URGENCY] = waiter.urgency
            values.append(metadata)
        try:
            packed = link.rpc.send_request(msgid, waiter.method, values)
        except (TypeError, ValueError, OverflowError) as problem:
            self._refuse(msgid, "bad_request", f"cannot pack the params: {problem}")
            return
        if len(packed) > self._limits.max_frame_bytes:
            self._refuse(msgid, "too_large", f"the request has {len(packed)} bytes")
            return
        waiter.sent, waiter.sent_s, waiter.heard = True, now_s, link.heard
        link.send(packed, at_once=len(self._waiting) == 1 and self._last_answers <= 1)

    def _refuse(self, msgid: int, code: str, why: str) -> None:
        self._waiting.pop(msgid).fail(code, why)

    def _connect_soon(self) -> bool:
        """Begin to connect, unless an attempt has failed just now."""
        if not self._connecting:
            if self.ctx.clock.monotonic_s() < self._retry_at_s:
                return False
            self._connecting = True
            self._nursery.start_soon(self._connect_and_read)
        return True

    def _set_alarm(self, at_s: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_s = at_s
        self._alarm = self.ctx.clock.call_at(at_s, self._expire)

    def _expire(self) -> None:
        """Fail the calls whose time is over, and look again when the next one's is."""
        now_s, next_s = self.ctx.clock.monotonic_s(), inf
        for msgid, waiter in list(self._waiting.items()):
            if waiter.deadline_s <= now_s:
                self._forget(msgid)
                self._count_silence(waiter)
                code = "timeout" if waiter.sent else "unavailable"
                waiter.fail(code, f"{waiter.method} at {self.host}: no answer in time")
            elif waiter.deadline_s < next_s:
                next_s = waiter.deadline_s
        self._alarm, self._alarm_s = None, inf
        if next_s < inf:
            self._set_alarm(next_s)
        silent = self._silent_calls >= SILENT_CALLS and now_s - self._silent_since_s >= SILENT_S
        if silent and self._link is not None:
            self._silent_calls = 0
            look = partial(self._cut_if_silent, self._link, self._link.heard)
            self.ctx.clock.call_at(now_s + LAST_CHANCE_S, look)

    def _cut_if_silent(self, link: _Link, heard: int) -> None:
        """What had come while this process was held up has been read by now."""
        if link is self._link and link.heard == heard:
            link.scope.cancel()  # the next call connects anew

    def _count_silence(self, waiter: _Waiter) -> None:
        """A call's time is over: has anything come since it, or the silent one before, was sent?"""
        link = self._link
        if link is None or not waiter.sent or link.heard != waiter.heard:
            self._silent_calls = 0
            return
        if not self._silent_calls or self._silent_heard != link.heard:
            self._silent_calls, self._silent_heard = 0, link.heard
            self._silent_since_s = waiter.sent_s
        self._silent_calls += 1

    def _forget(self, msgid: int) -> None:
        """We no longer wait: tell the server, if it knows of the request."""
        waiter = self._waiting.pop(msgid, None)
        self._unsent.pop(msgid, None)
        if waiter is not None and waiter.sent and self._link is not None and self._hello:
            self._link.send(self._link.rpc.send_notify(rpc.CANCEL, [msgid]))

    def _fail_all(self, why: str) -> None:
        """Whoever waits learns that the connection is gone: sent calls
        indefinitely, others for sure."""
        waiting, self._waiting = self._waiting, {}
        self._unsent.clear()
        self._notices.clear()
        for waiter in waiting.values():
            code = "disconnected" if waiter.sent else "unavailable"
            waiter.fail(code, f"{self.host}: {why}")

    async def _connect_and_read(self) -> None:
        why = "the connection ended"
        try:
            stream = await self._open()
            async with stream, trio.open_nursery() as nursery:
                link = _Link(stream, rpc.Connection(self._limits), nursery.cancel_scope)
                nursery.start_soon(link.write_forever)
                if self._hello:
                    hello = {"name": self.ctx.name, "version": PROTOCOL_VERSION}
                    link.send(link.rpc.send_request(rpc.MAX_MSGID, rpc.HELLO, [hello]))
                self._link, self._connecting, self._failures = link, False, 0
                self._silent_calls = 0
                for method, params in self._notices:
                    link.send(link.rpc.send_notify(method, params))
                self._notices.clear()
                unsent, self._unsent = self._unsent, {}
                now_s = self.ctx.clock.monotonic_s()
                for msgid, waiter in unsent.items():
                    self._send(link, msgid, waiter, now_s)
                why = await self._read(link)
                nursery.cancel_scope.cancel()
        except OSError as error:
            why = in_words(error)
            self._back_off()
        finally:
            self._link, self._connecting = None, False
            self._fail_all(why)

    async def _open(self) -> Stream:
        with move_on_after(self.ctx.clock, CONNECT_TIMEOUT_S):
            return await self.ctx.network.open_stream(self.host, self.port)
        raise TimeoutError(f"no connection after {CONNECT_TIMEOUT_S:g} s")

    def _back_off(self) -> None:
        """Full jitter: the next attempt waits a random part of a window that doubles."""
        window_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        rng = self.ctx.rng(f"client/{self.host}/{self.port}")
        self._retry_at_s = self.ctx.clock.monotonic_s() + rng.uniform(0, window_s)

    async def _read(self, link: _Link) -> str:
        """Hand out answers until the connection ends; return why it did."""
        why = "it closed the connection"

        def take(data: bytes | bytearray) -> bool:
            messages = link.rpc.receive_data(data)
            self._last_answers = len(messages)
            link.heard += 1
            for message in messages:
                if message[0] == rpc.RESPONSE:
                    self._settle(message[1], message[2], message[3])
            return bool(data)

        try:
            await link.stream.receive_each(take)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            why = "the connection broke"
        except rpc.RemoteProtocolError as error:
            why = f"it does not speak MessagePack-RPC: {error}"
        return why

    def _settle(self, msgid: int, error: Any, result: Any) -> None:
        waiter = self._waiting.pop(msgid, None)
        if waiter is None:
            return  # answered too late, or the hello
        if error is not None:
            waiter.error = RpcError.from_wire(error)
        waiter.answer = result
        waiter.wake()


class _Link:
    """A connection that stands: what is sent in one turn of the scheduler leaves in one write."""

    def __init__(self, stream: Stream, connection: rpc.Connection, scope: trio.CancelScope) -> None:
        self.stream = stream
        self.rpc = connection
        self.scope = scope
        self.heard = 0
        """How often something came."""
        self._out: list[bytes] = []
        self._writer: lowlevel.Task | None = None

    def send(self, data: bytes, *, at_once: bool = False) -> None:
        """`at_once`: there is nothing that it could share a write with."""
        if at_once and self._writer is not None:
            sent = self.stream.send_nowait(data)
            if sent == len(data):
                return
            data = data[sent:]
        self._out.append(data)
        writer, self._writer = self._writer, None
        if writer is not None:
            lowlevel.reschedule(writer)

    async def write_forever(self) -> None:
        def abort(_: Any) -> lowlevel.Abort:
            self._writer = None
            return lowlevel.Abort.SUCCEEDED

        try:
            while True:
                if self._out:
                    data = b"".join(self._out)
                    self._out.clear()
                    await self.stream.send_all(data)
                else:
                    self._writer = lowlevel.current_task()
                    await lowlevel.wait_task_rescheduled(abort)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.scope.cancel()


class Clients:
    """One connection to each place, made when it is first asked."""

    def __init__(self, ctx: Context, nursery: trio.Nursery) -> None:
        self._ctx = ctx
        self._nursery = nursery
        self._clients: dict[tuple[str, int], Client] = {}

    def __call__(self, host: str, port: int) -> Client:
        client = self._clients.get((host, port))
        if client is None:
            client = self._clients[host, port] = Client(self._ctx, self._nursery, host, port)
        return client
