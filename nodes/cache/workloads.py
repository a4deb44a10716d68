"""Workloads on a cache and its database: rows that are written there and looked up here.

Every write gives its key the next version, names the key in its transaction, and deletes it after
the commit. Reads look aside, or through the cache where it can read rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from nodes.cache.client import CacheClient
from nodes.cache.judged import CACHED, READ, WRITE
from nodes.parts.lives import of_this_run
from nodes.replica.client import GroupClient
from nodes.workloads.base import KeyRing, Session, Setting, Step, Workload
from protocols import database as database_words
from protocols.database import OLD_KEYS_TABLE, old_keys_statements
from protocols.errors import RpcError

TABLE: Final = "cached"
MAKE: Final = f"CREATE TABLE IF NOT EXISTS {TABLE} (k TEXT NOT NULL PRIMARY KEY, v INTEGER)"
NEXT: Final = (
    f"INSERT INTO {TABLE} VALUES (?, 1) ON CONFLICT (k) DO UPDATE SET v = v + 1 RETURNING v"
)
SELECT: Final = f"SELECT k, v FROM {TABLE} WHERE k = ?"
POPULAR_KEYS: Final = 1000
FORGETTING: Final = 0.1
"""So many writers end between their commit and the delete: then only the log tells, or time."""
SLACK: Final = 1.02
"""Clocks that count how old something is may run so much slower than others."""


class LookAside:
    """Reads through CacheClient.fetch, writes with a delete after the commit."""

    model = CACHED
    guarantee = ""
    writes_ratio = 0.2

    def __init__(self, setting: Setting) -> None:
        ctx, options = setting.ctx, setting.options
        self.options = options
        self.name = of_this_run(ctx, f"{ctx.name}.{ctx.generation}")
        self.keys = KeyRing(f"{of_this_run(ctx, ctx.tier)}-k", options, ctx, self.model)
        self._setting = setting
        self._cache: CacheClient | None = None
        self._database: GroupClient | None = None
        self._requests = 0
        self._rng = ctx.rng("writers")
        self._promise: list[Any] = []

    async def prepare(self) -> None:
        if self._cache is None:
            await self._find()
        assert self._cache is not None
        statements = [[MAKE], [OLD_KEYS_TABLE]]
        await self._write(statements, f"{self.options.asks}-{self.model}")
        max_age_s, is_strict = await self._cache.promised()
        self._promise = [max_age_s * SLACK, is_strict]

    async def _find(self) -> None:
        ctx, nursery, directory, options = self._setting
        gutter = ""
        for tier in options.uses:
            view = await directory.follow(tier)
            while not view.members:
                await view.changed.wait()
            kind = view.members[0].kind
            if kind == "database":
                self._database = GroupClient(ctx, nursery, directory, tier)
            elif kind == "cache_gutter":
                gutter = tier
        if self._database is None:
            raise ValueError("this workload needs the cache's database: name it in `uses`")
        self._cache = CacheClient(ctx, nursery, directory, options.asks, gutter)
        await self._cache.start()

    def next(self, rng: random.Random, number: int) -> Step:
        key = self.keys.choose(rng, number)
        if rng.random() < self.writes_ratio:
            return Step(WRITE, key)
        return Step(READ, key, self._promise)

    async def do(self, step: Step, session: Session) -> Any:
        if step.f == WRITE:
            return await self._write_next(step.key)
        return await self._read(step.key)

    async def _read(self, key: str) -> int:
        """The version; 0: there is none."""
        assert self._cache is not None

        async def load(lsn: int) -> Any:
            return await self._row(key, lsn)

        row = await self._cache.fetch(f"{TABLE}/{key}", load)
        return int(row["v"]) if row is not None else 0

    async def _row(self, key: str, lsn: int) -> dict[str, Any] | None:
        """At any member that has the write `lsn`; where none is named, at the primary."""
        assert self._database is not None
        options: dict[str, Any] = {"min_lsn": lsn} if lsn else {"primary": True}
        answer = await self._database.ask(
            database_words.QUERY, SELECT, [key], options,
            timeout_s=self.options.timeout_s, anywhere=bool(lsn),
        )  # fmt: skip
        rows = answer["rows"]
        return {"k": rows[0][0], "v": rows[0][1]} if rows else None

    async def _write_next(self, key: str) -> list[Any]:
        """The version that it got, and whether its deletes are confirmed."""
        assert self._cache is not None
        self._requests += 1
        cached = f"{TABLE}/{key}"
        forgets = self._rng.random() < FORGETTING
        statements = [[NEXT, [key]], *old_keys_statements([cached])]
        written = await self._write(statements, f"{self.name}-{self._requests}")
        confirmed = not forgets and await self._cache.delete(cached, lsn=written["lsn"])
        return [written["results"][0]["rows"][0][0], confirmed]

    async def _write(self, statements: Sequence[Any], request_id: str) -> dict[str, Any]:
        assert self._database is not None
        options = {"request_id": request_id}
        timeout_s = self.options.timeout_s
        try:
            answer = await self._database.ask(
                database_words.WRITE, list(statements), options, timeout_s=timeout_s
            )
        except RpcError as error:
            if error.definite and error.__cause__ is not None:
                raise RpcError("unknown_outcome", str(error)) from error
            raise
        return dict(answer)

    def final_reads(self) -> Sequence[Step]:
        return [Step(READ, key, self._promise) for key in self.keys.used]


class ReadThrough(LookAside):
    """Reads through the cache itself, which has `rows: {cached: k}`; half of them look aside."""

    async def _read(self, key: str) -> int:
        if self._rng.random() < 0.5:
            return await super()._read(key)
        assert self._cache is not None
        row = await self._cache.read(f"{TABLE}/{key}")
        return int(row["v"]) if row is not None else 0


class Popular(LookAside):
    """Reads of a thousand keys, some of them much wanted (Zipf). The table has none of them: that
    there is nothing is what the cache keeps."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._keys = [f"z{number}" for number in range(POPULAR_KEYS)]
        self._weights = list(accumulate(1 / (rank + 1) for rank in range(POPULAR_KEYS)))

    def next(self, rng: random.Random, number: int) -> Step:
        (key,) = rng.choices(self._keys, cum_weights=self._weights)
        return Step(READ, key, self._promise)

    def final_reads(self) -> Sequence[Step]:
        return []


WORKLOADS: Final[Mapping[str, Callable[[Setting], Workload]]] = {
    "lookaside": LookAside,
    "readthrough": ReadThrough,
    "popular": Popular,
}
