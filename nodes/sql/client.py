"""The asking side of a database tier: queries and transactions, on nodes/replica/client.py.

A timeout is an unknown outcome: it is retried only because the request id makes that safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trio

from nodes.base import Clock, Context
from nodes.replica.client import GroupClient
from nodes.wire.client import Client
from nodes.wire.directory import Directory
from protocols import database as words
from protocols.database import Rows, Written
from protocols.errors import RpcError

DEFAULT_TIMEOUT_S: Final = 5.0


class DatabaseClient:
    """A store (query, write) on a database tier.

    Reads go to the primary, and while it is away a replica may answer with an older state; with
    `replicas` they go to anybody, with `linearizable` to nobody else. `max_lag_ms`: how old the
    state may be that a replica answers from.
    """

    def __init__(
        self,
        ctx: Context,
        nursery: trio.Nursery,
        directory: Directory,
        tier: str,
        *,
        replicas: bool = False,
        linearizable: bool = False,
        max_lag_ms: int | None = None,
    ) -> None:
        assert not (replicas and linearizable)
        self._clock = ctx.clock
        self._group = GroupClient(ctx, nursery, directory, tier)
        self._replicas = replicas
        self._linearizable = linearizable
        self._max_lag_ms = max_lag_ms

    async def start(self) -> None:
        """Learn the members; later calls follow them."""
        await self._group.start()

    async def query(
        self,
        sql: str,
        *params: Any,
        token: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Rows:
        """`token`: the answer must include the write that gave it. Raises RpcError."""
        options: dict[str, Any] = {"min_lsn": token} if token is not None else {}
        if self._linearizable:
            options["primary"] = True
        if self._max_lag_ms is not None:
            options["max_lag_ms"] = self._max_lag_ms
        answer = await self._ask(
            words.QUERY, [sql, list(params), options], timeout_s, anywhere=self._replicas
        )
        return Rows.from_wire(answer)

    async def write(
        self,
        statements: Sequence[Sequence[Any]],
        *,
        request_id: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Written:
        """One transaction, at most once for each `request_id`. Raises RpcError."""
        params = [[list(each) for each in statements], {"request_id": request_id}]
        answer = await self._ask(words.WRITE, params, timeout_s, anywhere=False)
        return Written.from_wire(answer)

    async def begin(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Transaction:
        """Open an interactive transaction at the primary. Raises RpcError."""
        deadline_s = self._clock.monotonic_s() + timeout_s
        answer = await self._ask(words.BEGIN, [], timeout_s, anywhere=False)
        return Transaction(self._clock, self._group.at_primary(), answer["lease"], deadline_s)

    async def _ask(
        self, method: str, params: list[Any], timeout_s: float, *, anywhere: bool
    ) -> dict[str, Any]:
        try:
            answer = await self._group.ask(method, *params, timeout_s=timeout_s, anywhere=anywhere)
        except RpcError as error:
            if method == words.WRITE and error.definite and error.__cause__ is not None:
                text = f"{error}, but an earlier attempt may still take effect"
                raise RpcError("unknown_outcome", text) from error
            raise
        return dict(answer)


class Transaction:
    """An open interactive transaction. Nothing of it is asked twice: where `commit` got no answer
    nobody knows, where anything else failed nothing happened (its lease ends by itself)."""

    def __init__(self, clock: Clock, client: Client, lease: int, deadline_s: float) -> None:
        self._clock = clock
        self._client = client
        self._lease = lease
        self._deadline_s = deadline_s

    async def execute(self, sql: str, *params: Any) -> dict[str, Any]:
        """One statement's result: it sees what the transaction did. Raises RpcError."""
        return dict(await self._call(words.EXECUTE, sql, list(params)))

    async def commit(self) -> Written:
        """Raises RpcError."""
        return Written.from_wire(await self._call(words.COMMIT))

    async def _call(self, method: str, *params: Any) -> Any:
        left_s = self._deadline_s - self._clock.monotonic_s()
        return await self._client.call(method, self._lease, *params, timeout_s=left_s)
