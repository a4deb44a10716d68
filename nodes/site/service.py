"""What the site does, as plain functions over Records: any web page or RPC method is one of these.

They take and give plain values (JSON and MessagePack alike) and raise RpcError. No HTTP here.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final

import trio

from nodes.base import Context
from nodes.site.errands import Errands
from nodes.site.records import Records
from nodes.site.sessions import Sessions, new_id
from nodes.site.sql_records import GONE_SCHEMA, SHOWN_POSTS, SqlRecords
from nodes.site.store import Store
from protocols.database import Rows
from protocols.errors import RpcError

MAX_LIMIT: Final = 100
MAX_TEXT_CHARS: Final = 500
MAX_ID_CHARS: Final = 64
MAX_NAME_CHARS: Final = 40
MAX_IDS: Final = 500
PREPARE_PAUSE_S: Final = 0.2
PREPARE_MOST_S: Final = 2.0
EVENTS: Final = {
    "site ready": "A web server has its tables, or found them, and shows pages.",
    "job waits": "A worker's job waits while its database is away: it has not failed.",
    "site not prepared": "A web server cannot make its tables yet; it tries again.",
}


class NotReadyStore:
    """Stands in until the real store is known."""

    async def query(self, statement: str, *params: Any, token: int | None = None) -> Rows:
        raise RpcError("unavailable", "the database has not been reached yet")

    async def write(self, statements: Any, *, request_id: str) -> Any:
        raise RpcError("unavailable", "the database has not been reached yet")


class Site:
    """The site's functions. `prepare_forever` makes the tables; until then all is `unavailable`."""

    def __init__(self, ctx: Context, store: Store | None = None) -> None:
        self.ctx = ctx
        self.store: Store = store or NotReadyStore()
        """The SQL database, where there is one."""
        self.sessions: Sessions | None = None
        self.ready = False
        self.prepared = trio.Event()
        """Set for good when it is ready for the first time."""
        self.errands: Errands | None = None
        """What it has workers do, where it uses a queue."""
        self.records: Records = SqlRecords(ctx, self.ctx.rng("site"), lambda: self.store)
        self._wanted = trio.Event()
        self._lost_once = False
        self._asking = _Asking(self)

    # --- tables ------------------------------------------------------------------------------

    async def prepare_forever(self) -> None:
        """Make the tables and the demo people, again whenever a failover has lost them."""
        while True:
            pause_s = PREPARE_PAUSE_S
            while not self.ready:
                try:
                    await self._prepare()
                except RpcError as error:
                    self.ctx.log.debug("site not prepared", why=str(error))
                    await self.ctx.clock.sleep(self.ctx.rng("site").uniform(pause_s / 2, pause_s))
                    pause_s = min(PREPARE_MOST_S, pause_s * 1.5)
                else:
                    self.ready = True
                    self.prepared.set()
                    self.ctx.log.info("site ready")
            self._wanted = trio.Event()
            await self._wanted.wait()

    async def _prepare(self) -> None:
        attempt = new_id(self.ctx.rng("site")) if self._lost_once else ""
        await self.records.prepare(attempt)
        if self.errands is not None:
            await self.errands.prepare(attempt)

    def lost(self) -> None:
        """The tables are gone (a failover cut them off): make them anew."""
        self.ready = False
        self._lost_once = True
        self._wanted.set()

    # --- reading -----------------------------------------------------------------------------

    async def home(self, token: int | None = None) -> dict[str, Any]:
        """The newest posts of all, and the people."""
        with self._asking:
            return {"node": self.ctx.name, **await self.records.home(token)}

    async def profile(self, name: str, token: int | None = None) -> dict[str, Any]:
        """One person and what they posted. Raises not_found."""
        _check_text("name", name, MAX_NAME_CHARS)
        with self._asking:
            person = await self.records.profile(name, SHOWN_POSTS, token)
        if person is None:
            raise RpcError("not_found", f"nobody is called {name[:40]}")
        return person

    async def timeline(
        self, user: str, limit: int = SHOWN_POSTS, token: int | None = None
    ) -> dict[str, Any]:
        """The newest posts of those whom `user` follows."""
        _check_text("user", user, MAX_NAME_CHARS)
        limit = _limit(limit)
        with self._asking:
            return {"user": user, **await self.records.timeline(user, limit, token)}

    async def search(
        self, text: str, limit: int = SHOWN_POSTS, token: int | None = None
    ) -> dict[str, Any]:
        """People, and posts (among the newest 2,000), that contain `text`; where workers keep an
        index, the posts of all that have every word of it."""
        _check_text("q", text, MAX_TEXT_CHARS)
        limit = _limit(limit)
        with self._asking:
            found = await self.records.search(text, limit, token, posts=self.errands is None)
            if self.errands is not None:
                found["posts"] = await self.errands.photos.search(text, limit, token)
            return {"q": text, **found}

    async def get_post(self, post: str, token: int | None = None) -> dict[str, Any]:
        """One post by its id. Raises not_found."""
        _check_text("id", post, MAX_ID_CHARS)
        with self._asking:
            found = await self.records.get_post(post, token)
        if found is None:
            raise RpcError("not_found", f"there is no post {post}")
        return found

    async def count_posts(self, ids: list[str], token: int | None = None) -> dict[str, Any]:
        """How often each of these post ids is stored: 1 is right, 0 is lost, 2 is doubled."""
        unique = _checked_ids(ids)
        with self._asking:
            found = await self.records.count_posts(unique, token)
        return {"counts": {each: found.get(each, 0) for each in unique}}

    # --- writing -----------------------------------------------------------------------------

    async def post(self, author: str, text: str, post: str = "") -> dict[str, Any]:
        """Publish. `post` is the client's unique id: the same id again is the same post.

        `token` in the answer makes later reads include this write.
        """
        _check_text("author", author, MAX_NAME_CHARS)
        _check_text("text", text, MAX_TEXT_CHARS)
        post = post or new_id(self.ctx.rng("site"))
        _check_text("id", post, MAX_ID_CHARS)
        posted_s = self.ctx.clock.wall_s()
        with self._asking:
            token = await self.records.add_post(author, text, post, posted_s)
            if self.errands is not None:
                await self.errands.tell_followers(author, post)
        return {"id": post, "author": author, "posted_s": posted_s, "token": token}

    # --- photos, and what followers are told ---------------------------------------------------

    async def upload(self, owner: str, data: bytes, photo: str = "") -> dict[str, Any]:
        """Take a photo (a PNG), and have it made smaller later. `photo` is the client's unique id:
        the same id again is the same photo."""
        _check_text("owner", owner, MAX_NAME_CHARS)
        photo = photo or new_id(self.ctx.rng("site"))
        _check_text("id", photo, MAX_ID_CHARS)
        with self._asking:
            return await self._errands().take_photo(owner, photo, data)

    async def photo(self, photo: str, token: int | None = None) -> dict[str, Any]:
        """One photo, and how far its job is: queued, worked on, done, given up. Raises
        not_found."""
        _check_text("id", photo, MAX_ID_CHARS)
        with self._asking:
            found = await self._errands().photo(photo, token)
        if found is None:
            raise RpcError("not_found", f"there is no photo {photo}")
        return found

    async def photos(self, token: int | None = None) -> dict[str, Any]:
        """The newest that are done."""
        with self._asking:
            return {"photos": await self._errands().photos.newest(token)}

    async def photo_content(self, photo: str, size: str) -> bytes:
        """Its PNG in one of its sizes, or `original`. Raises not_found."""
        _check_text("id", photo, MAX_ID_CHARS)
        with self._asking:
            found = await self._errands().photos.content(photo, size)
        if found is None:
            raise RpcError("not_found", f"there is no photo {photo} in size {size[:20]} (yet)")
        return found

    async def count_photos(self, ids: list[str], token: int | None = None) -> dict[str, Any]:
        """Which of these photos are stored: 1, or 0."""
        unique = _checked_ids(ids)
        with self._asking:
            found = await self._errands().photos.count(unique, token)
        return {"counts": {each: found.get(each, 0) for each in unique}}

    async def notices(self, user: str, token: int | None = None) -> dict[str, Any]:
        """What `user` was told of those whom they follow, the newest first."""
        _check_text("user", user, MAX_NAME_CHARS)
        with self._asking:
            return {"user": user, "notices": await self._errands().photos.notices(user, token)}

    def _errands(self) -> Errands:
        if self.errands is None:
            raise RpcError(
                "refused", "photos need a queue and a SQL database: name both in the web tier's"
                " `uses`, and add a tier of `kind: worker`",
            )  # fmt: skip
        return self.errands

    # --- sessions ----------------------------------------------------------------------------

    async def login(self, name: str) -> dict[str, Any]:
        """Begin a session for a known person."""
        _check_text("name", name, MAX_NAME_CHARS)
        with self._asking:
            if not await self.records.has_person(name):
                raise RpcError("not_found", f"nobody is called {name}")
        return {"session": await self._sessions().begin(name), "name": name}

    async def logout(self, session: str) -> None:
        await self._sessions().end(session)

    async def session_user(self, session: str) -> str | None:
        """Whose session it is; None when nobody knows it (any more)."""
        if not session or len(session) > MAX_ID_CHARS:
            return None
        return await self._sessions().user(session)

    def _sessions(self) -> Sessions:
        if self.sessions is None:
            raise RpcError("unavailable", "sessions are not ready yet")
        return self.sessions


class _Asking:
    """Around every question to the store. (A class: a generator costs several times as much.)"""

    __slots__ = ("_site",)

    def __init__(self, site: Site) -> None:
        self._site = site

    def __enter__(self) -> None:
        if not self._site.ready:
            raise RpcError("unavailable", "the site is being prepared: its database is away")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, RpcError) and GONE_SCHEMA in error.message:
            self._site.lost()
            raise RpcError("unavailable", "the tables are being made again") from error


def _check_text(name: str, value: Any, most_chars: int) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= most_chars or "\x00" in value:
        raise RpcError("bad_request", f"{name}: a text of 1 to {most_chars} characters")


def _checked_ids(ids: Any) -> list[str]:
    """Each once."""
    if not isinstance(ids, list) or not 0 < len(ids) <= MAX_IDS:
        raise RpcError("bad_request", f"ids: a list of 1 to {MAX_IDS}")
    for each in ids:
        _check_text("id", each, MAX_ID_CHARS)
    return list(dict.fromkeys(ids))


def _limit(limit: Any) -> int:
    if not isinstance(limit, int) or not 0 < limit <= MAX_LIMIT:
        raise RpcError("bad_request", f"limit: 1 to {MAX_LIMIT}")
    return limit
