"""The caches behind an edge: each is told of a purge before that is acknowledged, since what one
machine alone remembers is gone when that machine is.
"""

from __future__ import annotations

from typing import Final

import trio

from nodes.base import ADMIN_PORT, Context
from nodes.cdn.origin import Origin
from nodes.cdn.purges import Purge
from nodes.wire.client import Clients
from protocols.control import PURGE
from protocols.errors import RpcError

TELL_S: Final = 2.0
"""So long each has for its answer; who asked for the purge waits as long."""


class Shields:
    """Of one edge: the members of its origin that are of its own kind."""

    def __init__(self, ctx: Context, origin: Origin, nursery: trio.Nursery) -> None:
        self._ctx = ctx
        self._origin = origin
        self._clients = Clients(ctx, nursery)
        self._telling: dict[str, None] = {}

    async def tell(self, purge: Purge) -> list[str]:
        """The names of those that may not have heard of it: they hear of it with requests."""
        if purge.name in self._telling:  # it came back: these caches ask each other
            return []
        missed: list[str] = []
        self._telling[purge.name] = None
        try:
            async with trio.open_nursery() as nursery:
                for name in await self._origin.caches():
                    nursery.start_soon(self._tell, name, purge, missed)
        finally:
            del self._telling[purge.name]
        return sorted(missed)

    async def _tell(self, name: str, purge: Purge, missed: list[str]) -> None:
        client = self._clients(name, ADMIN_PORT)
        try:
            told = await client.call(PURGE, purge.kind, purge.value, purge.name, timeout_s=TELL_S)
        except RpcError as error:
            self._ctx.log.info("shield not told", shield=name, error=str(error))
            missed.append(name)
        else:
            missed += told["missed"]
