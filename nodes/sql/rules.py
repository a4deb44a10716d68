"""What SQL may do on a node, and for how long: one statement at a time, no files, no endless loops.

SQLite asks here before it acts (authorizer, trace, progress); what a changeset would miss is
refused in state.py.
"""

from __future__ import annotations

import re
from typing import Any, Final

import apsw

from protocols.errors import RpcError

MAX_STATEMENT_BYTES: Final = 256 << 10
MAX_VALUE_BYTES: Final = 2 << 20
"""Of a string, a blob or a row: SQLite makes each in one step, which no budget can interrupt."""
STEP_BUDGET: Final = 1_000_000
"""Virtual machine steps of one query: 5 to 40 ms of a laptop's core, by what the steps do."""
WRITE_STEP_BUDGET: Final = 300_000
"""Of one transaction: a step that writes costs several times as much, and may be undone."""
STEPS_PER_LOOK: Final = 10_000
MAX_VERBS: Final = 1000
MAX_VERB_STATEMENT: Final = 1000
RANDOM_BYTES_PER_STEP: Final = 10

LIMITS: Final = {
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_SQL_LENGTH: MAX_STATEMENT_BYTES,
    apsw.SQLITE_LIMIT_LENGTH: MAX_VALUE_BYTES,
    apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    apsw.SQLITE_LIMIT_COMPOUND_SELECT: 200,
    apsw.SQLITE_LIMIT_TRIGGER_DEPTH: 50,
}
DENIED: Final = {
    apsw.SQLITE_ATTACH: "ATTACH is not allowed: a node has one database, in its own memory",
    apsw.SQLITE_DETACH: "DETACH is not allowed",
    apsw.SQLITE_CREATE_VTABLE: "virtual tables are not allowed: a changeset misses their rows",
} | dict.fromkeys(
    (
        apsw.SQLITE_CREATE_TEMP_INDEX,
        apsw.SQLITE_CREATE_TEMP_TABLE,
        apsw.SQLITE_CREATE_TEMP_TRIGGER,
        apsw.SQLITE_CREATE_TEMP_VIEW,
    ),
    "TEMP is not allowed: connections are shared, and a snapshot misses it",
)
READABLE_PRAGMAS: Final = frozenset(
    {"table_info", "table_list", "table_xinfo", "index_list", "index_info", "foreign_key_list"}
)
DENIED_FUNCTIONS: Final = frozenset({"load_extension", "readfile", "writefile", "edit"})

