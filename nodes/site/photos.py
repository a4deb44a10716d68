"""What the site keeps of photos, notifications and the search index, in a SQL database: tables,
statements, and the ways in which pages read them. Who does the work is jobs.py's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from nodes.base import Context
from nodes.site.store import SEED_POSTS, Statement, Store, write_of

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS photos (
        id TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL, posted_s REAL NOT NULL,
        original BLOB NOT NULL, claim TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS photo_sizes (
        photo TEXT NOT NULL, size TEXT NOT NULL, content BLOB NOT NULL,
        PRIMARY KEY (photo, size))""",
    """CREATE TABLE IF NOT EXISTS attempts (
        id TEXT NOT NULL PRIMARY KEY, job TEXT NOT NULL, worker TEXT NOT NULL,
        record TEXT NOT NULL, delivery INTEGER NOT NULL, began_s REAL NOT NULL)""",
    # a row for each effect: by the job's own name, or by the attempt's where workers are told not
    # to look; so that what was done twice can be counted
    """CREATE TABLE IF NOT EXISTS works (
        id TEXT NOT NULL PRIMARY KEY, job TEXT NOT NULL, worker TEXT NOT NULL, done_s REAL NOT NULL,
        topic TEXT NOT NULL, part INTEGER NOT NULL, place INTEGER NOT NULL,
        time_ms INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS notices (
        id TEXT NOT NULL PRIMARY KEY, reader TEXT NOT NULL, author TEXT NOT NULL,
        post TEXT NOT NULL, told_s REAL NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS words (
        word TEXT NOT NULL, post TEXT NOT NULL, posted_s REAL NOT NULL,
        PRIMARY KEY (word, post))""",
    "CREATE INDEX IF NOT EXISTS photos_by_time ON photos (posted_s)",
    "CREATE INDEX IF NOT EXISTS attempts_by_job ON attempts (job)",
    "CREATE INDEX IF NOT EXISTS works_by_job ON works (job)",
    "CREATE INDEX IF NOT EXISTS works_by_record ON works (topic, part, place)",
    "CREATE INDEX IF NOT EXISTS notices_by_reader ON notices (reader, told_s)",
)
SCHEMA_REQUEST: Final = "site-photos-1"
ORIGINAL: Final = "original"
SIZES: Final = {"large": 256, "small": 64}
"""Name → the most pixels, wide or high."""
SHOWN: Final = 12
WORKED_ON: Final = "worked on"
GIVEN_UP: Final = "given up"
"""The state of a photo whose job is among the dead letters."""
MAX_NOTICES: Final = 50
EFFECTS_PAGE: Final = 2000
WORD: Final = re.compile(r"[^\W_]{2,40}")
MAX_WORDS: Final = 80

ADD_PHOTO: Final = "INSERT OR IGNORE INTO photos VALUES (?, ?, ?, ?, ?)"
CLAIM_PHOTO: Final = "UPDATE photos SET claim = ? WHERE id = ?"
DROP_PHOTO: Final = "DELETE FROM photos WHERE id = ? AND claim = ?"
PHOTO: Final = "SELECT id, owner, posted_s, length(original) FROM photos WHERE id = ?"
NEWEST: Final = """SELECT id, owner, posted_s FROM photos
    WHERE id IN (SELECT photo FROM photo_sizes) ORDER BY posted_s DESC, id LIMIT ?"""
CONTENT: Final = "SELECT content FROM photo_sizes WHERE photo = ? AND size = ?"
CONTENT_OF_ALL: Final = "SELECT original FROM photos WHERE id = ?"
ATTEMPTS: Final = """SELECT worker, record, delivery, began_s FROM attempts WHERE job = ?
    ORDER BY began_s, id LIMIT 20"""
WORKS: Final = "SELECT worker, done_s FROM works WHERE job = ? ORDER BY done_s, id LIMIT 20"
ADD_ATTEMPT: Final = "INSERT OR IGNORE INTO attempts VALUES (?, ?, ?, ?, ?, ?)"
ADD_WORK: Final = "INSERT OR IGNORE INTO works VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
ADD_SIZE: Final = "INSERT OR REPLACE INTO photo_sizes VALUES (?, ?, ?)"
ADD_NOTICE: Final = "INSERT OR IGNORE INTO notices VALUES (?, ?, ?, ?, ?)"
ADD_WORD: Final = "INSERT OR IGNORE INTO words VALUES (?, ?, ?)"
POST: Final = "SELECT author, text, posted_s FROM posts WHERE id = ? LIMIT 1"
FOLLOWERS: Final = "SELECT follower FROM follows WHERE followed = ? ORDER BY follower LIMIT 500"
NOTICES: Final = """SELECT n.post, n.author, p.text, n.told_s FROM notices AS n
    JOIN posts AS p ON p.id = n.post WHERE n.reader = ? ORDER BY n.told_s DESC, n.id LIMIT ?"""
EFFECTS: Final = """SELECT part, place, time_ms, count(*) FROM works
    WHERE topic = ? AND (part, place, time_ms) > (?, ?, ?) GROUP BY part, place, time_ms
    ORDER BY part, place, time_ms LIMIT ?"""


