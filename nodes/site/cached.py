"""The site through a cache: pages' data and sessions are looked up there first.

What a write makes old it says in its own transaction (sql_records.py), so that both who wrote and
the database's log can delete it. Pages that nobody can name by a key are not kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from nodes.cache.client import CacheClient
from nodes.site.records import Records
from nodes.site.sessions import Sessions
from nodes.site.sql_records import HOME_KEY, SHOWN_POSTS, post_key, profile_key, timeline_key

SESSION_TTL_S: Final = 600.0

Read = Callable[[int | None], Awaitable[Any]]


class CachedRecords:
    """Records, those of them that pages read most, kept in a cache."""

    def __init__(self, records: Records, cache: CacheClient) -> None:
        self._records = records
        self._cache = cache

    async def _fetch(self, key: str, token: int | None, read: Read) -> Any:
        """`read(token)`. A hit has what its reader wrote: that was deleted before the write was
        answered."""

        async def load(lsn: int) -> Any:
            return await read(max(token or 0, lsn) or None)

        return await self._cache.fetch(key, load)

    async def prepare(self, attempt: str) -> None:
        await self._records.prepare(attempt)

    async def home(self, token: int | None) -> dict[str, Any]:
        return dict(await self._fetch(HOME_KEY, token, self._records.home))

    async def profile(self, name: str, posts: int, token: int | None) -> dict[str, Any] | None:
        if posts != SHOWN_POSTS:
            return await self._records.profile(name, posts, token)
        found: dict[str, Any] | None = await self._fetch(
            profile_key(name), token, lambda seen: self._records.profile(name, posts, seen)
        )
        return found

    async def timeline(self, user: str, limit: int, token: int | None) -> dict[str, Any]:
        if limit != SHOWN_POSTS:
            return await self._records.timeline(user, limit, token)
        return dict(
            await self._fetch(
                timeline_key(user), token, lambda seen: self._records.timeline(user, limit, seen)
            )
        )

    async def search(
        self, text: str, limit: int, token: int | None, *, posts: bool = True
    ) -> dict[str, Any]:
        return await self._records.search(text, limit, token, posts=posts)

    async def get_post(self, post: str, token: int | None) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self._fetch(
            post_key(post), token, lambda seen: self._records.get_post(post, seen)
        )
        return found

    async def count_posts(self, ids: list[str], token: int | None) -> dict[str, int]:
        return await self._records.count_posts(ids, token)

    async def add_post(self, author: str, text: str, post: str, posted_s: float) -> int:
        return await self._records.add_post(author, text, post, posted_s)

    async def has_person(self, name: str) -> bool:
        return await self._records.has_person(name)


class CachedSessions:
    """Shared sessions, whose readers mostly find them in the cache; that may lose them, the store
    behind it does not."""

    def __init__(self, sessions: Sessions, cache: CacheClient) -> None:
        self._sessions = sessions
        self._cache = cache

    async def begin(self, user: str) -> str:
        return await self._sessions.begin(user)

    async def user(self, session: str) -> str | None:
        async def load(lsn: int) -> Any:
            return await self._sessions.user(session)

        # one that is not there is not remembered: it may have begun just now
        found = await self._cache.fetch(
            _session_key(session), load, ttl_s=SESSION_TTL_S, absent=False
        )
        return str(found) if found is not None else None

    async def end(self, session: str) -> None:
        await self._sessions.end(session)
        await self._cache.delete(_session_key(session))

    def count(self) -> int:
        return self._sessions.count()


def _session_key(session: str) -> str:
    return f"session:{session}"
