"""What SQL may do on a node, and how long: one statement at a time, no files, no endless loops.

What a statement is, SQLite says as it prepares it (authorizer, trace, progress): nothing here reads
its text. What a schema may be is schema.py's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import apsw

from nodes.sql.changes import quoted
from nodes.sql.triggers import CHANGES, Effect, changes_of
from protocols import database as words
from protocols.errors import RpcError

MAX_STATEMENT_BYTES: Final = 256 << 10
MAX_VALUE_BYTES: Final = 512 << 10
"""Of a string, a blob or a row: SQLite makes each in one step, which no budget can interrupt. The
log takes none that is larger."""
STEP_BUDGET: Final = 1_000_000
"""Virtual machine steps of one query: 5 to 40 ms of a laptop's core, by what the steps do."""
WRITE_STEP_BUDGET: Final = 300_000
"""Of one transaction: a step that writes costs several times as much, and may be undone."""
HOLD_S: Final = 0.25
"""Of the processor, for what is guarded: steps over large values cost a thousand times others."""
MAX_MEMORY_BYTES: Final = 64 << 20
"""What may be added, while a statement runs, to all that SQLite holds: what has gathered is sorted
in one step."""
MAX_NAMED: Final = 5000
"""Columns, functions and subqueries of one statement, with those of all the views in it: no budget
can interrupt its preparation, whose work may grow with their square."""
MAX_NAMED_BY_VIEW: Final = 500
STEPS_PER_LOOK: Final = 100
MAX_KNOWN: Final = 1000
MAX_KNOWN_STATEMENT: Final = 1000
RANDOM_BYTES_PER_STEP: Final = 10
CHARACTERS_PER_STEP: Final = 100
OWN_NAMES: Final = "emu_"
"""What the database's own tables begin with."""

LIMITS: Final = {
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_SQL_LENGTH: MAX_STATEMENT_BYTES,
    apsw.SQLITE_LIMIT_LENGTH: MAX_VALUE_BYTES,
    apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 64,
    apsw.SQLITE_LIMIT_COMPOUND_SELECT: 200,
    apsw.SQLITE_LIMIT_TRIGGER_DEPTH: 50,
    apsw.SQLITE_LIMIT_FUNCTION_ARG: 100,
    apsw.SQLITE_LIMIT_VDBE_OP: 200_000,
}
DENIED: Final = {
    apsw.SQLITE_ATTACH: "ATTACH is not allowed: a node has one database, in its own memory",
    apsw.SQLITE_DETACH: "DETACH is not allowed",
    apsw.SQLITE_CREATE_VTABLE: "virtual tables are not allowed: a record misses their rows",
    apsw.SQLITE_ANALYZE: "ANALYZE is not allowed: a record misses its statistics",
}
NO_TEMP: Final = "TEMP is not allowed: connections are shared, and a snapshot misses it"
CONTROL: Final = {
    apsw.SQLITE_TRANSACTION: "{}: a batch is the transaction",
    apsw.SQLITE_SAVEPOINT: "SAVEPOINT {}: a batch is the transaction",
}
SCHEMA_CHANGES: Final = {
    apsw.SQLITE_CREATE_TABLE: "CREATE TABLE",
    apsw.SQLITE_CREATE_INDEX: "CREATE INDEX",
    apsw.SQLITE_CREATE_VIEW: "CREATE VIEW",
    apsw.SQLITE_CREATE_TRIGGER: "CREATE TRIGGER",
    apsw.SQLITE_DROP_TABLE: "DROP TABLE",
    apsw.SQLITE_DROP_INDEX: "DROP INDEX",
    apsw.SQLITE_DROP_VIEW: "DROP VIEW",
    apsw.SQLITE_DROP_TRIGGER: "DROP TRIGGER",
    apsw.SQLITE_ALTER_TABLE: "ALTER TABLE",
    apsw.SQLITE_REINDEX: "REINDEX",
}
"""Actions of statements that ship as such."""
ADDS_A_CHECK: Final = "quick_check"
"""The pragma that ALTER TABLE itself asks whether old rows fit a new column."""
STATISTICS: Final = "sqlite_stat"
READABLE_PRAGMAS: Final = frozenset(
    {"table_info", "table_list", "table_xinfo", "index_list", "index_info", "index_xinfo"}
    | {"foreign_key_list"}
)
DENIED_FUNCTIONS: Final = {
    name: f"{name}() is not allowed: it reaches out of the database"
    for name in ("load_extension", "readfile", "writefile", "edit", "sqlite_log", "fts3_tokenizer")
} | {
    name: f"{name}() is not allowed: its work grows with the square of what it is given"
    for name in ("json_patch", "jsonb_patch", "json_pretty", "geopoly_overlap", "geopoly_within")
}
DENIED_TABLES: Final = frozenset({"dbstat", "sqlite_dbpage", "sqlite_stmt", "bytecode"})
"""What they show is another thing on each replica."""
ROOT_PAGE: Final = "rootpage"
SCHEMA_TABLES: Final = ("sqlite_master", "sqlite_schema")

