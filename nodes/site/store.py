"""What the site needs of a database, its tables, and the demo people that it starts with.

No SQL is run here; the statements are values. Which database it is, the web node decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from nodes.base import Clock
from nodes.parts.breaker import Breaker
from protocols.database import OLD_KEYS_TABLE, Rows, Written
from protocols.errors import RpcError

Answer = TypeVar("Answer", Rows, Written)
Statement = Sequence[Any]
"""`[sql, params]` or `[sql, params, {"rows": n}]` (see protocols/database.py)."""


class Store(Protocol):
    """A SQL database: one reading statement, or one transaction. Both raise RpcError."""

    async def query(self, sql: str, *params: Any, token: int | None = None) -> Rows:
        """`token`: the answer must include the write that gave it."""
        ...

    async def write(self, statements: Sequence[Statement], *, request_id: str) -> Written:
        """All statements or none; the same `request_id` again gives the first outcome."""
        ...


class BreakingStore:
    """A store behind a circuit breaker: while it is away, requests fail at once, not in time."""

    TROUBLE: Final = frozenset(
        {"unavailable", "timeout", "disconnected", "not_primary", "unknown_outcome"}
    )

    def __init__(self, store: Store, clock: Clock, breaker: Breaker | None = None) -> None:
        self.breaker = breaker or Breaker(failures=8, open_s=0.25)
        self._store = store
        self._clock = clock

    async def query(self, sql: str, *params: Any, token: int | None = None) -> Rows:
        return await self._guard(lambda: self._store.query(sql, *params, token=token))

    async def write(self, statements: Sequence[Statement], *, request_id: str) -> Written:
        return await self._guard(lambda: self._store.write(statements, request_id=request_id))

    async def _guard(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        if not self.breaker.allow(self._clock.monotonic_s()):
            raise RpcError("unavailable", "the database did not answer a moment ago")
        try:
            answer = await call()
            self.breaker.success()
            return answer
        except RpcError as error:
            if error.code in self.TROUBLE:
                self.breaker.failure(self._clock.monotonic_s())
            elif error.code not in ("cancelled", "expired"):
                self.breaker.success()
            raise
        finally:
            self.breaker.ended()


TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS users (
        name TEXT NOT NULL PRIMARY KEY, full_name TEXT NOT NULL,
        about TEXT NOT NULL, joined_s REAL NOT NULL)""",
    # `id` is the client's: it names the request, and no UNIQUE keeps a second copy out. That a
    # retry is not doubled is the database's own promise (request ids), and can so be checked.
    """CREATE TABLE IF NOT EXISTS posts (
        row_id TEXT NOT NULL PRIMARY KEY, id TEXT NOT NULL, author TEXT NOT NULL,
        text TEXT NOT NULL, posted_s REAL NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS follows (
        follower TEXT NOT NULL, followed TEXT NOT NULL, PRIMARY KEY (follower, followed))""",
    """CREATE TABLE IF NOT EXISTS sessions (
        id TEXT NOT NULL PRIMARY KEY, user TEXT NOT NULL, began_s REAL NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS marks (name TEXT NOT NULL PRIMARY KEY)""",
    OLD_KEYS_TABLE,
    "CREATE INDEX IF NOT EXISTS posts_by_id ON posts (id)",
    "CREATE INDEX IF NOT EXISTS posts_by_author ON posts (author, posted_s)",
    "CREATE INDEX IF NOT EXISTS posts_by_time ON posts (posted_s)",
    "CREATE INDEX IF NOT EXISTS follows_by_followed ON follows (followed)",
)
SCHEMA_REQUEST: Final = "site-schema-1"
SEED_REQUEST: Final = "site-seed-1"
SEED_MARK: Final = "seeded"

