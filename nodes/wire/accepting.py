"""Accepting connections, once for all listeners: a bound on how many, and one handler's failure is
its own connection's end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from nodes.base import Context, Fenced, Listener, Stream
from nodes.parts.metrics import Metrics
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

    async def one(stream: Stream) -> None:
        open_now.value += 1
        try:
            async with stream:
                await handle(stream)
        except Fenced:
            raise
        except Exception as error:
            if not _only_broken(error):
                ctx.log.error("connection failed", peer=stream.peer.name, error=repr(error))
        finally:
            open_now.value -= 1

    async with trio.open_nursery() as nursery:
        while True:
            stream = await listener.accept()
            accepted.value += 1
            if open_now.value >= max_connections:
                refused.value += 1
                stream.abort()
            else:
                nursery.start_soon(one, stream)


def _only_broken(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_only_broken(each) for each in error.exceptions)
    return isinstance(
        error, trio.BrokenResourceError | trio.ClosedResourceError | rpc.RemoteProtocolError
    )
