"""How a service keeps its methods, what a request brings along, and answers that come later.

What moves bytes is nodes/wire/connection.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, Protocol

import trio

from nodes.base import Clock, Context, CpuBusy, CpuExpired, Fenced
from nodes.metrics import Counter, Histogram
from nodes.parts.places import place
from nodes.parts.shedding import MIDDLE, rank_of
from nodes.wire.arguments import arguments_of
from nodes.wire.hops import Hops
from protocols import rpc
from protocols.errors import RpcError

EVENTS: Final = {
    "handler failed": "A request met a mistake in the code that serves it: its answer is an error.",
    "batch failed": "A batch of requests met a mistake in the code that serves it.",
    "connection failed": "What went wrong ended one connection only.",
    "datagram failed": "What went wrong ended the answer to one datagram only.",
    "response refused": "A response was none that HTTP allows; its client got a 500.",
    "request refused": "A client's bytes were no HTTP; its connection is closed.",
    "connection refused": "A dialer was turned away: the topology does not let it in, or its bytes "
    "were no MessagePack-RPC.",
    "notification refused": "A notification named no method, or not its params.",
    "directory not reached": "A node cannot ask which members a tier has; it asks again.",
}

PATIENCE: Final = 0.75
"""Of the time that a caller has left; the rest is for the way of the answer."""

Handler = Callable[..., Any]
"""`handler(call, *params)`: a plain function is answered inline, a coroutine function gets a
task."""


class Ending:
    """What is to be done when a connection ends: what its peer has opened ends with it."""

    __slots__ = ("_has_come", "_todo")

    def __init__(self) -> None:
        self._todo: dict[Callable[[], object], None] = {}
        self._has_come = False

    def add(self, action: Callable[[], object]) -> None:
        """A short synchronous one, done at once where the end has come already; `discard` it when
        nothing is open any more."""
        if self._has_come:
            action()
        else:
            self._todo[action] = None

    def discard(self, action: Callable[[], object]) -> None:
        self._todo.pop(action, None)

    def come(self) -> None:
        """The connection has ended."""
        self._has_come = True
        todo, self._todo = self._todo, {}
        for action in todo:
            action()


class Call:
    """The circumstances of one request: who asks, until when, in whose name."""

    __slots__ = ("deadline_s", "ending", "epoch", "hops", "peer", "trace", "unheard", "urgency")

    def __init__(
        self,
        peer: str = "",
        deadline_s: float | None = None,
        trace: int | None = None,
        epoch: int | None = None,
        ending: Ending | None = None,
    ) -> None:
        self.peer = peer
        self.ending = ending or Ending()
        """Of the connection that it came by."""
        self.deadline_s = deadline_s
        """On this node's monotonic clock; None: the caller named no limit."""
        self.trace = trace
        self.epoch = epoch
        self.urgency = MIDDLE
        """0 (the most) to 7: who is refused last, and first, where too much is asked."""
        self.unheard: Callable[[], object] | None = None
        """What to do if its caller gave up before the answer came: it does not know what it has
        opened here."""
        self.hops: Hops | None = None
        """Where the way of this request is to be told."""

    @property
    def rank(self) -> int:
        """Of two the higher one is refused first."""
        return rank_of(self.urgency, self.trace)

    def patience_s(self, now_s: float, unlimited_s: float) -> float:
        """How long it may wait to be begun: if it is refused then, its caller hears so in time,
        and need not guess whether it was done. `unlimited_s`: of one that named no limit."""
        return unlimited_s if self.deadline_s is None else PATIENCE * (self.deadline_s - now_s)


current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)
"""The request on whose behalf this task works: calls made from it inherit
its deadline and trace."""


def outlive_caller() -> None:
    """What this task does is to be done though whoever asked for it has no time left."""
    parent = current_call.get()
    if parent is not None and parent.deadline_s is not None:
        call = Call(parent.peer, None, parent.trace, parent.epoch, parent.ending)
        call.urgency, call.hops = parent.urgency, parent.hops
        current_call.set(call)


def request_id() -> str:
    """The id of the request on whose behalf this task works, as people see it; "" of none."""
    call = current_call.get()
    return "" if call is None or call.trace is None else f"{call.trace:x}"


def deadline_in(clock: Clock, timeout_s: float) -> float:
    """So long from now on that clock, within what our own caller has left."""
    deadline_s = clock.monotonic_s() + timeout_s
    parent = current_call.get()
    if parent is not None and parent.deadline_s is not None:
        deadline_s = min(deadline_s, parent.deadline_s)
    return deadline_s


def as_rpc_error(ctx: Context, error: Exception, **where: str) -> RpcError:
    """What a caller is told of what a handler raised; what nobody foresaw is logged, with `where`.

    Raises Fenced: a dead node tells nobody anything.
    """
    match error:
        case RpcError():
            return error
        case rpc.LocalProtocolError():
            return RpcError("too_large", str(error))
        case Fenced():
            raise error
        case CpuBusy():
            return RpcError("overloaded", f"the cpu: {error}")
        case CpuExpired():
            return RpcError("expired", "dropped from the cpu's queue: its time was over")
    ctx.log.error("handler failed", **where, error=repr(error), at=place(error))
    return RpcError("internal", f"{type(error).__name__}: {error}"[:300])


class Future:
    """An answer that waits for something else than a task: a fused handler returns it, and whoever
    made it settles it, once."""

    __slots__ = ("_callback", "error", "result", "settled")

    def __init__(self) -> None:
        self.result: Any = None
        self.error: RpcError | None = None
        self.settled = False
        self._callback: Callable[[], object] | None = None

    def settle(self, result: Any = None, error: RpcError | None = None) -> None:
        self.result, self.error, self.settled = result, error, True
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    def when_settled(self, callback: Callable[[], object]) -> None:
        """Call it once, at once if this is settled already."""
        if self.settled:
            callback()
        else:
            self._callback = callback

    async def wait(self) -> Any:
        """The result. Raises RpcError."""
        done = trio.Event()
        self.when_settled(done.set)
        await done.wait()
        if self.error is not None:
            raise self.error
        return self.result


class Batch(Protocol):
    """What wants to know where a batch of requests that arrived together begins and ends."""

    def begin(self, now_s: float) -> None: ...
    def end(self) -> None:
        """Called before any of the batch's answers leaves."""
        ...


Fused = Callable[[list[Any], int | None], Any]
"""`fused(params, epoch)`: checks its own params, never waits. It may return a Future; or
NotImplemented, and the handler is asked instead, in a task of its own."""


class Method:
    """One method of a service: how to call it, and its share of the RED metrics."""

    __slots__ = ("arguments", "batched", "cost_s", "fused", "handler", "is_async", "name", "ok",
                 "seconds", "waits")  # fmt: skip

    def __init__(
        self, name: str, handler: Handler, cost_s: float | None, ok: Counter, seconds: Histogram
    ) -> None:
        self.name = name
        self.handler = handler
        self.is_async = inspect.iscoroutinefunction(handler)
        self.arguments = arguments_of(handler)
        self.cost_s = cost_s
        self.ok = ok
        self.seconds = seconds
        self.waits = False
        """Whether it may wait for something to come, for as long as its caller asked: how long it
        took says nothing then, and is neither measured nor told as slow."""
        self.fused: Fused | None = None
        self.batched = 0