_OK: Final = int(apsw.SQLITE_OK)
ERRORS: Final = (apsw.Error, TypeError, ValueError, OverflowError)
"""What running a statement may raise, for `Rules.refusal`."""
NO_UTF8: Final = "a text of this statement is not UTF-8: CAST it to a BLOB"
WRITES: Final = "this statement writes: use `write`"
HELD: Final = f"stopped: it held the node for more than {HOLD_S * 1000:.0f} ms; ask for less"
NAMES_TOO_MUCH: Final = "this names too much, with all that its views name"
BEYOND_SQLITE: Final = ("too many ", "at most ")
"""How SQLite says that."""


def check_length(characters: int) -> None:
    """Raises RpcError for a statement of too many of them."""
    if characters > MAX_STATEMENT_BYTES:
        most = f"{MAX_STATEMENT_BYTES >> 10} KiB; pass long values as params"
        raise RpcError("too_large", f"a statement of {characters} characters is over {most}")


def is_own(name: Any) -> bool:
    """Whether a table, index, view or trigger of that name is the database's own."""
    return isinstance(name, str) and name.lower().startswith(OWN_NAMES)


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
        self.rules.end()
        self.rules.is_reading = False


class Rules:
    """The guard of one connection."""

    def __init__(self, cpu_s: Callable[[], float]) -> None:
        """`cpu_s`: the seconds of processor that were used so far."""
        self._cpu_s = cpu_s
        self._denied = ""
        self._named = 0
        self._effects: set[Effect] | None = None
        """Of the statement that is being prepared, where somebody wants to know."""
        self._own = _Own()
        self.is_reading = False
        self.is_full: Callable[[], bool] = bool
        """Whether the transaction has become too large for a record."""
        self._steps_left = 0
        self._until_s = 0.0
        self._most_bytes = 0
        self._holds_too_much = False
        self._budget = STEP_BUDGET
        self._asked = ""
        self._known: dict[str, str] = {}
        """What the statements seen lately change of the schema."""
        self.columns: list[str] = []
        """Of the statement that ran last; [] where it gives no rows."""
        self._writes = False
        self._running: apsw.Cursor | None = None
        self.text = ""
        """Of the statement that ran last, without what came behind it."""
        self.did = ""
        """What the statement that ran last changed of the schema; "" if nothing."""

    def install(self, db: apsw.Connection) -> None:
        for limit, value in LIMITS.items():
            db.limit(limit, value)
        db.enable_load_extension(False)
        db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        # else each `LIMIT ?` is planned for its value, and prepared anew at every execution
        db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        db.set_authorizer(self._authorize)

    def own(self) -> _Own:
        """What the database itself does inside is not asked about."""
        return self._own

    def guarded(self, db: apsw.Connection, *, reading: bool) -> _Guard:
        """Bound the steps of what runs inside."""
        self.is_reading = reading
        self._steps_left = self._budget = STEP_BUDGET if reading else WRITE_STEP_BUDGET
        self._until_s = self._cpu_s() + HOLD_S
        self._most_bytes = apsw.memory_used() + MAX_MEMORY_BYTES
        self._holds_too_much = False
        return _Guard(self, db)

    def run(self, db: apsw.Connection, sql: Any, params: Any) -> apsw.Cursor:
        """Begin one statement of a client's; `columns` has its columns' names, `did` what it is.

        Raises RpcError and ERRORS.
        """
        if not isinstance(sql, str):
            raise RpcError("bad_request", "a statement must be text")
        check_length(len(sql))
        cursor, seen = db.cursor(), 0
        self.columns, self.did, self._denied, self._asked = [], "", "", ""
        self._named = 0

        def look(running: apsw.Cursor, text: str, bindings: Any) -> bool:
            # A cached statement is not authorized again, so what it does is asked of itself.
            nonlocal seen
            seen += running.has_vdbe  # a comment at the end is no statement
            if seen == 1 and not self.columns:
                self.columns = [each[0] for each in running.get_description()]
                self._writes = not (running.is_readonly or running.is_explain)
                self.text = text
                self.did = "" if running.is_explain else self._what(sql)
            if seen > 1:
                self._denied = "one statement at a time: put them into a batch"
            elif self.is_reading and self._writes:
                self._denied = WRITES
            return not self._denied

        cursor.exec_trace = look
        self.end()
        self._running = cursor
        return cursor.execute(sql, params, can_cache=sql in self._known)

    def check_view(self, db: apsw.Connection, name: str) -> None:
        """Raises RpcError for one that stands for too much; one that cannot be read yet is fine."""
        self._named, self._denied = MAX_NAMED - MAX_NAMED_BY_VIEW, ""
        try:
            db.cursor().execute(f"EXPLAIN SELECT 1 FROM main.{quoted(name)}", can_cache=False)
        except ERRORS as error:
            why = self._denied or str(error)
            if why == NAMES_TOO_MUCH or why.startswith(BEYOND_SQLITE):
                raise RpcError("refused", f"{name}: {why}") from error

    def check_triggers(self, db: apsw.Connection, table: str) -> bool:
        """Whether SQLite could prepare all that a change of this table or view sets off. Raises
        RpcError where that does what is not allowed: it could only be refused when it fires."""
        try:
            with self._own:
                changes = changes_of(db, table)
        except apsw.Error:  # a view of what is not there
            return False
        whole = True
        for change in changes:
            try:
                self.effects_of(db, change)
            except RpcError as denied:
                why = f"a trigger of {table} could never fire: {denied.message}"
                raise RpcError("refused", why) from denied
            except apsw.Error:
                whole = False  # what it names may yet be made
        return whole

    def effects_of(self, db: apsw.Connection, change: str) -> frozenset[Effect]:
        """All the changes that this statement would make, and set off. Raises RpcError where that
        is not allowed, or takes too long, and apsw.Error where it names what is not there."""
        if self._cpu_s() > self._until_s:
            raise RpcError("refused", HELD)
        self._named, self._denied, self._effects = 0, "", set()
        try:
            db.cursor().execute(f"EXPLAIN {change}", can_cache=False).close(True)
            return frozenset(self._effects)
        except ERRORS as error:
            if self._denied:
                raise RpcError("refused", self._denied) from error
            raise
        finally:
            self._effects = None

    def end(self) -> None:
        """The statement that ran last is over, also if not all its rows were wanted: a transaction
        cannot end before."""
        if self._running is not None:
            self._running.close(True)
            self._running = None

    def forget(self) -> None:
        """The schema is another: what statements change of it may be, too."""
        self._known.clear()

    def _what(self, sql: str) -> str:
        """What the statement that was just prepared changes of the schema. It was authorized, or
        is known: only those that are known are cached."""
        known = self._known.get(sql)
        if known is None:
            known = self._asked
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            if len(sql) <= MAX_KNOWN_STATEMENT:
                self._known[sql] = known
        return known

    def refusal(self, error: Exception, sql: str) -> RpcError:
        """One of ERRORS as an answer: what is wrong, and where."""
        if isinstance(error, apsw.InterruptError):
            return self._interrupted()
        if self._denied:
            details = (words.WRITES,) if self._denied == WRITES else ()
            return RpcError("bad_request", self._denied, *details)
        if isinstance(error, apsw.ConstraintError):
            return RpcError("refused", str(error))
        if isinstance(error, apsw.TooBigError):
            most = f"{MAX_VALUE_BYTES >> 10} KiB"
            return RpcError("too_large", f"{error}: a value has at most {most}")
        if isinstance(error, UnicodeDecodeError):
            return RpcError("refused", NO_UTF8)
        if "cannot VACUUM" in str(error):
            return RpcError("bad_request", "VACUUM is not allowed here")
        place = _place(error, sql)
        where = f" (line {place[0]}, column {place[1]})" if place else ""
        return RpcError("bad_request", f"{error}{where}", *place)

    def must_read(self) -> None:
        """Raises RpcError unless the statement that ran last may run again as a subquery."""
        if self._writes or self.did or not self.columns:
            raise RpcError("refused", NO_UTF8)

    def _interrupted(self) -> RpcError:
        if self.is_full():
            return RpcError("too_large", "a transaction changes too much; make several of it")
        if self._holds_too_much:
            why = f"stopped: it took more than {MAX_MEMORY_BYTES >> 20} MiB of memory; ask for less"
            return RpcError("refused", why)
        if self._steps_left >= 0:
            return RpcError("refused", HELD)
        why = f"stopped: it took more than {self._budget} steps; add an index or LIMIT"
        return RpcError("refused", why)

    @property
    def steps_spent(self) -> int:
        """By what was guarded last, to about STEPS_PER_LOOK."""
        return self._budget - self._steps_left

    def spend_random(self, size_bytes: int) -> None:
        """A function of ours works outside of SQLite's count. Raises RpcError."""
        self._steps_left -= size_bytes // RANDOM_BYTES_PER_STEP
        if self._steps_left < 0 and not self._own.depth:
            raise RpcError("refused", "stopped: randomblob() made too many bytes")

    def spend_characters(self, count: int) -> None:
        """A function of ours looks at so many. Raises RpcError."""
        self._steps_left -= count // CHARACTERS_PER_STEP
        spent = self._steps_left < 0 or self._cpu_s() > self._until_s
        if spent and not self._own.depth:
            raise RpcError("refused", "stopped: functions looked at too many characters")

    def spend(self) -> bool:
        """The progress handler: whether to stop."""
        self._steps_left -= STEPS_PER_LOOK
        if self._steps_left < 0 or self._cpu_s() > self._until_s:
            return True
        self._holds_too_much = apsw.memory_used() > self._most_bytes
        return self._holds_too_much or self.is_full()

    @property
    def _alters(self) -> bool:
        return self._asked.startswith(SCHEMA_CHANGES[apsw.SQLITE_ALTER_TABLE])

    def _authorize(
        self, action: int, first: str | None, second: str | None, schema: str | None, by: str | None
    ) -> int:
        if self._own.depth:
            return _OK
        self._named += 1
        if self._named > MAX_NAMED:
            self._denied = NAMES_TOO_MUCH
            return int(apsw.SQLITE_DENY)
        if action == apsw.SQLITE_READ and second == ROOT_PAGE and first in SCHEMA_TABLES:
            return int(apsw.SQLITE_IGNORE)  # NULL: each replica has its own
        if action == apsw.SQLITE_PRAGMA and first == ADDS_A_CHECK and self._alters:
            return _OK
        # Whatever its name says (`temp.t`), making anything there begins with a row in its schema.
        into_temp = action == apsw.SQLITE_INSERT and schema == "temp"
        why = NO_TEMP if into_temp else _denial(action, first, second)
        if why:
            self._denied = why
            return int(apsw.SQLITE_DENY)
        if self._effects is not None and action in CHANGES:
            self._effects.add(Effect(action, first or "", second or "", by or ""))
        if action in SCHEMA_CHANGES and not self._asked:
            name = second if action == apsw.SQLITE_ALTER_TABLE else first
            self._asked = f"{SCHEMA_CHANGES[action]} {name}"
        return _OK


