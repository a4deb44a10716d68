"""The site's people and posts in a SQL database: each page is a statement of store.py."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from nodes.base import Context
from nodes.site import store as sql
from nodes.site.sessions import new_id
from nodes.site.store import Statement, Store
from protocols.database import FORGET_OLD_KEYS
from protocols.errors import RpcError

GONE_SCHEMA: Final = "no such table"
HOME_POSTS: Final = 8
HOME_PEOPLE: Final = 12
SHOWN_POSTS: Final = 20
"""Of a person or a timeline, on their pages."""
HOME_KEY: Final = "home"


def profile_key(name: str) -> str:
    return f"profile:{name}"


def timeline_key(user: str) -> str:
    return f"timeline:{user}"


def post_key(post: str) -> str:
    return f"post:{post}"


MadeOld = Callable[[list[str], int], Awaitable[object]]
"""Told which keys of a cache a commit made old, and its token."""


class SqlRecords:
    """Records over whatever `store()` is just now."""

    def __init__(self, ctx: Context, rng: random.Random, store: Callable[[], Store]) -> None:
        self._ctx = ctx
        self._rng = rng
        self._store = store
        self.made_old: MadeOld | None = None
        """Where the site uses a cache."""

    async def prepare(self, attempt: str) -> None:
        store = self._store()
        try:
            if (await store.query(sql.IS_SEEDED, sql.SEED_MARK)).rows:
                return
        except RpcError as error:
            if GONE_SCHEMA not in error.message:
                raise
        tables: list[Statement] = [[statement, []] for statement in sql.TABLES]
        await store.write(tables, request_id=sql.SCHEMA_REQUEST + attempt)
        statements = sql.seed_statements(self._ctx.clock.wall_s())
        try:
            await store.write(statements, request_id=sql.SEED_REQUEST + attempt)
        except RpcError as error:
            if error.code != "refused":  # refused: another web node has been faster
                raise

    async def _rows(self, statement: str, *params: Any, token: int | None) -> list[list[Any]]:
        return (await self._store().query(statement, *params, token=token)).rows

    # --- reading -----------------------------------------------------------------------------

    async def home(self, token: int | None) -> dict[str, Any]:
        return _page(await self._rows(sql.HOME, HOME_POSTS, HOME_PEOPLE, token=token))

    async def profile(self, name: str, posts: int, token: int | None) -> dict[str, Any] | None:
        rows = await self._rows(sql.PROFILE, name, name, posts, token=token)
        if not rows or rows[0][4] is None:
            return None
        keys = ("name", "full_name", "about", "joined_s", "followers", "following")
        person = dict(zip(keys, rows[0], strict=True))
        found = [[row[0], name, person["full_name"], row[2], row[3]] for row in rows[1:]]
        return {**person, "posts": _posts(found)}

    async def timeline(self, user: str, limit: int, token: int | None) -> dict[str, Any]:
        """A join of three tables."""
        posts = await self._rows(sql.TIMELINE, limit - 1, user, limit, token=token)
        return {"posts": _posts(posts)}

    async def search(
        self, text: str, limit: int, token: int | None, *, posts: bool = True
    ) -> dict[str, Any]:
        pattern = sql.like(text)
        people = (pattern, pattern, limit)
        if posts:
            return _page(await self._rows(sql.SEARCH, pattern, limit, *people, token=token))
        rows = await self._rows(sql.SEARCH_PEOPLE, *people, token=token)
        return {"posts": [], "people": _people(rows)}

    async def get_post(self, post: str, token: int | None) -> dict[str, Any] | None:
        rows = await self._rows(sql.ONE_POST, post, token=token)
        return _posts(rows)[0] if rows else None

    async def count_posts(self, ids: list[str], token: int | None) -> dict[str, int]:
        rows = await self._rows(sql.count_posts(len(ids)), *ids, token=token)
        return {str(each): int(count) for each, count in rows}

    async def has_person(self, name: str) -> bool:
        return bool(await self._rows(sql.HAS_USER, name, token=None))

    # --- writing -----------------------------------------------------------------------------

    async def add_post(self, author: str, text: str, post: str, posted_s: float) -> int:
        add: Statement = [sql.ADD_POST, [new_id(self._rng), post, author, text, posted_s]]
        statements = [add]
        if self.made_old is not None:
            keys = [HOME_KEY, profile_key(author), post_key(post)]
            statements += [[sql.MAKE_OLD, [timeline_key(""), author, *keys]], [FORGET_OLD_KEYS]]
        request_id = f"post-{post}"
        written = await sql.write_of(self._store(), author, statements, request_id=request_id)
        if self.made_old is not None:
            await self.made_old([str(row[0]) for row in written.results[2]["rows"]], written.lsn)
        return written.lsn


def _posts(rows: list[list[Any]]) -> list[dict[str, Any]]:
    keys = ("id", "author", "full_name", "text", "posted_s")
    return [dict(zip(keys, row, strict=True)) for row in rows]


def _page(rows: list[list[Any]]) -> dict[str, Any]:
    """Posts and people, of one statement."""
    posts = [row for row in rows if row[4] is not None]
    people = [[row[0], row[2], row[3]] for row in rows[len(posts) :]]
    return {"posts": _posts(posts), "people": _people(people)}


def _people(rows: list[list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(("name", "full_name", "about"), row, strict=True)) for row in rows]
