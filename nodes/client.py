"""The asking side of the wire: one `Client` per peer, many calls in flight on one connection.

It connects when first needed, and again with jitter when the connection broke. It never retries a
call: only the tier knows what may be asked twice (see nodes/parts/backoff.py for the budget).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio
from trio import lowlevel

from nodes.base import RPC_PORT, Context, Stream
from nodes.parts.timing import move_on_after
from nodes.wire import CHUNK_BYTES, PROTOCOL_VERSION, current_call
from protocols import rpc
from protocols.errors import RpcError

DEFAULT_TIMEOUT_S: Final = 5.0
CONNECT_TIMEOUT_S: Final = 2.0
MAX_PENDING: Final = 1024
BACKOFF_FIRST_S: Final = 0.02
BACKOFF_MOST_S: Final = 1.0


class _Waiter:
    """One call that waits for its answer. `task` is None once it has been woken."""

    __slots__ = ("answer", "error", "sent", "task")

    def __init__(self) -> None:
        self.task: lowlevel.Task | None = None
        self.answer: Any = None
        self.error: RpcError | None = None
        self.sent = False

    def wake(self) -> None:
        task, self.task = self.task, None
        if task is not None:
            lowlevel.reschedule(task)


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
        self._rng = ctx.rng(f"client/{host}/{port}")
        self._waiting: dict[int, _Waiter] = {}
        self._unsent: dict[int, Callable[[_Link], None]] = {}
        self._next_msgid = 0
        self._link: _Link | None = None
        self._connecting = False
        self._failures = 0
        self._retry_at_s = 0.0
        self._closed = False

    @property
    def connected(self) -> bool:
        return self._link is not None

    @property
    def in_flight(self) -> int:
        """Calls that wait for an answer now."""
        return len(self._waiting)

    def close(self) -> None:
        """Break the connection; calls in flight fail, later ones are refused."""
        self._closed = True
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
        waiter = _Waiter()
        msgid = self._take_msgid()
        self._waiting[msgid] = waiter

        def expire() -> None:
            waiter.error = waiter.error or self._late(waiter, method, timeout_s)
            self._forget(msgid)
            waiter.wake()

        timer = clock.call_at(deadline_s, expire)
        try:
            self._start(msgid, waiter, method, params, deadline_s, epoch, trace)
            await self._wait(waiter)
        except trio.Cancelled:
            self._forget(msgid)
            raise
        finally:
            timer.cancel()
            self._waiting.pop(msgid, None)
        if waiter.error is not None:
            raise waiter.error
        return waiter.answer

    def notify(self, method: str, *params: Any) -> bool:
        """Send without an answer. Without a connection it is dropped (False), and one is made."""
        if self._link is not None:
            self._link.send(self._link.rpc.send_notify(method, list(params)))
            return True
        if not self._closed:
            self._connect_soon()
        return False

    def _take_msgid(self) -> int:
        while True:
            msgid = self._next_msgid
            self._next_msgid = (msgid + 1) & rpc.MAX_MSGID
            if msgid not in self._waiting:
                return msgid

    def _start(
        self,
        msgid: int,
        waiter: _Waiter,
        method: str,
        params: tuple[Any, ...],
        deadline_s: float,
        epoch: int | None,
        trace: int | None,
    ) -> None:
        """Send now if connected; else when the connection that is being made stands."""

        def send(link: _Link) -> None:
            values: list[Any] = list(params)
            if self._hello:
                left_s = deadline_s - self.ctx.clock.monotonic_s()
                metadata: dict[str, Any] = {rpc.REMAINING_MS: max(1, int(left_s * 1000))}
                if trace is not None:
                    metadata[rpc.TRACE] = trace
                if epoch is not None:
                    metadata[rpc.EPOCH] = epoch
                values.append(metadata)
            try:
                packed = link.rpc.send_request(msgid, method, values)
            except (TypeError, ValueError, OverflowError) as problem:
                waiter.error = RpcError("bad_request", f"cannot pack the params: {problem}")
                waiter.wake()
                return
            if len(packed) > self._limits.max_frame_bytes:
                waiter.error = RpcError("too_large", f"the request has {len(packed)} bytes")
                waiter.wake()
                return
            waiter.sent = True
            link.send(packed)

        if self._link is not None:
            send(self._link)
            return
        self._unsent[msgid] = send
        if not self._connect_soon():
            self._fail_all(f"{self.host} was not reachable a moment ago")

    def _connect_soon(self) -> bool:
        """Begin to connect, unless an attempt has failed just now."""
        if not self._connecting:
            if self.ctx.clock.monotonic_s() < self._retry_at_s:
                return False
            self._connecting = True
            self._nursery.start_soon(self._connect_and_read)
        return True

    async def _wait(self, waiter: _Waiter) -> None:
        if waiter.error is not None:
            await lowlevel.checkpoint()
            return
        waiter.task = lowlevel.current_task()

        def abort(_: Any) -> lowlevel.Abort:
            waiter.task = None
            return lowlevel.Abort.SUCCEEDED

        await lowlevel.wait_task_rescheduled(abort)

    def _late(self, waiter: _Waiter, method: str, timeout_s: float) -> RpcError:
        text = f"{method} at {self.host} after {timeout_s:g} s"
        return RpcError("timeout" if waiter.sent else "unavailable", text)

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
        for waiter in waiting.values():
            code = "disconnected" if waiter.sent else "unavailable"
            waiter.error = waiter.error or RpcError(code, f"{self.host}: {why}")
            waiter.wake()

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
                unsent, self._unsent = self._unsent, {}
                for send in unsent.values():
                    send(link)
                why = await self._read(link)
                nursery.cancel_scope.cancel()
        except OSError as error:
            why = str(error) or type(error).__name__
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
        self._retry_at_s = self.ctx.clock.monotonic_s() + self._rng.uniform(0, window_s)

    async def _read(self, link: _Link) -> str:
        """Hand out answers until the connection ends; return why it did."""
        while True:
            try:
                data = await link.stream.receive_some(CHUNK_BYTES)
                messages = link.rpc.receive_data(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return "the connection broke"
            except rpc.RemoteProtocolError as error:
                return f"it does not speak MessagePack-RPC: {error}"
            for message in messages:
                if message[0] == rpc.RESPONSE:
                    self._settle(message[1], message[2], message[3])
            if not data:
                return "it closed the connection"

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
        self._out: list[bytes] = []
        self._writer: lowlevel.Task | None = None

    def send(self, data: bytes) -> None:
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
