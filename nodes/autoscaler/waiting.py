"""What waits in a queue, asked of its front over the wire as any client would ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from nodes.autoscaler.lag import Lag, Standing, lag_of
from nodes.base import Context
from nodes.parts.stores import QUEUE_FRONT
from nodes.wire.client import Client, Clients
from nodes.wire.directory import TierView
from protocols.errors import RpcError
from protocols.queue import words

CONSUMERS: Final = "consumers"


class Waiting:
    """The lag of one group in some topics."""

    def __init__(
        self,
        ctx: Context,
        nursery: trio.Nursery,
        view: TierView,
        topics: Sequence[str],
        group: str,
    ) -> None:
        self._ctx = ctx
        self._view = view
        self._topics = topics
        self._group = group
        self._clients = Clients(ctx, nursery)

    async def lag(self, timeout_s: float) -> Lag:
        """Raises RpcError where no front knows it."""
        nearest = self._view.nearest(self._ctx.region)
        problem = RpcError("unavailable", "the queue has no front that is ready")
        for each in nearest:
            if each.kind != QUEUE_FRONT:
                continue
            try:
                return await self._ask(self._clients(each.name, each.port), timeout_s)
            except RpcError as error:
                problem = error
        raise problem

    async def _ask(self, client: Client, timeout_s: float) -> Lag:
        rows = await client.call(words.GROUPS, timeout_s=timeout_s)
        kinds = {row["topic"]: row["kind"] for row in rows if row["group"] == self._group}
        found = []
        for topic in self._topics:
            if kinds.get(topic) == CONSUMERS:
                found.append(await self._of_consumers(client, topic, timeout_s))
            else:
                found.append(await self._of_work(client, topic, timeout_s))
        return Lag(sum(each.records for each in found), sum(each.partitions for each in found))

    async def _of_work(self, client: Client, topic: str, timeout_s: float) -> Lag:
        """A record may be done before those in front of it: the queue has counted."""
        rows = await client.call(words.STANDING, topic, self._group, timeout_s=timeout_s)
        if not rows:
            raise RpcError("unavailable", f"nobody has joined {self._group} of {topic} yet")
        return Lag(sum(max(0, undone) for _, _, _, _, undone, *_ in rows), len(rows))

    async def _of_consumers(self, client: Client, topic: str, timeout_s: float) -> Lag:
        told = await client.call(words.COMMITTED, self._group, timeout_s=timeout_s)
        committed = {number: at for name, number, at in told["offsets"] if name == topic}
        rows = await client.call(words.OFFSETS, topic, timeout_s=timeout_s)
        return lag_of(
            Standing(start, committed.get(number, start), end) for number, start, end in rows
        )
