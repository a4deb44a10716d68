"""The asking side of a database tier: finds the primary, follows redirects,
retries with request ids.

A timeout is an unknown outcome: it is retried only where the request id makes that safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trio

from nodes.base import RPC_PORT, Context
from nodes.client import Client
from nodes.directory import Directory, TierView
from nodes.wire import current_call
from protocols import database as words
from protocols.database import Rows, Written
from protocols.errors import RpcError

DEFAULT_TIMEOUT_S: Final = 5.0
RETRY_S: Final = 0.05
ATTEMPT_S: Final = 1.0
ELSEWHERE: Final = frozenset(
    {"not_primary", "unavailable", "disconnected", "timeout", "unknown_outcome"}
)
"""Worth asking another member, or again: every write carries a request id."""


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
        self.ctx = ctx
        self._nursery = nursery
        self._directory = directory
        self._tier = tier
        self._replicas = replicas
        self._linearizable = linearizable
        self._max_lag_ms = max_lag_ms
        self._rng = ctx.rng(f"database-client/{tier}")
        self._clients: dict[str, Client] = {}
        self._view: TierView | None = None
        self._primary = ""

    async def start(self) -> None:
        """Learn the members; later calls follow them."""
        self._view = await self._directory.follow(self._tier)

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

    async def _ask(
        self, method: str, params: list[Any], timeout_s: float, *, anywhere: bool
    ) -> dict[str, Any]:
        """Try members until one answers, the time is over, or the answer is final."""
        clock = self.ctx.clock
        deadline_s = clock.monotonic_s() + timeout_s
        parent = current_call.get()
        if parent is not None and parent.deadline_s is not None:
            deadline_s = min(deadline_s, parent.deadline_s)
        tried: list[str] = []
        unknown: RpcError | None = None
        while True:
            name = self._choose(tried, anywhere)
            left_s = deadline_s - clock.monotonic_s()
            try:
                if not name:
                    raise RpcError("unavailable", f"tier {self._tier} has no members")
                answer = await self._client(name).call(
                    method, *params, timeout_s=min(left_s, max(ATTEMPT_S, left_s / 3))
                )
                if not anywhere:
                    self._primary = name
                return dict(answer)
            except RpcError as error:
                if error.code not in ELSEWHERE:
                    if unknown is not None and method == words.WRITE and error.definite:
                        text = f"{error}, but an earlier attempt may still take effect"
                        raise RpcError("unknown_outcome", text) from error
                    raise
                unknown = error if not error.definite else unknown
                last = error
            tried.append(name)
            self._primary = self._hint(last, tried)
            if (
                self._primary == ""
                and self._view is not None
                and len(tried) >= len(self._view.members)
            ):
                tried.clear()
                if deadline_s - clock.monotonic_s() <= 2 * RETRY_S:
                    raise unknown or last
                await clock.sleep(RETRY_S * (0.5 + self._rng.random()))
            if deadline_s - clock.monotonic_s() <= 0.005:
                raise unknown or last

    def _hint(self, error: RpcError, tried: list[str]) -> str:
        """Where the refusal sends us, unless we were there already."""
        if error.code == "not_primary" and error.details:
            name = error.details[0]
            if isinstance(name, str) and name not in tried:
                return name
        return ""

    def _choose(self, tried: list[str], anywhere: bool) -> str:
        if self._primary and not anywhere and self._primary not in tried:
            return self._primary
        members = [each.name for each in self._view.members] if self._view is not None else []
        fresh = [name for name in members if name not in tried]
        return self._rng.choice(fresh or members) if members else ""

    def _client(self, name: str) -> Client:
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = Client(self.ctx, self._nursery, name, RPC_PORT)
        return client