def _denial(action: int, first: str | None, second: str | None) -> str:
    """Why a statement may not do that; "" if it may."""
    if action in DENIED:
        return DENIED[action]
    if action in CONTROL:
        return CONTROL[action].format(first)
    if action == apsw.SQLITE_PRAGMA:
        return "" if first in READABLE_PRAGMAS else f"PRAGMA {first} is not allowed"
    if action == apsw.SQLITE_FUNCTION:
        return DENIED_FUNCTIONS.get(second or "", "")
    if action == apsw.SQLITE_READ:
        return f"{first} is not allowed" if first in DENIED_TABLES else ""
    if action == apsw.SQLITE_REINDEX:
        return ""
    for name in (first, second):
        if is_own(name) and not (action == apsw.SQLITE_UPDATE and name is second):
            return f"{name} belongs to the database itself"
    if action == apsw.SQLITE_CREATE_TABLE and str(first).startswith(STATISTICS):
        return DENIED[apsw.SQLITE_ANALYZE]
    return ""


def _place(error: Exception, sql: str) -> tuple[int, ...]:
    """Line and column, from 1, where SQLite knows; else ()."""
    offset = getattr(error, "error_offset", -1)
    if not isinstance(offset, int) or offset < 0:
        return ()
    text = sql.encode()[:offset].decode("utf-8", "replace")
    return text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1
