"""SQL functions for which SQLite's own will not do: chance, what a connection knows, long texts.

Replicas and retries must see what was answered, and no call may take more than linear time; all
other functions are SQLite's.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from typing import Any, Final

import apsw

from nodes.sql.chance import Chance
from nodes.sql.rules import MAX_VALUE_BYTES, Rules
from protocols.errors import RpcError

MAX_RANDOM_BYTES: Final = 900_000
PAIRS: Final = re.compile("(?:[0-9A-Fa-f]{2})*")
GAP: Final = " "


class Functions:
    """Of one copy of the database, on whatever connection it has."""

    def __init__(self, rules: Rules, chance: Chance) -> None:
        self._rules = rules
        self._chance = chance
        self._db: apsw.Connection | None = None
        self._changes_before = 0
        self._plain = apsw.Connection(":memory:")
        """For conversions as SQLite makes them."""

    def install(self, db: apsw.Connection) -> None:
        self._db = db
        makes: list[tuple[str, Callable[..., Any], int]] = [
            ("random", self._random, 0),
            ("randomblob", self._random_blob, 1),
            ("changes", self._changes, 0),
            ("total_changes", self._total_changes, 0),
            ("last_insert_rowid", self._last_insert_rowid, 0),
        ]
        for name, function, arguments in makes:
            db.create_scalar_function(name, function, arguments)
        pure: list[tuple[str, Callable[..., Any], int]] = [
            ("trim", lambda text, of: self._trim(text, of, str.strip), 2),
            ("ltrim", lambda text, of: self._trim(text, of, str.lstrip), 2),
            ("rtrim", lambda text, of: self._trim(text, of, str.rstrip), 2),
            ("instr", self._instr, 2),
            ("replace", self._replace, 3),
            ("unhex", self._unhex, 2),
        ]
        for name, function, arguments in pure:
            db.create_scalar_function(name, function, arguments, deterministic=True)

    def begin(self) -> None:
        """A transaction begins: what SQL asks its connection is asked of that transaction alone."""
        assert self._db is not None
        self._changes_before = self._db.total_changes()
        self._db.set_last_insert_rowid(0)

    def close(self) -> None:
        self._plain.close()

    # --- chance ---------------------------------------------------------------------------

    def _random(self) -> int:
        return self._chance.rng.getrandbits(64) - (1 << 63)

    def _random_blob(self, size_bytes: Any) -> bytes:
        (asked,) = next(self._plain.execute("SELECT CAST(? AS INTEGER)", (size_bytes,)))
        wanted_bytes = min(max(1, asked or 0), MAX_RANDOM_BYTES)
        self._rules.spend_random(wanted_bytes)
        return self._chance.rng.randbytes(wanted_bytes)

    # --- the connection -------------------------------------------------------------------

    def _asked_of(self, name: str) -> apsw.Connection:
        """Raises RpcError where clients share the connection."""
        if self._rules.is_reading:
            why = "is about a connection, and clients share those: use RETURNING, or a transaction"
            raise RpcError("refused", f"{name}() {why}")
        assert self._db is not None
        return self._db

    def _changes(self) -> int:
        return self._asked_of("changes").changes()

    def _total_changes(self) -> int:
        return self._asked_of("total_changes").total_changes() - self._changes_before

    def _last_insert_rowid(self) -> int:
        return self._asked_of("last_insert_rowid").last_insert_rowid()

    # --- long texts -----------------------------------------------------------------------

    def _trim(self, text: Any, of: Any, strip: Callable[[str, str], str]) -> str | None:
        if text is None or of is None:
            return None
        characters = dict.fromkeys(self._text(of).partition("\0")[0])
        whole = self._text(text)
        self._rules.spend_characters(len(whole) * (1 + len(characters) // 64))
        return strip(whole, "".join(characters)) if characters else whole

    def _instr(self, text: Any, part: Any) -> int | None:
        if text is None or part is None:
            return None
        if type(text) is bytes and type(part) is bytes:
            return text.find(part) + 1
        return self._text(text).find(self._text(part)) + 1

    def _replace(self, text: Any, old: Any, new: Any) -> str | None:
        if text is None or old is None:
            return None
        part = self._text(old)
        if not part or part[0] == "\0":
            return self._text(text)
        if new is None:
            return None
        whole, into = self._text(text), self._text(new)
        growth = len(into.encode()) - len(part.encode())
        if growth > 0 and len(whole) + whole.count(part) * growth > MAX_VALUE_BYTES:
            raise apsw.TooBigError("string or blob too big")
        return whole.replace(part, into)

    def _unhex(self, text: Any, passed: Any) -> bytes | None:
        """Pairs of hex digits, and between them only what is passed over."""
        if text is None or passed is None:
            return None
        whole, over = self._text(text).partition("\0")[0], self._text(passed)
        self._rules.spend_characters(len(whole) + len(over))
        between = {ord(each): GAP for each in over if each not in string.hexdigits}
        if GAP in whole and ord(GAP) not in between:
            return None
        pairs = whole.translate(between).split(GAP)
        return bytes.fromhex("".join(pairs)) if all(map(PAIRS.fullmatch, pairs)) else None

    def _text(self, value: Any) -> str:
        if type(value) is str:
            return value
        return str(next(self._plain.execute("SELECT CAST(? AS TEXT)", (value,)))[0])
