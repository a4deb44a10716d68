"""Moving bytes between two streams, both ways, with half-close and time limits; for
any tier that splices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio

from nodes.base import Context, Stream
from nodes.metrics import Counter
from nodes.wire.service import ERRORS_HELP, IN_FLIGHT_HELP, REQUESTS_HELP, SECONDS_HELP

BYTES_HELP: Final = "Bytes forwarded: in from clients to servers, out from servers to clients."
FORWARD: Final = "forward"
"""The method of a request of which nobody here knows more."""

End = tuple[Stream, str]
"""A stream and what it is: client or server."""


class Flow:
    """One forwarded connection. `broken_by` says which end broke it: client, server, or neither."""

    __slots__ = (
        "answered_bytes",
        "asked_at_s",
        "asked_bytes",
        "broken_by",
        "client",
        "half_closed",
        "owner",
        "quiet_since_s",
        "scope",
        "seen_bytes",
        "server",
    )

    def __init__(self, client: Stream, server: Stream, owner: object = None) -> None:
        self.client = client
        self.server = server
        self.owner = owner
        self.asked_bytes = 0
        self.asked_at_s: float | None = None
        """Since when the client waits for an answer; None: it does not."""
        self.answered_bytes = 0
        self.half_closed = False
        self.broken_by = ""
        self.scope = trio.CancelScope()
        self.seen_bytes = -1
        self.quiet_since_s = 0.0


class Pump:
    """All flows of a node. Idle ones end after `idle_timeout_s`,
    half-closed ones after `fin_timeout_s`.

    What it moves it does not read. So a request is a turn: the client speaks, then the server does.
    Those that a client sends without waiting for an answer are one.
    """

    def __init__(self, ctx: Context, idle_timeout_s: float, fin_timeout_s: float) -> None:
        self.ctx = ctx
        self.idle_timeout_s = idle_timeout_s
        self.fin_timeout_s = fin_timeout_s
        self.flows: dict[int, Flow] = {}
        self._last = 0
        metrics = ctx.metrics
        self._in: Counter = metrics.counter("bytes_total", BYTES_HELP, direction="in")
        self._out: Counter = metrics.counter("bytes_total", BYTES_HELP, direction="out")
        self._answered, self._broken_off, self._refused = (
            metrics.counter("requests_total", REQUESTS_HELP, method=FORWARD, code=code)
            for code in ("ok", "disconnected", "unavailable")
        )
        self._errors: Counter = metrics.counter("request_errors_total", ERRORS_HELP)
        self._seconds = metrics.histogram("request_seconds", SECONDS_HELP, method=FORWARD)
        self._in_hand = metrics.gauge("requests_in_flight", IN_FLIGHT_HELP, protocol="tcp")

    async def run(self, flow: Flow) -> None:
        """Forward until both directions have ended, or one end broke: then both are reset."""
        self._last += 1
        number = self._last
        self.flows[number] = flow
        try:
            with flow.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._ask, flow)
                    await self._answer(flow)
            if flow.broken_by or flow.scope.cancelled_caught:
                flow.client.abort()
                flow.server.abort()
        finally:
            del self.flows[number]
            if flow.asked_at_s is not None:
                self._in_hand.value -= 1
                if flow.broken_by != "client":  # who leaves is owed no answer
                    self._broken_off.value += 1
                    self._errors.value += 1

    def refused(self) -> None:
        """A connection got no server: with it, its first request."""
        self._refused.value += 1
        self._errors.value += 1

    async def _ask(self, flow: Flow) -> None:
        """Client to server."""
        total, now_s = self._in, self.ctx.clock.monotonic_s

        def count(size_bytes: int) -> None:
            flow.asked_bytes += size_bytes
            total.value += size_bytes
            if flow.asked_at_s is None:
                flow.asked_at_s = now_s()
                self._in_hand.value += 1

        await self._move(flow, (flow.client, "client"), (flow.server, "server"), count)

    async def _answer(self, flow: Flow) -> None:
        """Server to client."""
        total, now_s = self._out, self.ctx.clock.monotonic_s

        def count(size_bytes: int) -> None:
            flow.answered_bytes += size_bytes
            total.value += size_bytes
            if flow.asked_at_s is not None:
                self._answered.value += 1
                self._seconds.observe(now_s() - flow.asked_at_s)
                self._in_hand.value -= 1
                flow.asked_at_s = None

        await self._move(flow, (flow.server, "server"), (flow.client, "client"), count)

    async def _move(self, flow: Flow, source: End, sink: End, count: Callable[[int], None]) -> None:
        """One direction, to its end, which is passed on."""
        relay, send = source[0].relay_to, sink[0].send_all
        at_fault = source[1]
        try:
            while data := await relay(sink[0], count):
                count(len(data))  # before others run: an answer to it comes after it
                at_fault = sink[1]
                await send(data)
                at_fault = source[1]
            flow.half_closed = True
            at_fault = sink[1]
            await sink[0].send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._broken(flow, at_fault)

    def _broken(self, flow: Flow, end: str) -> None:
        flow.broken_by = flow.broken_by or end
        flow.scope.cancel()

    def end_flows_of(self, owner: object) -> None:
        """Reset the flows that were given this owner."""
        for flow in list(self.flows.values()):
            if flow.owner is owner:
                flow.scope.cancel()

    async def watch_forever(self, tick: Callable[[], Any] = lambda: None) -> None:
        """End what is quiet for too long; looks (and calls `tick`) at a quarter of the shorter
        limit, at most each second."""
        interval_s = min(1.0, self.fin_timeout_s / 4, self.idle_timeout_s / 4)
        while True:
            await self.ctx.clock.sleep(interval_s)
            tick()
            now_s = self.ctx.clock.monotonic_s()
            for flow in list(self.flows.values()):
                self._look_at(flow, now_s)

    def _look_at(self, flow: Flow, now_s: float) -> None:
        moved = flow.asked_bytes + flow.answered_bytes + flow.half_closed
        if moved != flow.seen_bytes:
            flow.seen_bytes, flow.quiet_since_s = moved, now_s
            return
        limit_s = self.fin_timeout_s if flow.half_closed else self.idle_timeout_s
        if now_s - flow.quiet_since_s >= limit_s:
            flow.scope.cancel()
