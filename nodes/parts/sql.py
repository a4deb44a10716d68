"""SQL as a replicated state machine: an in-memory SQLite that turns each
transaction into a changeset.

`execute` runs a batch on the state and yields a record; `apply` repeats a record elsewhere. What a
changeset misses (keyless tables, AUTOINCREMENT, DDL) is refused or shipped as a statement. No
clock, disk or network here.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import apsw
import msgpack

from protocols.errors import RpcError

MAX_STATEMENT_BYTES: Final = 1 << 20
MAX_ROWS: Final = 100_000
MAX_ANSWER_BYTES: Final = 900_000
MAX_STATEMENTS: Final = 1000
STEP_BUDGET: Final = 2_000_000
"""Virtual machine steps of one transaction: about 30 ms of a laptop's core."""
STEPS_PER_LOOK: Final = 20_000
REMEMBERED_REQUESTS: Final = 50_000
REQUESTS_TABLE: Final = "emu_requests"
_UNIX_EPOCH_JULIAN_DAYS: Final = 2440587.5

_WRITES_FILES = re.compile(r"^\s*(VACUUM|ATTACH|DETACH)\b", re.IGNORECASE)
_CONTROL = re.compile(r"^\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|END)\b", re.IGNORECASE)

DENIED: Final = {
    apsw.SQLITE_ATTACH: "ATTACH is not allowed: a node has one database, in its own memory",
    apsw.SQLITE_DETACH: "DETACH is not allowed",
}
READING: Final = frozenset(
    {
        apsw.SQLITE_SELECT,
        apsw.SQLITE_READ,
        apsw.SQLITE_FUNCTION,
        apsw.SQLITE_PRAGMA,
        apsw.SQLITE_RECURSIVE,
    }
)
READABLE_PRAGMAS: Final = frozenset(
    {"table_info", "table_list", "table_xinfo", "index_list", "index_info", "foreign_key_list"}
)
DENIED_FUNCTIONS: Final = frozenset({"load_extension", "readfile", "writefile", "edit"})


class Outcome(NamedTuple):
    """A transaction that went through: what the client hears, and what replicas must apply."""

    results: list[dict[str, Any]]
    record: bytes | None
    """None: it changed nothing (or repeated a known request)."""
    repeated_lsn: int | None = None


class ReplicaDiverged(Exception):
    """A record did not fit the state it was applied to: this copy must be rebuilt."""


