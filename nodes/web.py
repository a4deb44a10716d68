"""The web tier: stateless nodes that serve the site over HTTP and MessagePack-RPC on one port.

This module finds the database; the site itself is in nodes/site/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import trio

from nodes.base import HTTP_PORT, Context
from nodes.kind import HTTP, Kind, Mistake, TierSeen
from nodes.parts.deploying import DEPLOY
from nodes.parts.stores import DATABASE_KINDS, QUEUE_KINDS, first_store, misread
from nodes.parts.timing import move_on_after
from nodes.replica.kind import DAMAGED
from nodes.site import app as apps
from nodes.site.opening import Opening, OpenStore, open_client
from nodes.site.routes import Routes
from nodes.site.service import Site
from nodes.site.store import Store
from nodes.sql.local import LocalDatabase
from nodes.wire.accepting import accept_forever
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory
from nodes.wire.front import Front
from nodes.wire.http_server import Endpoint, HttpLimits, HttpService
from nodes.wire.service import Call, Service
from protocols import rpc
from protocols.http import message as http
from protocols.http.message import Request

START_WAIT_S: Final = 0.25
"""So long it waits for its store before it serves; who connects meanwhile waits too."""
LEAST_TIMEOUT_S: Final = 0.001
LEAST_HEAD_BYTES: Final = 512
"""The site's own users send as much, with a cookie and where they ask from."""


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What a web tier may be told. Times are seconds, sizes bytes."""

    uses: tuple[str, ...] = ()
    """Tiers whose services it calls, by their kinds. The first that is a database or a kv tier has
    the site's people and posts; without any it keeps a local database: `uses: db`."""
    reads: Literal["primary", "replicas"] = "primary"
    """Where pages read a replicated database. At replicas a user still sees its own writes, by
    their token; others' may be a moment old."""
    sessions: Literal["local", "shared"] = "local"
    """Where who is logged in is kept: in this server's memory (`local`), or in the store, for all
    servers."""
    app: str = ""
    """A function to serve in place of the built-in site: `app: mysite:app`."""
    timeout_s: float = 5.0
    """The time a request may take here, database included."""
    shard_timeout_s: float = 0.5
    """With a kv tier: a page waits so long for a shard, then is shown without what that one has."""
    max_in_flight: int = 512
    """Requests in hand; further ones are answered 503."""
    max_body_bytes: int = 1 << 20
    """Of a request; a larger one is answered 413."""
    max_head_bytes: int = 16384
    """Of a request's first line and headers; more is answered 431."""
    idle_timeout_s: float = 60.0
    """A connection without a request is closed after so long."""
    request_timeout_s: float = 10.0
    """A request that is begun must arrive whole within this (408)."""

    def __post_init__(self) -> None:
        for name in ("timeout", "idle_timeout", "request_timeout"):
            if getattr(self, f"{name}_s") < LEAST_TIMEOUT_S:
                raise ValueError(f"`{name}` must be at least {LEAST_TIMEOUT_S * 1000:g}ms")
        if min(self.max_in_flight, self.max_body_bytes) < 1:
            raise ValueError("`max_in_flight` and `max_body` must be at least 1: 0 lets nothing in")
        if self.max_head_bytes < LEAST_HEAD_BYTES:
            raise ValueError(f"`max_head` must be at least {LEAST_HEAD_BYTES} bytes")

    def http_limits(self) -> HttpLimits:
        connection = http.Limits(
            max_head_bytes=self.max_head_bytes,
            max_body_bytes=self.max_body_bytes,
            idle_timeout_s=self.idle_timeout_s,
            request_timeout_s=self.request_timeout_s,
        )
        return HttpLimits(connection, self.max_in_flight, self.timeout_s)