def count_photos(ids: int) -> str:
    return f"SELECT id FROM photos WHERE id IN ({', '.join('?' * ids)}) ORDER BY id"


def matching(words: int) -> str:
    """The posts that have all of so many words, the newest first; then come the words, their
    number, and the most."""
    return f"""SELECT p.id, p.author, u.full_name, p.text, p.posted_s FROM
        (SELECT post FROM words WHERE word IN ({", ".join("?" * words)})
         GROUP BY post HAVING count(*) = ?) AS w
        JOIN posts AS p ON p.id = w.post JOIN users AS u ON u.name = p.author
        ORDER BY p.posted_s DESC, p.id LIMIT ?"""


def record_name(topic: str, partition: int, offset: int) -> str:
    """A job's record, as pages and `attempts` have it."""
    return f"{topic}/{partition} offset {offset}"


def words_of(text: str) -> list[str]:
    """What a text is found by: each of its words once."""
    return list(dict.fromkeys(each.lower() for each in WORD.findall(text)))[:MAX_WORDS]


def seed_words() -> list[Statement]:
    """The demo people's posts, in the index."""
    return [
        [ADD_WORD, [word, f"seed-{number}", 0.0]]
        for number, (_, text) in enumerate(SEED_POSTS, 1)
        for word in words_of(text)
    ]


class Photos:
    """What pages ask of all this. Everything may raise RpcError."""

    def __init__(self, ctx: Context, store: Callable[[], Store]) -> None:
        self._ctx = ctx
        self._store = store

    async def prepare(self, attempt: str) -> None:
        tables: list[Statement] = [[statement, []] for statement in TABLES]
        await self._store().write(tables, request_id=SCHEMA_REQUEST + attempt)
        await self._store().write(seed_words(), request_id=f"{SCHEMA_REQUEST}-words{attempt}")

    async def _rows(self, statement: str, *params: Any, token: int | None) -> list[list[Any]]:
        return (await self._store().query(statement, *params, token=token)).rows

    async def add(self, owner: str, photo: str, data: bytes, claim: str) -> tuple[int, bool]:
        """The write's token, and whether it is new. `not_found` if nobody is called so. `claim`:
        this attempt's own; that of the last one stands."""
        row = [ADD_PHOTO, [photo, owner, self._ctx.clock.wall_s(), data, claim]]
        statements: list[Statement] = [row, [CLAIM_PHOTO, [claim, photo]]]
        request_id = f"photo-{claim}"
        written = await write_of(self._store(), owner, statements, request_id=request_id)
        return written.lsn, bool(written.results[1]["changes"])

    async def drop(self, photo: str, claim: str) -> None:
        """Unless another attempt has come to it since."""
        await self._store().write([[DROP_PHOTO, [photo, claim]]], request_id=f"drop-{claim}")

    async def one(self, photo: str, token: int | None) -> dict[str, Any] | None:
        """A photo, and how far its job is."""
        rows = await self._rows(PHOTO, photo, token=token)
        if not rows:
            return None
        attempts = await self._rows(ATTEMPTS, photo, token=token)
        works = await self._rows(WORKS, photo, token=token)
        state = "done" if works else WORKED_ON if attempts else "queued"
        _, owner, posted_s, size_bytes = rows[0]
        return {
            "id": photo,
            "owner": owner,
            "posted_s": posted_s,
            "bytes": size_bytes,
            "state": state,
            "attempts": [
                dict(zip(("worker", "record", "delivery", "began_s"), row, strict=True))
                for row in attempts
            ],
            "done": [dict(zip(("worker", "done_s"), row, strict=True)) for row in works],
            "sizes": {size: f"/photos/{photo}/{size}.png" for size in SIZES} if works else {},
        }

    async def newest(self, token: int | None) -> list[dict[str, Any]]:
        """Those that are done."""
        rows = await self._rows(NEWEST, SHOWN, token=token)
        return [dict(zip(("id", "owner", "posted_s"), row, strict=True)) for row in rows]

    async def content(self, photo: str, size: str) -> bytes | None:
        if size == ORIGINAL:
            rows = await self._rows(CONTENT_OF_ALL, photo, token=None)
        else:
            rows = await self._rows(CONTENT, photo, size, token=None)
        return bytes(rows[0][0]) if rows else None

    async def count(self, ids: list[str], token: int | None) -> dict[str, int]:
        rows = await self._rows(count_photos(len(ids)), *ids, token=token)
        return {str(each): 1 for (each,) in rows}

    async def notices(self, reader: str, token: int | None) -> list[dict[str, Any]]:
        rows = await self._rows(NOTICES, reader, MAX_NOTICES, token=token)
        keys = ("post", "author", "text", "told_s")
        return [dict(zip(keys, row, strict=True)) for row in rows]

    async def search(self, text: str, limit: int, token: int | None) -> list[dict[str, Any]]:
        """Posts that have every word of the text, of those that are in the index by now."""
        words = words_of(text)
        if not words:
            return []
        rows = await self._rows(matching(len(words)), *words, len(words), limit, token=token)
        keys = ("id", "author", "full_name", "text", "posted_s")
        return [dict(zip(keys, row, strict=True)) for row in rows]
