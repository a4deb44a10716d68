"""The site's people and posts in a sharded key-value store: what SQL joins, is joined here by keys.

A person's things have one hash tag and so one shard; a post has its own. The list of an author's
newest posts is written after the post, in another slot: a retry with the same id completes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest
from typing import Any, Final

import xxhash

from nodes.base import Context
from nodes.kv.client import KvClient
from nodes.kv.fanout import FanOut
from nodes.kv.join import JoinQuery
from nodes.kv.scatter import Scatter, gather
from nodes.site.sessions import new_id
from nodes.site.store import NAMES, PEOPLE, SEED_POSTS, followed_by, joined_s
from protocols.errors import RpcError
from protocols.kv import words

HOME_POSTS: Final = 8
KEPT_POSTS: Final = 100
"""Of an author, in the list that timelines are made of."""
SEEDED: Final = "site:seeded"
SESSION_TTL_MS: Final = 30 * 86_400_000
PLAIN_CHARS: Final = words.MAX_REQUEST_ID_CHARS - 8
PERSON_OF: Final = "{u:*}profile"


def profile_key(name: str) -> str:
    return f"{{u:{name}}}profile"


def newest_key(name: str) -> str:
    """[posted_s, id] of the author's newest posts, the oldest first."""
    return f"{{u:{name}}}newest"


def post_key(post: str) -> str:
    return f"{{p:{post}}}post"


def copies_key(post: str) -> str:
    """How often the post was stored: a retry that is not recognised shows here."""
    return f"{{p:{post}}}copies"