class WebNode:
    """One web server. It serves soon, and answers 503 until its store is reachable."""

    def __init__(
        self, ctx: Context, config: WebConfig, *, open_store: OpenStore | None = None
    ) -> None:
        self.ctx = ctx
        self.config = config
        self.opening = Opening(
            ctx,
            config.uses,
            open_store or partial(_open_store, replicas=config.reads == "replicas"),
            shared_sessions=config.sessions == "shared",
            timeout_s=config.timeout_s,
            shard_timeout_s=config.shard_timeout_s,
        )
        self.site = self.opening.site
        self.routes = Routes(
            ctx,
            self.site,
            database=lambda: self.opening.database,
            store_ready=lambda: self.opening.store_answers,
        )
        self.http = HttpService(
            ctx,
            self._find(),
            limits=config.http_limits(),
            render_error=self.routes.render_error,
        )
        self.rpc = Service(ctx, limits=rpc.Limits(idle_timeout_s=config.idle_timeout_s))
        add_methods(self.rpc, self.site)
        self.front = Front(ctx, self.http, self.rpc)

    def _find(self) -> Callable[[Request], Endpoint]:
        if not self.config.app:
            return self.routes.find
        endpoint = apps.endpoint(apps.load(self.config.app, apps.check), self.opening.services)
        return lambda request: endpoint

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        sessions = self.site.sessions
        return {
            "sessions": sessions.count() if sessions is not None else 0,
            "connections": self.front.connections,
            "in_flight": self.front.in_flight,
            "database": self.opening.database,
            "store_ready": self.site.ready and self.opening.store_answers,
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
            nursery.start_soon(accept_forever, self.ctx, listener, self.front.serve_stream)
            task_status.started()

    async def _drain(self, call: Call) -> dict[str, int]:
        """Answer what was asked and let every connection end; returns when none is left."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.http.draining.drain)
            nursery.start_soon(self.rpc.draining.drain)
        return {"in_flight": self.front.in_flight}

    async def _prepare(self, nursery: trio.Nursery) -> None:
        """Find the store by the kinds of the tiers in `uses`, then make the site's tables there."""
        await self.opening.open(nursery, Directory(self.ctx, nursery))
        await self.site.prepare_forever()


async def _open_store(
    ctx: Context, nursery: trio.Nursery, directory: Directory, tier: str, *, replicas: bool
) -> Store:
    """The database tier's client, or a database inside this node, on its own disk."""
    if not tier:
        local = LocalDatabase(ctx, nursery)
        await local.start()
        return local
    return await open_client(ctx, nursery, directory, tier, replicas=replicas)


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

    async def upload(call: Call, owner: str, data: bytes, photo: str = "") -> Any:
        return await site.upload(owner, data, photo)

    async def photo(call: Call, photo: str, token: int | None = None) -> Any:
        return await site.photo(photo, token)

    async def photos(call: Call, token: int | None = None) -> Any:
        return await site.photos(token)

    async def photo_content(call: Call, photo: str, size: str) -> Any:
        return await site.photo_content(photo, size)

    async def count_photos(call: Call, ids: list[str], token: int | None = None) -> Any:
        return await site.count_photos(ids, token)

    async def notices(call: Call, user: str, token: int | None = None) -> Any:
        return await site.notices(user, token)

    for handler in (home, profile, timeline, search, get_post, count_posts, post, login, session,
                    upload, photo, photos, photo_content, count_photos, notices):  # fmt: skip
        service.add(f"site.{handler.__name__}", handler)


def _unfit(tier: TierSeen) -> Iterator[Mistake]:
    """All in `uses` is used: the site's photos and notices go to a queue from SQL only."""
    yield from misread(tier)
    queues = any(each.word in QUEUE_KINDS for each in tier.reached["uses"])
    if queues and not tier.config.app and first_store(tier, "uses") not in DATABASE_KINDS:
        told = "the site has work for a queue (photos, notices) only with its people in a database"
        yield Mistake("uses", f"{told}: name that before any kv tier (or an `app` of your own)")


KIND: Final = Kind(
    WebConfig,
    WebNode,
    (HTTP,),
    about="Stateless servers of the site, or of an `app:` of your own, over HTTP and "
    "MessagePack-RPC.",
    example="web: {kind: web, nodes: 3, uses: db, reads: replicas}",
    edges=("uses",),
    visited=True,
    mistakes=_unfit,
    damaged=DAMAGED,
    code={"app": apps.check},
    operations=(DEPLOY,),
)