class SqlState:
    """One copy of the database. `now_s` and `rng` stand in for SQLite's own clock and dice."""

    def __init__(self, vfs_name: str, now_s: Callable[[], float], rng: random.Random) -> None:
        self._vfs = _ClockVfs(vfs_name, now_s)
        self._vfs_name = vfs_name
        self._rng = rng
        self._denied = ""
        self._internal = False
        self._reading = False
        self._steps_left = 0
        self.db = self._open()
        self._create_own_tables()

    # --- reading -------------------------------------------------------------------------

    def query(self, sql: str, params: Sequence[Any] = ()) -> dict[str, Any]:
        """Run one reading statement: `{"columns", "rows"}`. Raises RpcError."""
        self._reading = True
        try:
            with self._guarded():
                result = self._run(sql, params)
        finally:
            self._reading = False
        return {"columns": result["columns"], "rows": result["rows"]}

    # --- writing -------------------------------------------------------------------------

    def execute(self, statements: Sequence[Any], lsn: int, request_id: str = "") -> Outcome:
        """All statements or none, as the record at `lsn`. Raises RpcError: then nothing changed."""
        if request_id and (known := self._known_request(request_id)) is not None:
            return Outcome(known["results"], None, known["lsn"])
        parsed = _parse(statements)
        ddl: list[str] = []
        with self._guarded(), _session(self.db) as session:
            self.db.execute("SAVEPOINT emu")
            try:
                results = [self._step(index, each, ddl) for index, each in enumerate(parsed)]
                if request_id:
                    self._remember(request_id, lsn, results)
                self.db.execute("RELEASE emu")
            except Exception:
                self._roll_back()
                raise
            changeset = session.changeset()
        if ddl:
            if not _only_own(changeset):
                raise RpcError("internal", "DDL and rows in one record")  # _step refused it before
            return Outcome(results, _pack_record(None, ddl, request_id, lsn, results))
        if not changeset:
            return Outcome(results, None)
        return Outcome(results, _pack_record(changeset, [], "", lsn, []))

    def rehearse(self, statements: Sequence[Any]) -> list[dict[str, Any]]:
        """What the statements would give, together; the state is as before. Raises RpcError."""
        parsed = _parse(statements)
        with self._guarded():
            self.db.execute("SAVEPOINT emu")
            try:
                return [self._step(index, each, []) for index, each in enumerate(parsed)]
            finally:
                self._roll_back()

    def apply(self, record: bytes) -> None:
        """Repeat a committed record. Raises ReplicaDiverged if it does not fit."""
        changeset, statements, request_id, lsn, results = msgpack.unpackb(record)
        self._internal = True
        try:
            if changeset is not None:
                self._apply_changeset(changeset)
                return
            with _session(self.db):
                for sql in statements:
                    self.db.execute(sql)
                if request_id:
                    self._remember(request_id, lsn, results)
        except apsw.Error as error:
            raise ReplicaDiverged(str(error)) from error
        finally:
            self._internal = False

    def _apply_changeset(self, changeset: bytes) -> None:
        problems: list[str] = []

        def conflict(reason: int, change: Any) -> int:
            problems.append(f"{change.name}: conflict {reason}")
            return int(apsw.SQLITE_CHANGESET_ABORT)

        try:
            apsw.Changeset.apply(
                changeset, self.db, conflict=conflict, flags=apsw.SQLITE_CHANGESETAPPLY_FKNOACTION
            )
        except apsw.AbortError as error:
            raise ReplicaDiverged(problems[0] if problems else str(error)) from error

    # --- snapshots -----------------------------------------------------------------------

    def dump(self) -> bytes:
        """The whole state, for a snapshot file."""
        self._internal = True
        try:
            return bytes(self.db.serialize("main") or b"")
        finally:
            self._internal = False

    def digests(self) -> dict[str, str]:
        """Each table's content in short: the same for copies that hold the same rows."""
        found = {}
        for table in sorted(self._tables()):
            quoted = table.replace('"', '""')
            rows = sorted(msgpack.packb(row) for row in self._own(f'SELECT * FROM "{quoted}"'))
            digest = hashlib.sha256(b"".join(rows)).hexdigest()[:16]
            found[table] = f"{len(rows)} rows, {digest}"
        return found

    def load(self, data: bytes) -> None:
        """Become the state that `dump` gave."""
        self.db.close()
        self.db = self._open()
        self._internal = True
        try:
            self.db.deserialize("main", data)
            self._prepare(self.db)
        finally:
            self._internal = False

    def reset(self) -> None:
        """Become empty."""
        self.db.close()
        self.db = self._open()
        self._create_own_tables()

    def close(self) -> None:
        """Forget everything, for good: SQLite itself would keep our clock, and all behind it."""
        self.db.close()
        self._vfs.unregister()

    # --- inside --------------------------------------------------------------------------

    def _open(self) -> apsw.Connection:
        db = apsw.Connection(":memory:", vfs=self._vfs_name)
        self._prepare(db)
        return db

    def _prepare(self, db: apsw.Connection) -> None:
        db.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
        db.limit(apsw.SQLITE_LIMIT_SQL_LENGTH, MAX_STATEMENT_BYTES)
        db.enable_load_extension(False)
        db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        db.create_scalar_function("random", self._random, 0)
        db.create_scalar_function("randomblob", self._random_blob, 1)
        db.execute("PRAGMA foreign_keys=ON")
        db.set_authorizer(self._authorize)

    def _random(self, *_: Any) -> int:
        return self._rng.getrandbits(63)

    def _random_blob(self, *size_bytes: Any) -> bytes:
        return self._rng.randbytes(min(int(size_bytes[0]), MAX_ANSWER_BYTES))

    def _create_own_tables(self) -> None:
        self._internal = True
        try:
            self.db.execute(
                f"CREATE TABLE {REQUESTS_TABLE} "
                "(id TEXT PRIMARY KEY NOT NULL, lsn INTEGER NOT NULL, results BLOB NOT NULL)"
            )
            self.db.execute(f"CREATE INDEX {REQUESTS_TABLE}_by_lsn ON {REQUESTS_TABLE} (lsn)")
        finally:
            self._internal = False

    def _known_request(self, request_id: str) -> dict[str, Any] | None:
        self._internal = True
        try:
            for lsn, results in self.db.execute(
                f"SELECT lsn, results FROM {REQUESTS_TABLE} WHERE id = ?", (request_id,)
            ):
                return {"lsn": lsn, "results": msgpack.unpackb(results)}
        finally:
            self._internal = False
        return None

    def _remember(self, request_id: str, lsn: int, results: list[dict[str, Any]]) -> None:
        before, self._internal = self._internal, True
        try:
            self.db.execute(
                f"INSERT INTO {REQUESTS_TABLE} VALUES (?, ?, ?)",
                (request_id, lsn, msgpack.packb(results)),
            )
            self.db.execute(
                f"DELETE FROM {REQUESTS_TABLE} WHERE lsn < ?", (lsn - REMEMBERED_REQUESTS,)
            )
        finally:
            self._internal = before

    def _step(self, index: int, statement: tuple[str, Any, Any], ddl: list[str]) -> dict[str, Any]:
        sql, params, guard = statement
        self._check_statement(sql)
        is_ddl = _is_ddl(sql)
        if is_ddl != bool(ddl) and index:
            raise RpcError("bad_request", "put schema changes into a batch of their own")
        tables = self._tables() if is_ddl else ()
        result = self._run(sql, params)
        if is_ddl:
            self._check_new_tables(tables)
            ddl.append(sql)
        wanted = guard.get("rows") if isinstance(guard, dict) else None
        got = len(result["rows"]) if result["columns"] else result["changes"]
        if wanted is not None and got != wanted:
            raise RpcError("refused", f"statement {index + 1}: {got} rows, not {wanted}", index)
        return result

    def _run(self, sql: str, params: Sequence[Any]) -> dict[str, Any]:
        """One statement, with its bounds: `{"changes", "columns", "rows"}`."""
        self._check_statement(sql)
        before = self.db.total_changes()
        rows: list[list[Any]] = []
        columns: list[str] = []
        size_bytes = 0
        with self._errors(sql):
            cursor = self.db.cursor()
            for row in cursor.execute(sql, _bindable(params)):
                rows.append(list(row))
                size_bytes += 8
                for each in row:  # plain, because every row of every answer passes here
                    size_bytes += len(each) if type(each) is str or type(each) is bytes else 9
                if len(rows) > MAX_ROWS or size_bytes > MAX_ANSWER_BYTES:
                    raise RpcError("too_large", "the result is too large: add LIMIT")
                columns = columns or [each[0] for each in cursor.get_description()]
            if not columns:
                try:
                    columns = [each[0] for each in cursor.get_description()]
                except apsw.ExecutionCompleteError:
                    columns = []
        return {"changes": self.db.total_changes() - before, "columns": columns, "rows": rows}

    def _check_statement(self, sql: Any) -> None:
        if not isinstance(sql, str):
            raise RpcError("bad_request", "a statement must be text")
        if len(sql) > MAX_STATEMENT_BYTES:
            raise RpcError("too_large", f"a statement of {len(sql)} characters")
        if match := _WRITES_FILES.match(sql):
            raise RpcError("bad_request", f"{match[1].upper()} is not allowed here")
        if match := _CONTROL.match(sql):
            raise RpcError("bad_request", f"{match[1].upper()}: a batch is the transaction")

    def _check_new_tables(self, before: tuple[str, ...]) -> None:
        """What a changeset would miss is refused at birth."""
        for name in self._tables():
            if name in before:
                continue
            sql = next(iter(self._own("SELECT sql FROM sqlite_master WHERE name = ?", name)))[0]
            if re.search(r"\bAUTOINCREMENT\b", sql, re.IGNORECASE):
                raise RpcError("refused", f"{name}: AUTOINCREMENT would reuse ids after a failover")
            info = self._own(f"PRAGMA table_info('{name.replace(chr(39), chr(39) * 2)}')")
            keys = [(kind.upper(), notnull) for _, _, kind, notnull, _, key in info if key]
            rowid_alias = len(keys) == 1 and keys[0][0] == "INTEGER"
            if not keys or not (rowid_alias or all(notnull for _, notnull in keys)):
                raise RpcError("refused", f"{name}: give it a PRIMARY KEY that is NOT NULL")

    def _tables(self) -> tuple[str, ...]:
        return tuple(
            row[0] for row in self._own("SELECT name FROM sqlite_master WHERE type='table'")
        )

    def _own(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        before, self._internal = self._internal, True
        try:
            return list(self.db.execute(sql, params))
        finally:
            self._internal = before

    def _roll_back(self) -> None:
        if not self.db.getautocommit():
            self.db.execute("ROLLBACK TO emu")
            self.db.execute("RELEASE emu")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Bound the steps of what runs inside."""
        self._steps_left = STEP_BUDGET
        self.db.set_progress_handler(self._spend, STEPS_PER_LOOK)
        try:
            yield
        finally:
            self.db.set_progress_handler(None)

    def _spend(self) -> bool:
        self._steps_left -= STEPS_PER_LOOK
        return self._steps_left < 0

    @contextmanager
    def _errors(self, sql: str) -> Iterator[None]:
        """SQLite's errors as answers: what is wrong, and where."""
        self._denied = ""
        try:
            yield
        except apsw.InterruptError as error:
            raise RpcError(
                "refused", f"stopped: it took more than {STEP_BUDGET} steps; add an index or LIMIT"
            ) from error
        except apsw.AuthError as error:
            raise RpcError("bad_request", self._denied or str(error)) from error
        except apsw.ConstraintError as error:
            raise RpcError("refused", str(error)) from error
        except apsw.TooBigError as error:
            raise RpcError("too_large", str(error)) from error
        except (apsw.Error, TypeError, ValueError, OverflowError) as error:
            raise RpcError("bad_request", f"{error}{_place(error, sql)}") from error

    def _authorize(
        self, action: int, first: str | None, second: str | None, schema: str | None, by: str | None
    ) -> int:
        if self._internal:
            return int(apsw.SQLITE_OK)
        if self._reading and action not in READING:
            return self._deny("this statement writes: use `write`")
        if action in DENIED:
            return self._deny(DENIED[action])
        if action == apsw.SQLITE_PRAGMA and first not in READABLE_PRAGMAS:
            return self._deny(f"PRAGMA {first} is not allowed")
        if action == apsw.SQLITE_FUNCTION and second in DENIED_FUNCTIONS:
            return self._deny(f"{second}() is not allowed")
        if first is not None and str(first).startswith("emu_") and action != apsw.SQLITE_READ:
            return self._deny(f"{first} belongs to the database itself")
        return int(apsw.SQLITE_OK)

    def _deny(self, why: str) -> int:
        self._denied = why
        return int(apsw.SQLITE_DENY)


class _ClockVfs(apsw.VFS):
    """SQLite's idea of the time is the node's."""

    def __init__(self, name: str, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        super().__init__(name, "")

    def xCurrentTimeInt64(self) -> int:
        return int((self._now_s() + _UNIX_EPOCH_JULIAN_DAYS * 86400) * 1000)


@contextmanager
def _session(db: apsw.Connection) -> Iterator[apsw.Session]:
    session = apsw.Session(db, "main")
    session.attach()
    try:
        yield session
    finally:
        session.close()


def _parse(statements: Sequence[Any]) -> list[tuple[str, Any, Any]]:
    if not isinstance(statements, list | tuple) or not 0 < len(statements) <= MAX_STATEMENTS:
        raise RpcError("bad_request", f"give a list of 1 to {MAX_STATEMENTS} statements")
    parsed: list[tuple[Any, Any, Any]] = []
    for each in statements:
        if isinstance(each, str):
            each = [each]
        if not isinstance(each, list | tuple) or not 1 <= len(each) <= 3:
            raise RpcError("bad_request", "a statement is [sql, params] or [sql, params, guard]")
        sql, params, guard = [*each, [], None][:3] if len(each) == 1 else [*each, None][:3]
        parsed.append((sql, params or [], guard))
    return parsed


def _bindable(params: Any) -> Any:
    if isinstance(params, dict):
        return params
    if not isinstance(params, list | tuple):
        raise RpcError("bad_request", "params must be a list or a map")
    return tuple(params)


def _is_ddl(sql: str) -> bool:
    return re.match(r"\s*(CREATE|DROP|ALTER|REINDEX|ANALYZE)\b", sql, re.IGNORECASE) is not None


def _only_own(changeset: bytes) -> bool:
    return all(change.name == REQUESTS_TABLE for change in apsw.Changeset.iter(changeset))


def _pack_record(
    changeset: bytes | None,
    statements: list[Any],
    request_id: str,
    lsn: int,
    results: list[dict[str, Any]],
) -> bytes:
    packed: bytes = msgpack.packb([changeset, statements, request_id, lsn, results])
    return packed


def _place(error: Exception, sql: str) -> str:
    """` (at line 2, column 8: ...)` where SQLite knows."""
    offset = getattr(error, "error_offset", -1)
    if not isinstance(offset, int) or offset < 0:
        return ""
    text = sql.encode()[:offset].decode("utf-8", "replace")
    line, column = text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1
    return f" (line {line}, column {column})"
