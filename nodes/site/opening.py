"""Finding the stores and services that a tier `uses`, by their kinds, for whoever runs the site's
functions: web servers and workers. What is asked of them is not here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from nodes.base import Context
from nodes.cache.client import CacheClient
from nodes.kv.client import KvClient
from nodes.parts.breaker import State
from nodes.parts.stores import (
    CACHE_KINDS,
    DATABASE_KINDS,
    GUTTER_KINDS,
    KV_KINDS,
    QUEUE_KINDS,
)
from nodes.queue.client import QueueClient
from nodes.site.app import Services
from nodes.site.cached import CachedRecords, CachedSessions
from nodes.site.errands import Errands
from nodes.site.kv_records import KvRecords, KvSessions
from nodes.site.photos import Photos
from nodes.site.service import Site
from nodes.site.sessions import LocalSessions, SharedSessions
from nodes.site.sql_records import SqlRecords
from nodes.site.store import BreakingStore, Store
from nodes.sql.client import DatabaseClient
from nodes.wire.directory import Directory, TierView
from protocols.errors import RpcError

OpenStore = Callable[[Context, trio.Nursery, Directory, str], Awaitable[Store]]
"""Given a database tier's name ("": none is used), make its client."""


async def open_client(
    ctx: Context, nursery: trio.Nursery, directory: Directory, tier: str, *, replicas: bool = False
) -> Store:
    """The database tier's client."""
    client = DatabaseClient(ctx, nursery, directory, tier, replicas=replicas)
    await client.start()
    return client


class Opening:
    """The site and the services of one node, `unavailable` until `open` has found what they use."""

    def __init__(
        self,
        ctx: Context,
        uses: Sequence[str],
        open_store: OpenStore,
        *,
        shared_sessions: bool = False,
        timeout_s: float = 5.0,
        shard_timeout_s: float = 0.5,
    ) -> None:
        self.site = Site(ctx)
        self.services = Services(ctx, LateStore(self.site), self.site)
        self.database = ""
        """The tier that has the site's people and posts; "": this node itself."""
        self._ctx = ctx
        self._uses = tuple(uses)
        self._open_store = open_store
        self._shared_sessions = shared_sessions
        self._timeout_s = timeout_s
        self._shard_timeout_s = shard_timeout_s
        self._breaking: BreakingStore | None = None

    @property
    def store_answers(self) -> bool:
        """Whether it did when it was last asked."""
        return self._breaking is None or self._breaking.breaker.state is not State.OPEN

    async def open(self, nursery: trio.Nursery, directory: Directory) -> None:
        """Find the tiers in `uses`, by their kinds, and begin to follow them."""
        ctx, uses, services = self._ctx, self._uses, self.services
        self.database = await find_tier(directory, uses, (*DATABASE_KINDS, *KV_KINDS))
        in_kv = self.database and await find_tier(directory, (self.database,), KV_KINDS)
        if in_kv:
            services.kv = KvClient(ctx, nursery, directory, self.database)
            self._keep_in_kv(services.kv)
        else:
            await self._keep_in_database(nursery, directory)
        cache_tier = await find_tier(directory, uses, CACHE_KINDS)
        if cache_tier:
            gutter = await find_tier(directory, uses, GUTTER_KINDS)
            services.cache = CacheClient(ctx, nursery, directory, cache_tier, gutter)
            await services.cache.start()
            self._keep_in_cache(services.cache)
        kv_tier = "" if services.kv is not None else await find_tier(directory, uses, KV_KINDS)
        if kv_tier:
            services.kv = KvClient(ctx, nursery, directory, kv_tier)
        queue_tier = await find_tier(directory, uses, QUEUE_KINDS)
        if queue_tier:
            services.queue = QueueClient(ctx, nursery, directory, queue_tier)
            if self.database and not in_kv:
                photos = Photos(ctx, lambda: self.site.store)
                self.site.errands = Errands(ctx, services.queue, photos)

    async def _keep_in_database(self, nursery: trio.Nursery, directory: Directory) -> None:
        ctx = self._ctx
        store = await self._open_store(ctx, nursery, directory, self.database)
        self._breaking = BreakingStore(store, ctx.clock)
        self.site.store = self._breaking
        rng = ctx.rng("sessions")
        if self._shared_sessions:
            self.site.sessions = SharedSessions(self._breaking, ctx.clock, rng)
        else:
            self.site.sessions = LocalSessions(rng)

    def _keep_in_cache(self, cache: CacheClient) -> None:
        """What is read of a database is looked up there first. (A kv tier tells no log.)"""
        site = self.site
        if self.database and isinstance(site.records, SqlRecords):
            site.records.made_old = lambda keys, lsn: cache.delete(*keys, lsn=lsn)
            site.records = CachedRecords(site.records, cache)
        if self._shared_sessions and site.sessions is not None:
            site.sessions = CachedSessions(site.sessions, cache)

    def _keep_in_kv(self, client: KvClient) -> None:
        self.site.records = KvRecords(
            self._ctx, client, timeout_s=self._timeout_s, shard_timeout_s=self._shard_timeout_s
        )
        if self._shared_sessions:
            self.site.sessions = KvSessions(client, timeout_s=self._timeout_s)
        else:
            self.site.sessions = LocalSessions(self._ctx.rng("sessions"))


async def find_tier(directory: Directory, uses: tuple[str, ...], kinds: tuple[str, ...]) -> str:
    """The first of the tiers in `uses` whose members are of one of `kinds`; "" if none is.

    Waits until every tier in `uses` has at least one member.
    """
    for tier in uses:
        view: TierView = await directory.follow(tier)
        while not view.members:
            await view.changed.wait()
        if view.members[0].kind in kinds:
            return tier
    return ""


class LateStore:
    """A database as an app or a job sees it: whichever the site has by now."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def query(self, sql: str, *params: Any, token: int | None = None) -> Any:
        return await self._site.store.query(sql, *params, token=token)

    async def write(self, statements: Any, *, request_id: str) -> Any:
        return await self._site.store.write(statements, request_id=request_id)


async def no_store(ctx: Context, nursery: trio.Nursery, directory: Directory, tier: str) -> Store:
    """The database tier's client, or a store that says that there is none."""
    return await open_client(ctx, nursery, directory, tier) if tier else NoStore()


class NoStore:
    """For who uses no database."""

    async def query(self, sql: str, *params: Any, token: int | None = None) -> Any:
        raise RpcError("refused", "no database is used here: name one in `uses`")

    async def write(self, statements: Any, *, request_id: str) -> Any:
        raise RpcError("refused", "no database is used here: name one in `uses`")
