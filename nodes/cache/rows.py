"""Read-through: a cache node that fills a miss by itself, with a row of the database.

One fetch at a time for a key, whoever waits: it goes on when its first reader is gone, and if it
fails they all hear so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import trio

from nodes.base import Context
from nodes.cache import arguments
from nodes.cache.arguments import SetOptions
from nodes.cache.desk import Desk
from nodes.replica.client import GroupClient
from nodes.wire.answers import current_call
from nodes.wire.directory import Directory
from nodes.wire.service import Call
from protocols import database as database_words
from protocols.errors import RpcError

TIMEOUT_S: Final = 5.0
ATTEMPTS: Final = 3
"""A key that is deleted again and again while it is fetched is at last only read."""


class _Filling:
    """A fetch that readers wait for."""

    def __init__(self) -> None:
        self.failure: RpcError | None = None


class RowReader:
    """One node's."""

    def __init__(
        self,
        ctx: Context,
        nursery: trio.Nursery,
        directory: Directory,
        desk: Desk,
        database: str,
        rows: Mapping[str, str],
    ) -> None:
        self._ctx = ctx
        self._nursery = nursery
        self._desk = desk
        self._rows = rows
        self._group = GroupClient(ctx, nursery, directory, database)
        self._fillings: dict[str, _Filling] = {}

    async def read(self, call: Call, key: Any) -> Any:
        """See protocols/cache.py."""
        desk, clock = self._desk, self._ctx.clock
        table, column, value = self._place(arguments.check_key(key))
        until_s = call.deadline_s or clock.monotonic_s() + TIMEOUT_S
        for _ in range(ATTEMPTS):
            now_s = clock.monotonic_s()
            desk.check_fresh(now_s)
            entry = desk.store.get(key, now_s)
            if entry is not None:
                desk.count_hit(entry)
                return entry.value
            if desk.leases.held(key, now_s) is None:
                desk.misses += 1
                token = desk.give(key, now_s)
                if not token:
                    break
                begun = self._fillings[key] = _Filling()
                self._nursery.start_soon(self._fill, begun, key, token, table, column, value)
            filling = self._fillings.get(key)
            await desk.wait_for(key, until_s)
            if filling is not None and filling.failure is not None:
                raise filling.failure
        return await self._fetch(table, column, value)

    def _place(self, key: str) -> tuple[str, str, str]:
        table, _, value = key.partition("/")
        if table not in self._rows or not value:
            known = ", ".join(f"{each}/..." for each in self._rows) or "nothing"
            raise RpcError("bad_request", f"`{key[:40]}` cannot be read through: {known} can")
        return table, self._rows[table], value

    async def _fill(
        self, filling: _Filling, key: str, token: int, table: str, column: str, value: str
    ) -> None:
        """In nobody's name: whoever asked first may be gone."""
        current_call.set(None)
        began_s = self._ctx.clock.monotonic_s()
        try:
            row = await self._fetch(table, column, value)
            size_bytes = arguments.size_of(row)
        except RpcError as error:
            filling.failure = error
            self._desk.drop(key, token)
            return
        finally:
            if self._fillings.get(key) is filling:  # a delete lets another begin
                del self._fillings[key]
        if self._desk.redeem(key, token):
            took_s = self._ctx.clock.monotonic_s() - began_s
            given = SetOptions(None, None, took_s, row is None)
            self._desk.fill(key, row, size_bytes, given)

    async def _fetch(self, table: str, column: str, value: str) -> dict[str, Any] | None:
        """The row as a map; None: there is none. Raises RpcError."""
        sql = f'SELECT * FROM "{table}" WHERE "{column}" = ? LIMIT 1'
        options = {"min_lsn": self._desk.newest_lsn}
        answer = await self._group.ask(
            database_words.QUERY, sql, [value], options, timeout_s=TIMEOUT_S
        )
        rows = answer["rows"]
        return dict(zip(answer["columns"], rows[0], strict=True)) if rows else None