class KvRecords:
    """Records over a kv tier. A page waits `shard_timeout_s` for a shard, then does without."""

    def __init__(
        self, ctx: Context, client: KvClient, *, timeout_s: float, shard_timeout_s: float
    ) -> None:
        self._ctx = ctx
        self._client = client
        self._scatter = Scatter(client)
        self._timeout_s = timeout_s
        self._shard_timeout_s = shard_timeout_s

    async def _call(self, command: str, *params: Any) -> Any:
        return await self._client.call(command, *params, timeout_s=self._timeout_s)

    def _begin(self) -> FanOut:
        return self._scatter.begin(words.JOIN, self._timeout_s, self._shard_timeout_s)

    # --- the demo people ---------------------------------------------------------------------

    async def prepare(self, attempt: str) -> None:
        if await self._call(words.GET, SEEDED):
            return
        wall_s = self._ctx.clock.wall_s()
        for index, (name, full_name, about) in enumerate(PEOPLE):
            person = {
                "name": name,
                "full_name": full_name,
                "about": about,
                "joined_s": joined_s(wall_s, index),
                "following": followed_by(index),
                "followers": sum(name in followed_by(other) for other in range(len(PEOPLE))),
            }
            await self._call(words.SET, profile_key(name), person, {"if": words.ABSENT})
        for number, (author, text) in enumerate(SEED_POSTS, 1):
            posted_s = wall_s - 240.0 * (len(SEED_POSTS) + 1 - number)
            await self._store_post(author, text, f"seed-{number}", posted_s)
        await self._call(words.SET, SEEDED, 1)

    # --- reading -----------------------------------------------------------------------------

    async def home(self, token: int | None) -> dict[str, Any]:
        fan_out = self._begin()
        people = await gather(fan_out, [profile_key(name) for name in NAMES])
        posts = await self._newest_of(fan_out, NAMES, HOME_POSTS)
        known = [people.get(profile_key(name)) for name in NAMES]
        return {
            "posts": posts,
            "people": [
                {key: each[key] for key in ("name", "full_name", "about")}
                for each in known
                if each is not None
            ],
            **fan_out.finish(partial=True),
        }

    async def profile(self, name: str, posts: int, token: int | None) -> dict[str, Any] | None:
        fan_out = self._begin()
        person = await self._person(fan_out, name)
        if person is None:
            return None
        found = await self._newest_of(fan_out, [name], posts)
        said = fan_out.finish(partial=True)
        return {**person, "following": len(person["following"]), "posts": found, **said}

    async def timeline(self, user: str, limit: int, token: int | None) -> dict[str, Any]:
        """Three rounds of requests: whom the user follows, their newest posts' ids, and the join
        of those posts with their authors."""
        fan_out = self._begin()
        person = await self._person(fan_out, user)
        following = person["following"] if person is not None else []
        posts = await self._newest_of(fan_out, following, limit)
        return {"posts": posts, **fan_out.finish(partial=True)}

    async def search(
        self, text: str, limit: int, token: int | None, *, posts: bool = True
    ) -> dict[str, Any]:
        raise RpcError(
            "refused",
            "search needs a SQL database: a key-value store finds what it is asked for by its key; "
            "let the web tier use a database, or put an index beside",
        )

    async def get_post(self, post: str, token: int | None) -> dict[str, Any] | None:
        fan_out = self._begin()
        found = await self._joined(fan_out, [post])
        fan_out.finish(partial=False)
        return found[0] if found else None

    async def count_posts(self, ids: list[str], token: int | None) -> dict[str, int]:
        keys = [copies_key(each) for each in ids]
        answer = await self._scatter.mget(keys, timeout_s=self._timeout_s)
        return {each: count or 0 for each, count in zip(ids, answer["values"], strict=True)}

    async def has_person(self, name: str) -> bool:
        return await self._call(words.GET, profile_key(name)) is not None

    async def _person(self, fan_out: FanOut, name: str) -> dict[str, Any] | None:
        """Raises `unavailable` where it cannot be known whether there is one."""
        found = await gather(fan_out, [profile_key(name)])
        if not found:
            fan_out.finish(partial=False)
            raise RpcError("unavailable", f"the slot of {name} is moving")
        person: dict[str, Any] | None = found[profile_key(name)]
        return person

    async def _newest_of(
        self, fan_out: FanOut, authors: Iterable[str], limit: int
    ) -> list[dict[str, Any]]:
        lists = await gather(fan_out, [newest_key(author) for author in authors])
        entries = [(-posted_s, post) for each in lists.values() for posted_s, post in each or ()]
        return await self._joined(fan_out, [post for _, post in nsmallest(limit, entries)])

    async def _joined(self, fan_out: FanOut, ids: list[str]) -> list[dict[str, Any]]:
        """Those posts, in that order, with their authors' names; what no shard gave is left out."""
        if not ids:
            return []
        keys = [post_key(each) for each in ids]
        query = JoinQuery.of([{"keys": keys}, {"on": "author", "to": PERSON_OF},
                              {"limit": len(keys)}])[0]  # fmt: skip
        answer = await self._scatter.join_in(fan_out, query)
        rows = {row[0]: row for row in answer["rows"]}
        return [_post(rows[key][1], rows[key][3]) for key in keys if key in rows]

    # --- writing -----------------------------------------------------------------------------

    async def add_post(self, author: str, text: str, post: str, posted_s: float) -> int:
        """0: reads ask the primaries, so they need no token."""
        if not await self.has_person(author):
            raise RpcError("not_found", f"nobody is called {author[:40]}")
        await self._store_post(author, text, post, posted_s)
        return 0

    async def _store_post(self, author: str, text: str, post: str, posted_s: float) -> None:
        document = {"id": post, "author": author, "text": text, "posted_s": posted_s}
        operations = [[words.SET, post_key(post), document], [words.INCR, copies_key(post), 1]]
        request = {words.REQUEST_ID: request_id("post", post)}
        await self._call(words.TRANSACT, operations, request)
        entry = {words.REQUEST_ID: request_id("list", post), "keep": KEPT_POSTS}
        await self._call(words.APPEND, newest_key(author), [[posted_s, post]], entry)


def request_id(what: str, post: str) -> str:
    """The same for every retry, on whichever web node. (A post's id may be too long for one.)"""
    return f"{what}-{post if len(post) <= PLAIN_CHARS else xxhash.xxh3_128_hexdigest(post)}"


def _post(document: dict[str, Any], person: dict[str, Any] | None) -> dict[str, Any]:
    author = document["author"]
    return {
        "id": document["id"],
        "author": author,
        "full_name": person["full_name"] if person is not None else author,
        "text": document["text"],
        "posted_s": document["posted_s"],
    }


class KvSessions:
    """Sessions that any web node knows, and none loses."""

    def __init__(self, client: KvClient, *, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._rng = client.ctx.rng("sessions")

    async def begin(self, user: str) -> str:
        session = new_id(self._rng)
        await self._client.set(
            f"session:{session}", user, ttl_ms=SESSION_TTL_MS, timeout_s=self._timeout_s
        )
        return session

    async def user(self, session: str) -> str | None:
        found = await self._client.get(f"session:{session}", timeout_s=self._timeout_s)
        return str(found) if found is not None else None

    async def end(self, session: str) -> None:
        key = f"session:{session}"
        await self._client.call(words.DELETE, key, timeout_s=self._timeout_s)

    def count(self) -> int:
        return 0
