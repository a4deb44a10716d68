"""A Store for tests: SQLite in memory, with guards, request ids, and a switch to be away."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import trio

from protocols.database import Rows, Written
from protocols.errors import RpcError


class SqlStore:
    """`fail_with` is raised by every call while set; `lose_answers` writes, then times out."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.outcomes: dict[str, Written] = {}
        self.lsn = 0
        self.fail_with: RpcError | None = None
        self.lose_answers = 0
        self.deduplicates = True
        self.forgets_writes = False
        self.delay_s = 0.0
        self.queries: list[tuple[str, int | None]] = []

    async def query(self, sql: str, *params: Any, token: int | None = None) -> Rows:
        self.queries.append((sql, token))
        await self._wait()
        try:
            cursor = self.connection.execute(sql, params)
        except sqlite3.Error as error:
            raise RpcError("bad_request", str(error)) from error
        columns = [each[0] for each in cursor.description]
        return Rows(columns, [list(row) for row in cursor.fetchall()], self.lsn)

    async def write(self, statements: Sequence[Any], *, request_id: str) -> Written:
        await self._wait()
        written = self.outcomes.get(request_id) if self.deduplicates else None
        if written is None:
            written = self._apply(statements)
            self.outcomes[request_id] = written
        if self.lose_answers:
            self.lose_answers -= 1
            raise RpcError("timeout", "the answer was lost")
        return written

    def _apply(self, statements: Sequence[Any]) -> Written:
        self.connection.execute("BEGIN")
        try:
            results = [self._one(index, *each) for index, each in enumerate(statements)]
        except (sqlite3.Error, RpcError) as error:
            self.connection.execute("ROLLBACK")
            if isinstance(error, RpcError):
                raise
            code = "refused" if isinstance(error, sqlite3.IntegrityError) else "bad_request"
            raise RpcError(code, str(error)) from error
        lost = self.forgets_writes and any("INTO posts" in each[0] for each in statements)
        self.connection.execute("ROLLBACK" if lost else "COMMIT")
        self.lsn += 1
        return Written(results, self.lsn)

    def _one(
        self, index: int, sql: str, params: Sequence[Any], guard: Any = None
    ) -> dict[str, Any]:
        cursor = self.connection.execute(sql, params)
        rows = [list(row) for row in cursor.fetchall()]
        changes = max(0, cursor.rowcount)
        if guard is not None and guard["rows"] != (len(rows) if cursor.description else changes):
            raise RpcError("refused", f"guard: {guard['rows']} rows wanted", index)
        return {"changes": changes, "rows": rows}

    async def _wait(self) -> None:
        await trio.sleep(self.delay_s)
        if self.fail_with is not None:
            raise self.fail_with

    def drop_everything(self) -> None:
        """As after a failover that lost all."""
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.outcomes.clear()