PEOPLE: Final = (
    ("ada", "Ada Lovelace", "Wrote the first program for a machine that was never built."),
    ("alan", "Alan Turing", "Can machines think? Asks politely, and waits for the tape to stop."),
    ("barbara", "Barbara Liskov", "Substitutes one thing for another. Views, replicas, stamps."),
    ("edsger", "Edsger Dijkstra", "Finds the shortest path and will not be told otherwise."),
    ("grace", "Grace Hopper", "Carries a nanosecond in her handbag: 30 centimetres of wire."),
    ("hedy", "Hedy Lamarr", "Hops frequencies, so that nobody can jam the line."),
    ("jim", "Jim Gray", "All or nothing. Sails when the log is flushed."),
    ("leslie", "Leslie Lamport", "Happened before you did. Part-time parliamentarian."),
    ("margaret", "Margaret Hamilton", "Her software landed with the alarms still ringing."),
    ("radia", "Radia Perlman", "Keeps the bridges from going round in circles."),
    ("tony", "Tony Hoare", "Sorts quickly, regrets null."),
    ("vint", "Vint Cerf", "Puts postcards into a network and lets the ends worry."),
)
NAMES: Final = tuple(name for name, _, _ in PEOPLE)

SEED_POSTS: Final = (
    ("grace", "A ship in port is safe. Now kill the primary and see who writes the log."),
    ("leslie", "A distributed system is one where a machine you never heard of stops your work."),
    ("vint", "The packet was lost. Nobody told the sender. The sender found out anyway."),
    ("radia", "Two paths to the same place. Somebody must volunteer to be the root."),
    ("ada", "Asked the engine the same question twice. It gave one answer, and kept the receipt."),
    ("jim", "Two-phase commit is a wedding: everybody says yes, then nobody may leave."),
    ("hedy", "They partitioned us at ten. By five past we were talking on the other channel."),
    ("barbara", "A replica that lags is telling the truth. Just not today's truth."),
    ("edsger", "Testing shows the presence of bugs. A seed shows them again."),
    ("margaret", "1202 is only a load-shedding alarm. Go for landing."),
    ("tony", "There are two ways to build a cache, and both of them are invalidation."),
    ("alan", "Whether the failover will finish cannot be decided in general. It took 900 ms."),
)


def joined_s(wall_s: float, index: int) -> float:
    """When the demo person with that place in PEOPLE joined."""
    return wall_s - 86400.0 * (400 - 7 * index)


def followed_by(index: int) -> list[str]:
    """Whom the demo person with that place in PEOPLE follows."""
    return [NAMES[(index + step) % len(NAMES)] for step in (1, 2, 3, 5)]


def seed_statements(wall_s: float) -> list[Statement]:
    """The demo people in one transaction, guarded: where they are already, all of it is refused."""
    statements: list[Statement] = [
        ["INSERT OR IGNORE INTO marks (name) VALUES (?)", [SEED_MARK], {"rows": 1}]
    ]
    for index, (name, full_name, about) in enumerate(PEOPLE):
        person = [name, full_name, about, joined_s(wall_s, index)]
        statements.append(["INSERT OR IGNORE INTO users VALUES (?, ?, ?, ?)", person])
        for followed in followed_by(index):
            statements.append(["INSERT OR IGNORE INTO follows VALUES (?, ?)", [name, followed]])
    for index, (author, text) in enumerate(SEED_POSTS):
        post = f"seed-{index + 1}"
        posted_s = wall_s - 240.0 * (len(SEED_POSTS) - index)
        statements.append(
            [
                "INSERT OR IGNORE INTO posts VALUES (?, ?, ?, ?, ?)",
                [post, post, author, text, posted_s],
            ]
        )
    return statements


_POST_COLUMNS: Final = "p.id, p.author, u.full_name, p.text, p.posted_s"
_RECENT: Final = f"""SELECT {_POST_COLUMNS} FROM posts AS p JOIN users AS u ON u.name = p.author
    ORDER BY p.posted_s DESC, p.id LIMIT ?"""
