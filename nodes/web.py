"""The web tier: stateless nodes that serve the site over HTTP and MessagePack-RPC on one port.

This module tells the protocols apart and finds the database; the site itself is in nodes/site/.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import trio

from nodes.base import HTTP_PORT, Context, Stream
from nodes.kind import HTTP, Kind
from nodes.kv.client import KvClient
from nodes.parts.breaker import State
from nodes.parts.stores import DATABASE_KINDS, KV_KINDS, misread
from nodes.parts.timing import move_on_after
from nodes.replica.kind import DAMAGED
from nodes.site import app as apps
from nodes.site.kv_records import KvRecords, KvSessions
from nodes.site.routes import Routes
from nodes.site.service import Site
from nodes.site.sessions import LocalSessions, SharedSessions
from nodes.site.store import BreakingStore, Store
from nodes.sql.client import DatabaseClient
from nodes.sql.local import LocalDatabase
from nodes.wire.accepting import accept_forever
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory, TierView
from nodes.wire.http_server import Endpoint, HttpLimits, HttpService
from nodes.wire.service import CHUNK_BYTES, Call, Service
from protocols import proxy, rpc
from protocols.http import connection as http
from protocols.http.connection import Request

START_WAIT_S: Final = 0.25
"""So long it waits for its store before it serves; who connects meanwhile waits too."""
FIRST_BYTES_TIMEOUT_S: Final = 10.0
"""A connection that says nothing at all is closed after this."""
MESSAGEPACK_ARRAY: Final = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))
"""First bytes that no HTTP request has: an RPC message is an array."""


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What a web tier may be told. Times are seconds, sizes bytes."""

    uses: tuple[str, ...] = ()
    """Tiers whose services it calls, by their kinds. The first that is a database or a kv tier has
    the site's people and posts; without any it keeps a local database."""
    reads: Literal["primary", "replicas"] = "primary"
    """Where pages read a replicated database. At replicas a user still sees its own writes, by
    their token; others' may be a moment old."""
    sessions: Literal["local", "shared"] = "local"
    app: str = ""
    """`module:function` to serve in place of the built-in site."""
    timeout_s: float = 5.0
    """The time a request may take here, database included."""
    shard_timeout_s: float = 0.5
    """With a kv tier: a page waits so long for a shard, then is shown without what that one has."""
    max_in_flight: int = 512
    """Requests in hand; further ones are answered 503."""
    max_body_bytes: int = 1 << 20
    max_head_bytes: int = 16384
    idle_timeout_s: float = 60.0
    request_timeout_s: float = 10.0
    """A request that is begun must arrive whole within this (408)."""

    def http_limits(self) -> HttpLimits:
        connection = http.Limits(
            max_head_bytes=self.max_head_bytes,
            max_body_bytes=self.max_body_bytes,
            idle_timeout_s=self.idle_timeout_s,
            request_timeout_s=self.request_timeout_s,
        )
        return HttpLimits(connection, self.max_in_flight, self.timeout_s)


OpenStore = Callable[[Context, trio.Nursery, Directory, str], Awaitable[Store]]
"""Given a database tier's name ("": none is used), make its client."""