_BEFORE_WORD: Final = re.compile(r"(?:\s|;|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_WORD: Final = re.compile(r"[A-Za-z]+")
_FILES: Final = frozenset({"VACUUM", "ATTACH", "DETACH"})
_CONTROL: Final = frozenset({"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "END"})
SCHEMA_WORDS: Final = frozenset({"CREATE", "DROP", "ALTER", "REINDEX", "ANALYZE"})
_OK: Final = int(apsw.SQLITE_OK)
ERRORS: Final = (apsw.Error, TypeError, ValueError, OverflowError)
"""What running a statement may raise, for `Rules.refusal`."""
READING_WORDS: Final = frozenset({"SELECT", "VALUES", "WITH", "EXPLAIN", "PRAGMA"})
"""What a statement begins with that most likely only reads (WITH may yet write)."""


def first_word(sql: str) -> str:
    """The verb, in capitals, behind whatever comments there are."""
    start = _BEFORE_WORD.match(sql)
    word = _WORD.match(sql, start.end() if start else 0)
    return word[0].upper() if word else ""


def is_schema(sql: str) -> bool:
    """Whether it changes the schema, and ships as a statement."""
    return first_word(sql) in SCHEMA_WORDS


def check_length(characters: int) -> None:
    """Raises RpcError for a statement of too many of them."""
    if characters > MAX_STATEMENT_BYTES:
        most = f"{MAX_STATEMENT_BYTES >> 10} KiB; pass long values as params"
        raise RpcError("too_large", f"a statement of {characters} characters is over {most}")


class _Own:
    """Inside, nobody is asked; it may nest. (A class: a generator costs more than what it does.)"""

    __slots__ = ("depth",)

    def __init__(self) -> None:
        self.depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *error: object) -> None:
        self.depth -= 1


class _Guard:
    """Inside, a client's statements run: `Rules.guarded`. Not a generator, as above."""

    __slots__ = ("db", "rules")

    def __init__(self, rules: Rules, db: apsw.Connection) -> None:
        self.rules = rules
        self.db = db

    def __enter__(self) -> None:
        self.db.set_progress_handler(self.rules.spend, STEPS_PER_LOOK)

    def __exit__(self, *error: object) -> None:
        self.db.set_progress_handler(None)
        self.rules.is_reading = False


class Rules:
    """The guard of one connection."""

    def __init__(self) -> None:
        self._denied = ""
        self._own = _Own()
        self.is_reading = False
        self._steps_left = 0
        self._budget = STEP_BUDGET
        self._verbs: dict[str, str] = {}
        """The first words of the statements seen lately."""
        self.columns: list[str] = []
        """Of the statement that ran last; [] where it gives no rows."""

    def install(self, db: apsw.Connection) -> None:
        for limit, value in LIMITS.items():
            db.limit(limit, value)
        db.enable_load_extension(False)
        db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        db.set_authorizer(self._authorize)

    def own(self) -> _Own:
        """What the database itself does inside is not asked about."""
        return self._own

    def verb(self, sql: str) -> str:
        """`first_word`, which the same few statements are asked for again and again."""
        word = self._verbs.get(sql)
        if word is None:
            word = first_word(sql)
            if len(self._verbs) >= MAX_VERBS:
                self._verbs.clear()
            if len(sql) <= MAX_VERB_STATEMENT:
                self._verbs[sql] = word
        return word

    def check(self, sql: Any) -> str:
        """Its first word. Raises RpcError for what must not even be tried."""
        if not isinstance(sql, str):
            raise RpcError("bad_request", "a statement must be text")
        check_length(len(sql))
        word = self.verb(sql)
        if word in _FILES:
            raise RpcError("bad_request", f"{word} is not allowed here")
        if word in _CONTROL:
            raise RpcError("bad_request", f"{word}: a batch is the transaction")
        return word

    def guarded(self, db: apsw.Connection, *, reading: bool) -> _Guard:
        """Bound the steps of what runs inside."""
        self.is_reading = reading
        self._steps_left = self._budget = STEP_BUDGET if reading else WRITE_STEP_BUDGET
        return _Guard(self, db)

    def cursor(self, db: apsw.Connection) -> apsw.Cursor:
        """For one statement of a client's; once it runs, `columns` has its columns' names."""
        cursor, seen = db.cursor(), 0
        self.columns, self._denied = [], ""

        def look(running: apsw.Cursor, sql: str, bindings: Any) -> bool:
            # A cached statement is not authorized again, so what it does is asked of itself.
            nonlocal seen
            seen += bool(self.verb(sql))  # a comment at the end is no statement
            if seen == 1 and not self.columns:
                self.columns = [each[0] for each in running.get_description()]
            if seen > 1:
                self._denied = "one statement at a time: put them into a batch"
            elif self.is_reading and not running.is_readonly:
                self._denied = "this statement writes: use `write`"
            return not self._denied

        cursor.exec_trace = look
        return cursor

    def refusal(self, error: Exception, sql: str) -> RpcError:
        """One of ERRORS as an answer: what is wrong, and where."""
        if isinstance(error, apsw.InterruptError):
            why = f"stopped: it took more than {self._budget} steps; add an index or LIMIT"
            return RpcError("refused", why)
        if isinstance(error, apsw.AuthError | apsw.ExecTraceAbort):
            return RpcError("bad_request", self._denied or str(error))
        if isinstance(error, apsw.ConstraintError):
            return RpcError("refused", str(error))
        if isinstance(error, apsw.TooBigError):
            most = f"{MAX_VALUE_BYTES >> 20} MiB"
            return RpcError("too_large", f"{error}: a value has at most {most}")
        place = _place(error, sql)
        where = f" (line {place[0]}, column {place[1]})" if place else ""
        return RpcError("bad_request", f"{error}{where}", *place)

    @property
    def steps_spent(self) -> int:
        """By what was guarded last, to about STEPS_PER_LOOK."""
        return self._budget - self._steps_left

    def spend_random(self, size_bytes: int) -> None:
        """A function of ours works outside of SQLite's count. Raises RpcError."""
        self._steps_left -= size_bytes // RANDOM_BYTES_PER_STEP
        if self._steps_left < 0 and not self._own.depth:
            raise RpcError("refused", "stopped: randomblob() made too many bytes")

    def spend(self) -> bool:
        """The progress handler: whether to stop."""
        self._steps_left -= STEPS_PER_LOOK
        return self._steps_left < 0

    def _authorize(
        self, action: int, first: str | None, second: str | None, schema: str | None, by: str | None
    ) -> int:
        if self._own.depth:
            return _OK
        if action in DENIED:
            return self._deny(DENIED[action])
        if action == apsw.SQLITE_PRAGMA and first not in READABLE_PRAGMAS:
            return self._deny(f"PRAGMA {first} is not allowed")
        if action == apsw.SQLITE_FUNCTION and second in DENIED_FUNCTIONS:
            return self._deny(f"{second}() is not allowed")
        if first is not None and str(first).startswith("emu_") and action != apsw.SQLITE_READ:
            return self._deny(f"{first} belongs to the database itself")
        return _OK

    def _deny(self, why: str) -> int:
        self._denied = why
        return int(apsw.SQLITE_DENY)


def _place(error: Exception, sql: str) -> tuple[int, ...]:
    """Line and column, from 1, where SQLite knows; else ()."""
    offset = getattr(error, "error_offset", -1)
    if not isinstance(offset, int) or offset < 0:
        return ()
    text = sql.encode()[:offset].decode("utf-8", "replace")
    return text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1
