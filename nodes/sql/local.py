"""A database inside a node that has no database tier: the same engine, on the node's own disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from nodes.base import Context
from nodes.sql.config import DatabaseConfig
from nodes.sql.database import SqlEngine
from nodes.wire.answers import Call
from protocols.database import Rows, Written
from protocols.replication.replica import VOTER


class LocalDatabase:
    """What DatabaseClient is to a tier: a group of one, without a network."""

    def __init__(self, ctx: Context, nursery: trio.Nursery) -> None:
        self._engine = SqlEngine(ctx, nursery, DatabaseConfig(), ((ctx.name, VOTER),))
        self._nursery = nursery

    async def start(self) -> None:
        """Recover from disk, and drive the log from now on."""
        await self._engine.driver.recover()
        self._nursery.start_soon(self._engine.run)

    async def query(
        self, sql: str, *params: Any, token: int | None = None, timeout_s: float = 0.0
    ) -> Rows:
        return Rows.from_wire(await self._engine.query(sql, params, {"min_lsn": token}))

    async def write(
        self, statements: Sequence[Sequence[Any]], *, request_id: str, timeout_s: float = 0.0
    ) -> Written:
        return Written.from_wire(
            await self._engine.write(Call(), statements, {"request_id": request_id})
        )
