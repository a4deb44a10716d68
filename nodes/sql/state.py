"""SQL as a replicated state machine: an in-memory SQLite that turns each
transaction into a changeset.

`execute` runs transactions on the state and yields one record of them; `apply` repeats it
elsewhere. What a changeset misses (keyless tables, AUTOINCREMENT, DDL) is refused or shipped as a
statement. No clock, disk or network here.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

import apsw
import msgpack

from nodes.sql.chance import Chance
from nodes.sql.copy import copy_in, copy_out, open_in_memory
from nodes.sql.rules import ERRORS, SCHEMA_WORDS, Rules
from protocols.errors import RpcError
from protocols.replication.pieces import Content, Pieces
from protocols.stepping import Steps

MAX_ROWS: Final = 20_000
MAX_ANSWER_BYTES: Final = 900_000
MAX_RECORD_BYTES: Final = 480 << 10
"""Of one transaction: a little less than what the log takes as one record."""
MAX_STATEMENTS: Final = 1000
GROUP_BYTES: Final = 64 << 10
GROUP_STATEMENTS: Final = 256
GROUP_STEPS: Final = 100_000
"""A record of several transactions ends behind the one that passes any of these."""
REMEMBERED_REQUESTS: Final = 50_000
REQUESTS_TABLE: Final = "emu_requests"


class Transaction(NamedTuple):
    """What one client asks for: all of it, or none."""

    statements: Sequence[Any]
    request_id: str = ""


class Outcome(NamedTuple):
    """What one client hears."""

    results: list[dict[str, Any]]
    refusal: RpcError | None = None
    """Nothing changed, for this reason."""
    repeated_lsn: int | None = None
    """The record that has its effect already: the request was known."""


class Group(NamedTuple):
    """Transactions that were executed together, and what replicas must apply."""

    outcomes: list[Outcome]
    record: bytes | None
    """None: they changed nothing."""


class _Full(Exception):
    """The transaction finds no room in the record that others have begun."""


class ReplicaDiverged(Exception):
    """A record did not fit the state it was applied to: this copy must be rebuilt."""


class SqlState:
    """One copy of the database. `now_s` and `rng` stand in for SQLite's own clock and dice."""

    def __init__(self, vfs_name: str, now_s: Callable[[], float], rng: random.Random) -> None:
        self.chance = Chance(vfs_name, now_s, rng)
        self._vfs_name = vfs_name
        self._rules = Rules()
        self._copies = 0
        self.db = self._open()
        self._create_own_tables()

    # --- reading -------------------------------------------------------------------------

    def query(
        self, sql: str, params: Sequence[Any] = (), max_rows: int | None = None
    ) -> dict[str, Any]:
        """Run one reading statement: `{"columns", "rows"}`. Raises RpcError.

        With `max_rows`, what comes after so many is counted as `more`, up to MAX_ROWS of it, where
        `more_at_least` says that there may be others.
        """
        self._rules.check(sql)
        with self._rules.guarded(self.db, reading=True):
            if max_rows is None:
                result = self._run(sql, params)
                return {"columns": result["columns"], "rows": result["rows"]}
            return self._first_rows(sql, params, min(max_rows, MAX_ROWS))

    def _first_rows(self, sql: str, params: Sequence[Any], max_rows: int) -> dict[str, Any]:
        more = 0
        try:
            cursor = self._rules.cursor(self.db).execute(sql, _bindable(params))
            rows = _bounded(islice(cursor, max_rows))
            try:
                for _ in islice(cursor, MAX_ROWS + 1):
                    more += 1
                at_least = more > MAX_ROWS
            except apsw.InterruptError:  # out of steps, with the rows that were asked for in hand
                at_least = True
        except ERRORS as error:
            raise self._rules.refusal(error, sql) from error
        answer = {"columns": self._rules.columns, "rows": rows}
        return {**answer, "more": min(more, MAX_ROWS), "more_at_least": at_least}

    # --- writing -------------------------------------------------------------------------

    def execute(self, asked: Sequence[Transaction], lsn: int) -> Group:
        """Run the first of these transactions, in their order, as the record at `lsn`: at least one
        and as many as one record should hold. Each is done whole, or refused and not at all.

        Schema changes are records of their own.
        """
        session = apsw.Session(self.db, "main")
        session.config(apsw.SQLITE_SESSION_OBJCONFIG_SIZE, True)
        session.attach()
        outcomes: list[Outcome] = []
        statements = steps = 0
        try:
            for each in asked:
                is_alone = self._changes_schema(each.statements)
                if is_alone and outcomes:
                    break
                try:
                    outcome, record = self._transact(each, lsn, session, bool(outcomes))
                except _Full:
                    break
                except RpcError as refusal:
                    outcome, record = Outcome([], refusal), None
                outcomes.append(outcome)
                if is_alone or record is not None:
                    return Group(outcomes, record)
                statements += len(outcome.results)
                steps += self._rules.steps_spent
                full = statements >= GROUP_STATEMENTS or steps >= GROUP_STEPS
                if full or session.changeset_size > GROUP_BYTES:
                    break
            return Group(outcomes, self._record(session, [], "", lsn, []))
        finally:
            session.close()

    def _transact(
        self, asked: Transaction, lsn: int, session: apsw.Session, joins: bool
    ) -> tuple[Outcome, bytes | None]:
        """One of a group, and its record if it takes a whole one. Raises RpcError, and _Full if it
        would be too much where it `joins`: then nothing changed."""
        request_id = asked.request_id
        if request_id and (known := self._known_request(request_id)) is not None:
            return Outcome(known["results"], None, known["lsn"]), None
        parsed = _parse(asked.statements)
        ddl: list[str] = []
        record = None
        self._begin()
        try:
            results = self._steps(parsed, ddl)
            if request_id:
                self._remember(request_id, lsn, results)
            if ddl or session.changeset_size > MAX_RECORD_BYTES:
                if joins:
                    raise _Full
                record = self._record(session, ddl, request_id, lsn, results)
            with self._rules.own():
                self.db.execute("RELEASE emu")
        except apsw.Error as error:  # a deferred constraint: only the end looks at it
            self._roll_back()
            raise RpcError("refused", str(error)) from error
        except Exception:
            self._roll_back()
            raise
        return Outcome(results), record

    def _steps(self, parsed: list[tuple[str, Any, Any]], ddl: list[str]) -> list[dict[str, Any]]:
        with self._rules.guarded(self.db, reading=False):
            return [self._step(index, each, ddl) for index, each in enumerate(parsed)]

    def _record(
        self,
        session: apsw.Session,
        ddl: list[str],
        request_id: str,
        lsn: int,
        results: list[dict[str, Any]],
    ) -> bytes | None:
        """What repeats the transactions elsewhere. Raises RpcError if that is too large."""
        if ddl:
            record = _pack_record(None, ddl, request_id, lsn, results)
        else:
            with self._rules.own():
                changeset = session.changeset()
            if not changeset:
                return None
            record = _pack_record(changeset, [], "", lsn, [])
        if len(record) > MAX_RECORD_BYTES:
            most = f"{MAX_RECORD_BYTES >> 10} KiB; make several of it"
            raise RpcError("too_large", f"a transaction of {len(record)} bytes is over {most}")
        return record

    def rehearse(self, statements: Sequence[Any]) -> list[dict[str, Any]]:
        """What the statements would give, together; the state is as before. Raises RpcError."""
        parsed = _parse(statements)
        self._begin()
        try:
            return self._steps(parsed, [])
        finally:
            self._roll_back()

    def apply(self, record: bytes) -> None:
        """Repeat a committed record. Raises ReplicaDiverged if it does not fit."""
        changeset, statements, request_id, lsn, results = msgpack.unpackb(record)
        try:
            with self._rules.own():
                if changeset is not None:
                    self._apply_changeset(changeset)
                    return
                for sql in statements:
                    self.db.execute(sql)
                if request_id:
                    self._remember(request_id, lsn, results)
        except apsw.Error as error:
            raise ReplicaDiverged(str(error)) from error

    def apply_batch(self, records: Sequence[bytes]) -> None:
        """Repeat committed records. Runs of changesets are merged: what costs is each application,
        not its rows. Raises ReplicaDiverged."""
        run: list[bytes] = []
        for record in records:
            if msgpack.unpackb(record)[0] is None:  # DDL: rows before and after do not merge
                self._apply_run(run)
                run = []
                self.apply(record)
            else:
                run.append(record)
        self._apply_run(run)

    def _apply_run(self, records: Sequence[bytes]) -> None:
        if len(records) > 1:
            merged = apsw.ChangesetBuilder()  # type: ignore[no-untyped-call]
            for record in records:
                merged.add(msgpack.unpackb(record)[0])
            try:
                with self._rules.own():
                    self._apply_changeset(merged.output())
                return
            except (ReplicaDiverged, apsw.Error):
                pass  # nothing was done; rows that swap unique values fit only one by one
        for record in records:
            self.apply(record)

    def _apply_changeset(self, changeset: bytes) -> None:
        problems: list[str] = []

        def conflict(reason: int, change: Any) -> int:
            problems.append(f"{change.name}: conflict {reason}")
            return int(apsw.SQLITE_CHANGESET_ABORT)

        # What triggers and cascades did is in the changeset: they must not do it again.
        self.db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
        try:
            apsw.Changeset.apply(
                changeset, self.db, conflict=conflict, flags=apsw.SQLITE_CHANGESETAPPLY_FKNOACTION
            )
        except apsw.AbortError as error:
            raise ReplicaDiverged(problems[0] if problems else str(error)) from error
        finally:
            self.db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 1)

    # --- snapshots -----------------------------------------------------------------------

    def dump_in_steps(self) -> Steps[Pieces]:
        """The whole state as it is at the last step, for a snapshot file."""
        return copy_out(self.db, self._copy_name())

    def digests(self) -> dict[str, str]:
        """Each table's content in short: the same for copies that hold the same rows."""
        found = {}
        for table in sorted(self._tables()):
            quoted = table.replace('"', '""')
            rows = sorted(msgpack.packb(row) for row in self._own(f'SELECT * FROM "{quoted}"'))
            digest = hashlib.sha256(b"".join(rows)).hexdigest()[:16]
            found[table] = f"{len(rows)} rows, {digest}"
        return found

    def load_in_steps(self, data: Content) -> Steps[Callable[[], None]]:
        """What makes this the state that a dump gave; until it is called, all is as it was."""
        db = open_in_memory(self._vfs_name)
        yield from copy_in(data, db, self._copy_name())
        self._prepare(db)
        return partial(self._become, db)

    def _become(self, db: apsw.Connection) -> None:
        self.db.close()
        self.db = db

    def _copy_name(self) -> str:
        """Of a VFS, while a copy is made."""
        self._copies += 1
        return f"{self._vfs_name}-copy-{self._copies}"

    def reset(self) -> None:
        """Become empty."""
        self.db.close()
        self.db = self._open()
        self._create_own_tables()

    def close(self) -> None:
        """Forget everything, for good."""
        self.db.close()
        self.chance.close()

    # --- inside --------------------------------------------------------------------------

    def _open(self) -> apsw.Connection:
        db = open_in_memory(self._vfs_name)
        self._prepare(db)
        return db

    def _prepare(self, db: apsw.Connection) -> None:
        db.create_scalar_function("random", self._random, 0)
        db.create_scalar_function("randomblob", self._random_blob, 1)
        with self._rules.own():
            db.execute("PRAGMA foreign_keys=ON")
        self._rules.install(db)

    def _random(self, *_: Any) -> int:
        return self.chance.rng.getrandbits(63)

    def _random_blob(self, *size_bytes: Any) -> bytes:
        wanted_bytes = min(max(0, int(size_bytes[0])), MAX_ANSWER_BYTES)
        self._rules.spend_random(wanted_bytes)
        return self.chance.rng.randbytes(wanted_bytes)

    def _create_own_tables(self) -> None:
        with self._rules.own():
            self.db.execute(
                f"CREATE TABLE {REQUESTS_TABLE} "
                "(id TEXT PRIMARY KEY NOT NULL, lsn INTEGER NOT NULL, results BLOB NOT NULL)"
            )
            self.db.execute(f"CREATE INDEX {REQUESTS_TABLE}_by_lsn ON {REQUESTS_TABLE} (lsn)")

    def _known_request(self, request_id: str) -> dict[str, Any] | None:
        sql = f"SELECT lsn, results FROM {REQUESTS_TABLE} WHERE id = ?"
        for lsn, results in self._own(sql, request_id):
            return {"lsn": lsn, "results": msgpack.unpackb(results)}
        return None

    def _remember(self, request_id: str, lsn: int, results: list[dict[str, Any]]) -> None:
        insert = f"INSERT INTO {REQUESTS_TABLE} VALUES (?, ?, ?)"
        self._own(insert, request_id, lsn, msgpack.packb(results))
        self._own(f"DELETE FROM {REQUESTS_TABLE} WHERE lsn < ?", lsn - REMEMBERED_REQUESTS)

    def _step(self, index: int, statement: tuple[str, Any, Any], ddl: list[str]) -> dict[str, Any]:
        sql, params, guard = statement
        is_ddl = self._rules.check(sql) in SCHEMA_WORDS
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
        before = self.db.total_changes()
        try:
            rows = _bounded(self._rules.cursor(self.db).execute(sql, _bindable(params)))
        except ERRORS as error:
            raise self._rules.refusal(error, sql) from error
        changes = self.db.total_changes() - before
        return {"changes": changes, "columns": self._rules.columns, "rows": rows}

    def _changes_schema(self, statements: Any) -> bool:
        """Whether it begins with a schema change, whatever else may be wrong with it."""
        first = statements[0] if isinstance(statements, list | tuple) and statements else None
        sql = first[0] if isinstance(first, list | tuple) and first else first
        return isinstance(sql, str) and self._rules.verb(sql) in SCHEMA_WORDS

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
        with self._rules.own():
            return list(self.db.execute(sql, params))

    def _begin(self) -> None:
        with self._rules.own():
            self.db.execute("SAVEPOINT emu")

    def _roll_back(self) -> None:
        if not self.db.getautocommit():
            with self._rules.own():
                self.db.execute("ROLLBACK TO emu")
                self.db.execute("RELEASE emu")


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


def _bounded(answer: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """The rows, unless they are too many or too large together. Raises RpcError."""
    rows: list[list[Any]] = []
    size_bytes = 0
    for row in answer:
        rows.append(list(row))
        size_bytes += 8
        for each in row:  # plain, because every row of every answer passes here
            size_bytes += len(each) if type(each) is str or type(each) is bytes else 9
        if len(rows) > MAX_ROWS or size_bytes > MAX_ANSWER_BYTES:
            most = f"over {MAX_ROWS:,} rows, or {MAX_ANSWER_BYTES:,} bytes"
            raise RpcError("too_large", f"the result is too large ({most}): add LIMIT")
    return rows


def _bindable(params: Any) -> Any:
    if isinstance(params, dict):
        return params
    if not isinstance(params, list | tuple):
        raise RpcError("bad_request", "params must be a list or a map")
    return tuple(params)


def _pack_record(
    changeset: bytes | None,
    statements: list[Any],
    request_id: str,
    lsn: int,
    results: list[dict[str, Any]],
) -> bytes:
    packed: bytes = msgpack.packb([changeset, statements, request_id, lsn, results])
    return packed