class WebNode:
    """One web server. It serves soon, and answers 503 until its store is reachable."""

    def __init__(
        self, ctx: Context, config: WebConfig, *, open_store: OpenStore | None = None
    ) -> None:
        self.ctx = ctx
        self.config = config
        self.site = Site(ctx)
        self.database = ""
        self.services: apps.Services | None = None
        """What an app of the user's own gets."""
        self._breaking: BreakingStore | None = None
        self._open_store = open_store or partial(_open_store, replicas=config.reads == "replicas")
        self.routes = Routes(
            ctx, self.site, database=lambda: self.database, store_ready=self._store_answers
        )
        self.http = HttpService(
            ctx,
            self._find(),
            limits=config.http_limits(),
            render_error=self.routes.render_error,
        )
        self.rpc = Service(ctx, limits=rpc.Limits(idle_timeout_s=config.idle_timeout_s))
        add_methods(self.rpc, self.site)

    def _find(self) -> Callable[[Request], Endpoint]:
        if not self.config.app:
            return self.routes.find
        self.services = apps.Services(self.ctx, _LateStore(self.site), self.site)
        endpoint = apps.endpoint(apps.load(self.config.app), self.services)
        return lambda request: endpoint

    def _store_answers(self) -> bool:
        return self._breaking is None or self._breaking.breaker.state is not State.OPEN

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        sessions = self.site.sessions
        return {
            "sessions": sessions.count() if sessions is not None else 0,
            "connections": self.http.draining.connections + self.rpc.draining.connections,
            "in_flight": self.http.in_flight + self.rpc.in_flight,
            "database": self.database,
            "store_ready": self.site.ready and self._store_answers(),
        }

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        admin = Admin(self.ctx, service=self.rpc, facts=self.facts)
        admin.add("drain", self._drain)
        async with trio.open_nursery() as nursery:
            listener = await self.ctx.network.listen(HTTP_PORT)
            nursery.start_soon(admin.listen_and_serve)
            nursery.start_soon(self._prepare, nursery)
            with move_on_after(self.ctx.clock, START_WAIT_S):
                await self.site.prepared.wait()
            nursery.start_soon(accept_forever, self.ctx, listener, self.serve_stream)
            task_status.started()

    async def _drain(self, call: Call) -> dict[str, int]:
        """Answer what was asked and let every connection end; returns when none is left."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.http.draining.drain)
            nursery.start_soon(self.rpc.draining.drain)
        return {"in_flight": self.http.in_flight + self.rpc.in_flight}

    async def _prepare(self, nursery: trio.Nursery) -> None:
        """Find the store by the kinds of the tiers in `uses`, then make the site's tables there."""
        ctx, directory = self.ctx, Directory(self.ctx, nursery)
        uses = self.config.uses
        self.database = await find_tier(directory, uses, (*DATABASE_KINDS, *KV_KINDS))
        if self.services is not None:
            kv_tier = await find_tier(directory, uses, KV_KINDS)
            self.services.kv = KvClient(ctx, nursery, directory, kv_tier) if kv_tier else None
        if self.database and await find_tier(directory, (self.database,), KV_KINDS):
            self._keep_in_kv(KvClient(ctx, nursery, directory, self.database))
        else:
            await self._keep_in_database(nursery, directory)
        await self.site.prepare_forever()

    async def _keep_in_database(self, nursery: trio.Nursery, directory: Directory) -> None:
        ctx = self.ctx
        store = await self._open_store(ctx, nursery, directory, self.database)
        self._breaking = BreakingStore(store, ctx.clock)
        self.site.store = self._breaking
        rng = ctx.rng("sessions")
        if self.config.sessions == "shared":
            self.site.sessions = SharedSessions(self._breaking, ctx.clock, rng)
        else:
            self.site.sessions = LocalSessions(rng)

    def _keep_in_kv(self, client: KvClient) -> None:
        config, timeout_s = self.config, self.config.timeout_s
        self.site.records = KvRecords(
            self.ctx, client, timeout_s=timeout_s, shard_timeout_s=config.shard_timeout_s
        )
        if config.sessions == "shared":
            self.site.sessions = KvSessions(client, timeout_s=timeout_s)
        else:
            self.site.sessions = LocalSessions(self.ctx.rng("sessions"))

    async def serve_stream(self, stream: Stream) -> None:
        """One connection: PROXY v2 or not, then HTTP or MessagePack-RPC, told by the first byte."""
        received, client = b"", ""
        with move_on_after(self.ctx.clock, FIRST_BYTES_TIMEOUT_S) as scope:
            received = bytes(await stream.receive_some(CHUNK_BYTES))
            if received[:1] == proxy.SIGNATURE[:1]:
                header, received = await _read_proxy_header(stream, received)
                client = header.source
                received = received or bytes(await stream.receive_some(CHUNK_BYTES))
        if scope.cancelled_caught or not received:
            return
        if received[0] in MESSAGEPACK_ARRAY:
            await self.rpc.serve_stream(stream, received)
        else:
            await self.http.serve_stream(stream, received, client)


async def _read_proxy_header(stream: Stream, received: bytes) -> tuple[proxy.Header, bytes]:
    """The header and what came after it; a broken one ends the connection."""
    while True:
        try:
            decoded = proxy.decode(received)
        except proxy.RemoteProtocolError:
            return proxy.LOCAL, received  # the HTTP parser says what is wrong with it
        if decoded is not None:
            header, size = decoded
            return header, received[size:]
        data = await stream.receive_some(CHUNK_BYTES)
        if not data:
            return proxy.LOCAL, b""
        received += data


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


async def _open_store(
    ctx: Context, nursery: trio.Nursery, directory: Directory, tier: str, *, replicas: bool
) -> Store:
    """The database tier's client, or a database inside this node, on its own disk."""
    if not tier:
        local = LocalDatabase(ctx, nursery)
        await local.start()
        return local
    client = DatabaseClient(ctx, nursery, directory, tier, replicas=replicas)
    await client.start()
    return client


class _LateStore:
    """An app's database: whichever the site has by now."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def query(self, sql: str, *params: Any, token: int | None = None) -> Any:
        return await self._site.store.query(sql, *params, token=token)

    async def write(self, statements: Any, *, request_id: str) -> Any:
        return await self._site.store.write(statements, request_id=request_id)


def add_methods(service: Service, site: Site) -> None:
    """The site's functions as RPC methods; the last param of a reading one may be a token."""

    async def home(call: Call, token: int | None = None) -> Any:
        return await site.home(token)

    async def profile(call: Call, name: str, token: int | None = None) -> Any:
        return await site.profile(name, token)

    async def timeline(call: Call, user: str, limit: int = 20, token: int | None = None) -> Any:
        return await site.timeline(user, limit, token)

    async def search(call: Call, text: str, limit: int = 20, token: int | None = None) -> Any:
        return await site.search(text, limit, token)

    async def get_post(call: Call, post: str, token: int | None = None) -> Any:
        return await site.get_post(post, token)

    async def count_posts(call: Call, ids: list[str], token: int | None = None) -> Any:
        return await site.count_posts(ids, token)

    async def post(call: Call, author: str, text: str, post: str = "") -> Any:
        return await site.post(author, text, post)

    async def login(call: Call, name: str) -> Any:
        return await site.login(name)

    async def session(call: Call, session: str) -> Any:
        return {"user": await site.session_user(session)}

    for handler in (home, profile, timeline, search, get_post, count_posts, post, login, session):
        service.add(f"site.{handler.__name__}", handler)


KIND: Final = Kind(
    WebConfig,
    WebNode,
    (HTTP,),
    edges=("uses",),
    visited=True,
    mistakes=misread,
    damaged=DAMAGED,
    code={"app": apps.check},
)