# Of each followed author only the newest posts are joined, so that the cost stays the same when
# an author has written thousands.
TIMELINE: Final = f"""SELECT {_POST_COLUMNS} FROM follows AS f
    JOIN posts AS p ON p.author = f.followed AND p.posted_s >= ifnull(
        (SELECT n.posted_s FROM posts AS n WHERE n.author = f.followed
         ORDER BY n.posted_s DESC LIMIT 1 OFFSET ?), -1e18)
    JOIN users AS u ON u.name = p.author
    WHERE f.follower = ? ORDER BY p.posted_s DESC, p.id LIMIT ?"""
ONE_POST: Final = f"""SELECT {_POST_COLUMNS} FROM posts AS p JOIN users AS u ON u.name = p.author
    WHERE p.id = ? LIMIT 1"""
_FOUND: Final = f"""SELECT {_POST_COLUMNS} FROM
    (SELECT * FROM posts ORDER BY posted_s DESC LIMIT 2000) AS p
    JOIN users AS u ON u.name = p.author
    WHERE p.text LIKE ? ESCAPE '\\' ORDER BY p.posted_s DESC, p.id LIMIT ?"""
_PEOPLE: Final = "SELECT name, full_name, about FROM users ORDER BY name LIMIT ?"
SEARCH_PEOPLE: Final = """SELECT name, full_name, about FROM users
    WHERE name LIKE ? ESCAPE '\\' OR full_name LIKE ? ESCAPE '\\' ORDER BY name LIMIT ?"""


def _with_people(posts: str, people: str) -> str:
    """A page is one statement: its posts, then its people, whose `posted_s` is NULL."""
    return f"""SELECT * FROM ({posts})
        UNION ALL SELECT name, NULL, full_name, about, NULL FROM ({people})
        ORDER BY 5 DESC, 1"""


HOME: Final = _with_people(_RECENT, _PEOPLE)
SEARCH: Final = _with_people(_FOUND, SEARCH_PEOPLE)
# First the person, then the posts, whose number of followers is NULL.
PROFILE: Final = """SELECT name, full_name, about, joined_s,
    (SELECT count(*) FROM follows WHERE followed = users.name) AS followers,
    (SELECT count(*) FROM follows WHERE follower = users.name) AS following
    FROM users WHERE name = ?
    UNION ALL SELECT * FROM
    (SELECT id, NULL, text, posted_s, NULL, NULL FROM posts
     WHERE author = ? ORDER BY posted_s DESC, id LIMIT ?)
    ORDER BY 5 DESC, 4 DESC, 1"""
ADD_POST: Final = "INSERT INTO posts VALUES (?, ?, ?, ?, ?)"
MAKE_OLD: Final = """INSERT OR REPLACE INTO old_keys
    SELECT ? || follower FROM follows WHERE followed = ?
    UNION SELECT column1 FROM (VALUES (?), (?), (?)) RETURNING key"""
HAS_USER: Final = "SELECT 1 FROM users WHERE name = ?"
ADD_SESSION: Final = "INSERT INTO sessions VALUES (?, ?, ?)"
END_SESSION: Final = "DELETE FROM sessions WHERE id = ?"
SESSION_USER: Final = "SELECT user FROM sessions WHERE id = ?"
IS_SEEDED: Final = "SELECT 1 FROM marks WHERE name = ?"


async def write_of(
    store: Store, user: str, statements: Sequence[Statement], *, request_id: str
) -> Written:
    """What a user writes: `not_found` if nobody is called so. The first of the results is the
    guard's. Raises RpcError."""
    known = [HAS_USER, [user], {"rows": 1}]
    try:
        return await store.write([known, *statements], request_id=request_id)
    except RpcError as error:
        if error.code == "refused" and error.details[:1] == (0,):  # by the guard
            raise RpcError("not_found", f"nobody is called {user[:40]}") from error
        raise


def count_posts(ids: int) -> str:
    """How often each of so many ids exists (absent ones are not in the answer)."""
    marks = ", ".join("?" * ids)
    return f"SELECT id, count(*) FROM posts WHERE id IN ({marks}) GROUP BY id ORDER BY id"


def like(text: str) -> str:
    """A LIKE pattern that finds `text` anywhere, its own wildcards taken literally."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
