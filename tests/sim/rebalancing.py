"""Nodes that are one member each of a consumer group, for the test of what a rebalance stops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio

from nodes.base import Context
from nodes.kind import Kind
from nodes.queue.client import QueueClient
from nodes.queue.consumer import Consumer
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory

SESSION_S = 2.0
MEMBERS: dict[str, Consumer] = {}
"""Those that live; tests clear it."""


@dataclass(frozen=True, slots=True)
class ReaderConfig:
    asks: str
    """The queue tier: `asks: queue`."""


class ReaderNode:
    """Stays a member. Whether it would read now, the test asks of its consumer."""

    def __init__(self, ctx: Context, config: ReaderConfig) -> None:
        self.ctx = ctx
        self.config = config

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        ctx = self.ctx
        async with trio.open_nursery() as nursery:
            client = QueueClient(ctx, nursery, Directory(ctx, nursery), self.config.asks)
            name = f"{ctx.name}.{ctx.generation}"
            member = Consumer(client, "readers", name, ["orders"], session_s=SESSION_S)
            nursery.start_soon(Admin(ctx).listen_and_serve)
            MEMBERS[ctx.name] = member
            task_status.started()
            try:
                await member.run()
            finally:
                MEMBERS.pop(ctx.name, None)


READER = Kind(ReaderConfig, ReaderNode, edges=("asks",), clients=False)
