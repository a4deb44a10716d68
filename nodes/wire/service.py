"""What answers RPC, once for all tiers: `Service` has the methods, the batch and the RED metrics.

How one connection is answered is in connection.py. What a method means is the tier's business;
what the bytes mean is protocols/rpc.py's. `Client` (client.py) asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import trio

from nodes.base import Context, Listener, Peer, Stream
from nodes.metrics import Counter, Metrics
from nodes.wire.accepting import accept_forever
from nodes.wire.answers import Batch, Call, Fused, Handler, Method, current_call
from nodes.wire.connection import ServerConnection
from nodes.wire.draining import Draining
from protocols import rpc
from protocols.errors import SERVER_ERRORS

__all__ = ["Call", "Service", "current_call"]

CHUNK_BYTES: Final = 65536


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
        self.tells = metrics is None
        self.batch: Batch | None = None
        self.draining = Draining()
        self.in_flight = 0
        self.answered: list[Method] = []
        """Methods that have answered inline since the last batch was over."""
        self._settling = False
        self._arrived_s = 0.0
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
        waits: bool = False,
    ) -> None:
        """Answer `name` with `handler(call, *params)`.

        `cost_s` is what it costs of the node's cpu (None: the declared service time; 0: nothing).
        `waits`: for something to come, as long as its caller asked: that is no slow request.
        Raise RpcError to refuse; any other exception is answered `internal` and logged.
        """
        metrics = self.metrics if metrics is None else metrics
        ok = metrics.counter("requests_total", REQUESTS_HELP, method=name, code="ok")
        seconds = metrics.histogram("request_seconds", SECONDS_HELP, method=name)
        self.methods[name] = Method(name, handler, cost_s, ok, seconds)
        self.methods[name].waits = waits

    def methods_for(self, peer: Peer) -> Mapping[str, Method]:
        """What that peer is answered."""
        return self.methods

    def fuse(self, name: str, fused: Fused) -> None:
        """Answer the method `name`, already added, by this wherever nothing has to be charged or
        waited for: the hot path, without a Call and a histogram of each request's own."""
        method = self.methods[name]
        method.fused = fused

    def settle_soon(self, arrived_s: float) -> None:
        """Requests have arrived, and maybe others will before this node does anything else."""
        if not self._settling:
            self._settling, self._arrived_s = True, arrived_s
            self.ctx.network.after_arrivals(self._settle)

    def _settle(self) -> None:
        """The batch is over, and its answers are on their way: all of them took until now."""
        self._settling = False
        if self.batch is not None:
            try:
                self.batch.end()
            except Exception as error:  # no connection's own; a dead node's log says nothing
                self.ctx.log.error("batch failed", error=repr(error))
        elapsed_s = self.ctx.clock.monotonic_s() - self._arrived_s
        for method in self.answered:
            method.ok.value += method.batched
            method.seconds.observe(elapsed_s, method.batched)
            method.batched = 0
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
            connection = ServerConnection(self, stream, nursery)
            self.draining.add(connection)
            try:
                await connection.run(received)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the peer left; nobody is there to be answered
            finally:
                connection.stop()
                connection.ending.come()
                self.draining.remove(connection)
            nursery.cancel_scope.cancel()


REQUESTS_HELP: Final = "Requests answered, by method and code (ok or the error's code)."
SECONDS_HELP: Final = "Seconds from a request's arrival to its answer."
ERRORS_HELP: Final = "Requests that failed on the server's side, whatever the protocol."
IN_FLIGHT_HELP: Final = "Requests in hand now, by protocol."
