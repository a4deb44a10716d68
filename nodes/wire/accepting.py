"""Taking what strangers send, once for all doors: a bound on how many connections, and a failure
that one of them brings about ends that connection only, or loses that datagram only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from nodes.base import Context, Fenced, Listener, Peer, Stream
from nodes.metrics import Metrics
from nodes.parts.places import place
from protocols import rpc

MAX_CONNECTIONS: Final = 4096


async def accept_forever(
    ctx: Context,
    listener: Listener,
    handle: Callable[[Stream], Awaitable[None]],
    *,
    max_connections: int = MAX_CONNECTIONS,
    metrics: Metrics | None = None,
) -> None:
    """Run `handle(stream)` for each connection; over the limit a connection is reset and counted.

    A handler's exception ends its own connection only, with an event.
    """
    metrics = ctx.metrics if metrics is None else metrics
    open_now = metrics.gauge("open_connections", "Connections open now.")
    accepted = metrics.counter("connections_total", "Connections accepted.")
    refused = metrics.counter("connections_refused_total", "Connections over the node's limit.")
    here = 0
    """At this listener: others may count into the same gauge."""

    async def one(stream: Stream) -> None:
        nonlocal here
        try:
            with contained(ctx, stream.peer, "connection failed"):
                async with stream:
                    await handle(stream)
        finally:
            here -= 1
            open_now.value -= 1

    async with trio.open_nursery() as nursery:
        while True:
            stream = await listener.accept()
            accepted.value += 1
            if here >= max_connections:
                refused.value += 1
                stream.abort()
            else:
                here += 1
                open_now.value += 1
                nursery.start_soon(one, stream)


@contextmanager
def contained(ctx: Context, peer: Peer, event: str) -> Iterator[None]:
    """What goes wrong inside, where one peer is served, is told as that event, and over. A
    cancellation beside it goes on, as does the end of this generation."""
    try:
        yield
    except* Fenced:
        raise
    except* Exception as problems:
        if not _only_broken(problems):
            error = problems.exceptions[0] if len(problems.exceptions) == 1 else problems
            ctx.log.error(event, peer=peer.name, error=repr(error), at=place(error))


def _only_broken(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_only_broken(each) for each in error.exceptions)
    return isinstance(
        error, trio.BrokenResourceError | trio.ClosedResourceError | rpc.RemoteProtocolError
    )
