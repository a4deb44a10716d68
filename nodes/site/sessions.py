"""Who is logged in: kept in this node's memory (lost with it), or in the shared database.

Only the id travels, in a cookie. Names are enough to log in: this is a demo site without secrets.
"""

from __future__ import annotations

import random
from typing import Final, Protocol

from nodes.base import Clock
from nodes.site import store as sql
from nodes.site.store import Store

ID_BITS: Final = 128
MAX_LOCAL: Final = 100_000


class Sessions(Protocol):
    """`begin` gives an id; `user` finds whose it is, or None. They may raise RpcError."""

    async def begin(self, user: str) -> str: ...
    async def user(self, session: str) -> str | None: ...
    async def end(self, session: str) -> None: ...
    def count(self) -> int:
        """How many live in this node's memory."""
        ...


class LocalSessions:
    """In memory: the oldest make room, and all are gone when the node is."""

    def __init__(self, rng: random.Random, most: int = MAX_LOCAL) -> None:
        self._rng = rng
        self._most = most
        self._users: dict[str, str] = {}

    async def begin(self, user: str) -> str:
        session = new_id(self._rng)
        if len(self._users) >= self._most:
            del self._users[next(iter(self._users))]
        self._users[session] = user
        return session

    async def user(self, session: str) -> str | None:
        return self._users.get(session)

    async def end(self, session: str) -> None:
        self._users.pop(session, None)

    def count(self) -> int:
        return len(self._users)


class SharedSessions:
    """In the database: any web node knows them, and none loses them."""

    def __init__(self, store: Store, clock: Clock, rng: random.Random) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._tokens: dict[str, int] = {}
        """Just-begun sessions: a lagging replica may not know them yet."""

    async def begin(self, user: str) -> str:
        session = new_id(self._rng)
        statements = [[sql.ADD_SESSION, [session, user, self._clock.wall_s()]]]
        written = await self._store.write(statements, request_id=f"session-{session}")
        if len(self._tokens) >= 1000:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[session] = written.lsn
        return session

    async def user(self, session: str) -> str | None:
        token = self._tokens.get(session)
        rows = await self._store.query(sql.SESSION_USER, session, token=token)
        return str(rows.rows[0][0]) if rows.rows else None

    async def end(self, session: str) -> None:
        await self._store.write([[sql.END_SESSION, [session]]], request_id=f"logout-{session}")

    def count(self) -> int:
        return 0


def new_id(rng: random.Random) -> str:
    """32 hex digits."""
    return f"{rng.getrandbits(ID_BITS):032x}"
