"""SQL as a replicated state machine: a SQLite that notes what each transaction changes.

`execute` runs transactions on the state and yields one record of them; `apply` repeats it
elsewhere: rows by changes.py, changes of the schema as statements. No clock, disk or network here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

import apsw
import msgpack

from nodes.replica.family import Group, Outcome
from nodes.replica.state_machine import DoesNotApply
from nodes.sql import schema
from nodes.sql.chance import Chance
from nodes.sql.changes import Layouts, Misfit, Noted, make_again, repeat
from nodes.sql.copy import Scratch, copy_in, copy_out, open_empty
from nodes.sql.digest import digests
from nodes.sql.functions import Functions
from nodes.sql.rules import ERRORS, NO_UTF8, Rules
from nodes.sql.texts import as_bytes, decoded
from protocols.errors import RpcError
from protocols.replication.pieces import Content, Pieces
from protocols.stepping import Steps, at_once

MAX_ROWS: Final = 20_000
MAX_ANSWER_BYTES: Final = 900_000
MAX_RECORD_BYTES: Final = 480 << 10
"""Of one transaction: a little less than what the log takes as one record."""
MAX_NOTED_BYTES: Final = 16 << 20
"""Of a transaction that is stopped in its middle."""
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
    rows: bytes = b""
    """Instead of statements: changes of rows, as a record that the log lost has them."""
    results: Sequence[Any] = ()
    """What its client was told then."""


_pack: Final = msgpack.Packer(unicode_errors="surrogatepass").pack

Part = tuple[str, bytes]
"""Of a record: a statement that changed the schema, or "", and then the rows that changed."""


class _Full(Exception):
    """The transaction finds no room in the record that others have begun."""


class ReplicaDiverged(DoesNotApply):
    """A record did not fit the state it was applied to: this copy must be rebuilt."""


class SqlState:
    """One copy of the database. `now_s` and `rng` stand in for SQLite's own clock and dice."""

    def __init__(
        self,
        vfs_name: str,
        now_s: Callable[[], float],
        rng: random.Random,
        cpu_s: Callable[[], float] = float,
        scratch: Scratch = nullcontext,
    ) -> None:
        """`cpu_s`: the seconds of processor that were used so far."""
        self.chance = Chance(vfs_name, now_s, rng)
        self._vfs_name = vfs_name
        self._scratch = scratch
        self._rules = Rules(cpu_s)
        self._touched_rows = False
        """Whether a statement of this batch has read or changed rows."""
        self._functions = Functions(self._rules, self.chance)
        self._copies = 0
        self._repeats: bool | None = None
        self._use(self._open())
        self._create_own_tables()

    # --- reading -------------------------------------------------------------------------

    def query(
        self, sql: str, params: Sequence[Any] = (), max_rows: int | None = None
    ) -> dict[str, Any]:
        """Run one reading statement: `{"columns", "rows"}`. Raises RpcError.

        With `max_rows`, what comes after so many is counted as `more`, up to MAX_ROWS of it, where
        `more_at_least` says that there may be others.
        """
        with self._rules.guarded(self.db, reading=True):
            if max_rows is None:
                result = self._run(sql, params)
                return {"columns": result["columns"], "rows": result["rows"]}
            return self._first_rows(sql, params, min(max_rows, MAX_ROWS))

    def _first_rows(self, sql: str, params: Sequence[Any], max_rows: int) -> dict[str, Any]:
        more = 0
        try:
            cursor: Iterator[Any] = self._rules.run(self.db, sql, _bindable(params))
            try:
                rows = _bounded(islice(cursor, max_rows))
            except UnicodeDecodeError:
                cursor = self._as_bytes(params)
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
        self._turn(to_repeat=False)
        outcomes: list[Outcome] = []
        parts: list[Part] = []
        statements = steps = size_bytes = 0
        for each in asked:
            try:
                outcome, made = self._transact(each, lsn, bool(outcomes))
            except _Full:
                break
            except RpcError as refusal:
                outcome, made = Outcome([], refusal), []
            outcomes.append(outcome)
            parts += made
            size_bytes += sum(len(changes) for _, changes in made)
            statements += len(outcome.results)
            steps += self._rules.steps_spent
            full = statements >= GROUP_STATEMENTS or steps >= GROUP_STEPS
            if full or size_bytes > GROUP_BYTES or any(sql for sql, _ in made):
                break
        return Group(outcomes, msgpack.packb(parts) if parts else None)

    def _transact(self, asked: Transaction, lsn: int, joins: bool) -> tuple[Outcome, list[Part]]:
        """One of a group, and its part of the record. Raises RpcError, and _Full if it would be
        too much where it `joins`: then nothing changed."""
        request_id = asked.request_id
        if request_id and (known := self.known_request(request_id)) is not None:
            return Outcome(known["results"], None, known["lsn"]), []
        parsed = _parse(asked.statements) if not asked.rows else []
        self._begin()
        try:
            parts: list[Part] = []
            results = self._steps(parsed, parts) if not asked.rows else self._again(asked)
            if request_id:
                self._remember(request_id, lsn, results)
            if rows := self._taken():
                parts.append(("", rows))
            size_bytes = sum(len(sql) + len(rows) for sql, rows in parts)
            most_bytes = min(GROUP_BYTES, MAX_RECORD_BYTES)
            if joins and (size_bytes > most_bytes or (parts and parts[0][0])):
                raise _Full
            if size_bytes > MAX_RECORD_BYTES:
                most = f"{MAX_RECORD_BYTES >> 10} KiB; make several of it"
                raise RpcError("too_large", f"a transaction of {size_bytes} bytes is over {most}")
            with self._rules.own():
                self.db.execute("RELEASE emu")
        except apsw.Error as error:  # a deferred constraint: only the end looks at it
            self._roll_back()
            raise RpcError("refused", str(error)) from error
        except UnicodeDecodeError as error:  # of a row that is read only at the end
            self._roll_back()
            raise RpcError("refused", NO_UTF8) from error
        except Exception:
            self._roll_back()
            raise
        return Outcome(results), parts

    def _steps(self, parsed: list[tuple[str, Any, Any]], parts: list[Part]) -> list[dict[str, Any]]:
        self._touched_rows = False
        with self._rules.guarded(self.db, reading=False):
            results = [self._step(index, each, parts) for index, each in enumerate(parsed)]
            self._checker.check_whole()
        return results

    def _again(self, asked: Transaction) -> list[dict[str, Any]]:
        """Raises RpcError. What triggers and cascades did is among the rows."""
        self.db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
        self.db.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, False)
        try:
            with self._rules.own():
                make_again(self.db, self._layouts, asked.rows)
        except (Misfit, apsw.Error) as error:
            raise RpcError("refused", str(error)) from error
        finally:
            self._repeats = None
            self._turn(to_repeat=False)
        return list(asked.results)

    def rehearse_all(self, asked: Sequence[Transaction]) -> list[Outcome]:
        """What would come of these, one after the other; the state is as before."""
        self._turn(to_repeat=False)
        outcomes = []
        with self._rules.own():
            self.db.execute("SAVEPOINT rehearsal")
        try:
            for each in asked:
                try:
                    outcomes.append(self._transact(each, 0, False)[0])
                except RpcError as refusal:
                    outcomes.append(Outcome([], refusal))
                if self.db.getautocommit():  # it ended the rehearsal: what follows would be done
                    raise RpcError("refused", "a transaction of these ends all that is open")
        finally:
            with self._rules.own():
                if not self.db.getautocommit():
                    self.db.execute("ROLLBACK TO rehearsal; RELEASE rehearsal")
                self._checker.look_again()
            self._schema_changed()
        return outcomes

    def rehearse(self, statements: Sequence[Any]) -> list[dict[str, Any]]:
        """What the statements would give, together; the state is as before. Raises RpcError."""
        parsed = _parse(statements)
        self._turn(to_repeat=False)
        self._begin()
        try:
            return self._steps(parsed, [])
        finally:
            self._roll_back()

    def apply(self, record: bytes) -> None:
        """Repeat a committed record. Raises ReplicaDiverged if it does not fit."""
        self.apply_batch([record])

    def apply_batch(self, records: Sequence[bytes]) -> None:
        """Repeat committed records, all or none of them. Raises ReplicaDiverged."""
        self._turn(to_repeat=True)
        self._has_new_schema = True
        with self._rules.own():
            self.db.execute("SAVEPOINT emu")
            try:
                for record in records:
                    for sql, changes in msgpack.unpackb(record):
                        self._repeat(sql, changes)
                self.db.execute("RELEASE emu")
            except (Misfit, apsw.Error, TypeError, ValueError) as error:
                self._roll_back()
                raise ReplicaDiverged(str(error)) from error

    def _repeat(self, sql: str, changes: bytes) -> None:
        if sql:
            self.db.execute(sql)
            self._schema_changed()
        if changes:
            repeat(self.db, self._layouts, changes)

    def _turn(self, *, to_repeat: bool) -> None:
        """Executing, SQLite notes the rows that change. Repeating, it must do what is written and
        no more: what triggers and cascades did is in the record, and so are checks, which may have
        thrown dice. (SQLite prepares all statements again when this changes.)"""
        if self._repeats == to_repeat:
            return
        self._repeats = to_repeat
        db = self.db
        db.preupdate_hook(None if to_repeat else self._noted.note)
        db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, not to_repeat)
        db.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, not to_repeat)
        with self._rules.own():
            db.execute(f"PRAGMA ignore_check_constraints={int(to_repeat)}")

    # --- snapshots -----------------------------------------------------------------------

    def dump_in_steps(self) -> Steps[Pieces]:
        """The whole state as it is at the last step, for a snapshot file."""
        return copy_out(self.db, self._copy_name())

    def digests_in_steps(self) -> Steps[dict[str, str]]:
        """Each table's content in short, with its rowids, and the schema's: the same for copies
        that hold the same."""
        return digests(self.db, self._layouts, self._rules.own())

    def digests(self) -> dict[str, str]:
        return at_once(self.digests_in_steps())

    def load_in_steps(self, data: Content) -> Steps[Callable[[], None]]:
        """What makes this the state that a dump gave; until it is called, all is as it was."""
        db = open_empty(self._vfs_name, self._scratch)
        yield from copy_in(data, db, self._copy_name())
        self._prepare(db)
        return partial(self._become, db)

    def _become(self, db: apsw.Connection) -> None:
        self.db.close()
        self._use(db)

    def _use(self, db: apsw.Connection) -> None:
        self.db = db
        self._rules.forget()
        self._functions.install(db)
        self._layouts = Layouts(db, self._rules.own())
        self._noted = Noted(db, self._layouts)
        self._checker = schema.Checker(db, self._rules)
        self._rules.is_full = lambda: self._noted.size_bytes > MAX_NOTED_BYTES
        self._repeats = None
        self._turn(to_repeat=False)

    def _copy_name(self) -> str:
        """Of a VFS, while a copy is made."""
        self._copies += 1
        return f"{self._vfs_name}-copy-{self._copies}"

    def reset(self) -> None:
        """Become empty."""
        self.db.close()
        self._use(self._open())
        self._create_own_tables()

    def close(self) -> None:
        """Forget everything, for good."""
        self.db.close()
        self._functions.close()
        self.chance.close()

    # --- inside --------------------------------------------------------------------------

    def _open(self) -> apsw.Connection:
        db = open_empty(self._vfs_name, self._scratch)
        self._prepare(db)
        return db

    def _prepare(self, db: apsw.Connection) -> None:
        with self._rules.own():
            db.execute("PRAGMA foreign_keys=ON")
        self._rules.install(db)

    def _create_own_tables(self) -> None:
        with self._rules.own():
            self.db.execute(
                f"CREATE TABLE {REQUESTS_TABLE} "
                "(id TEXT PRIMARY KEY NOT NULL, lsn INTEGER NOT NULL, results BLOB NOT NULL)"
            )
            self.db.execute(f"CREATE INDEX {REQUESTS_TABLE}_by_lsn ON {REQUESTS_TABLE} (lsn)")
        self._checker = schema.Checker(self.db, self._rules)

    def known_request(self, request_id: str) -> dict[str, Any] | None:
        """What came of it, if it was done: `{"lsn", "results"}`."""
        sql = f"SELECT lsn, results FROM {REQUESTS_TABLE} WHERE id = ?"
        for lsn, results in self._own(sql, request_id):
            return {"lsn": lsn, "results": msgpack.unpackb(results)}
        return None

    def _remember(self, request_id: str, lsn: int, results: list[dict[str, Any]]) -> None:
        insert = f"INSERT INTO {REQUESTS_TABLE} VALUES (?, ?, ?)"
        self._own(insert, request_id, lsn, msgpack.packb(results))
        self._own(f"DELETE FROM {REQUESTS_TABLE} WHERE lsn < ?", lsn - REMEMBERED_REQUESTS)

    def _step(
        self, index: int, statement: tuple[str, Any, Any], parts: list[Part]
    ) -> dict[str, Any]:
        sql, params, guard = statement
        noted_bytes = self._noted.size_bytes
        self._noted.begin_statement()
        result = self._run(sql, params)
        changed_schema = self._rules.did
        if not changed_schema and (result["columns"] or self._noted.size_bytes > noted_bytes):
            self._touched_rows = True  # CREATE ... IF NOT EXISTS may have done nothing at all
        if self._touched_rows and (changed_schema or parts):
            raise RpcError("bad_request", "put schema changes into a batch of their own")
        if changed_schema:
            self._check_schema(drops=changed_schema.startswith("DROP "))
            parts.append((sql, self._taken(schema_changed=True)))
            result |= {"columns": [], "did": changed_schema}  # ALTER has some within itself
        wanted = guard.get("rows") if isinstance(guard, dict) else None
        got = len(result["rows"]) if result["columns"] else result["changes"]
        if wanted is not None and got != wanted:
            raise RpcError("refused", f"statement {index + 1}: {got} rows, not {wanted}", index)
        return result

    def _run(self, sql: str, params: Sequence[Any]) -> dict[str, Any]:
        """One statement, with its bounds: `{"changes", "columns", "rows"}`."""
        before = self.db.total_changes()
        try:
            try:
                rows = _bounded(self._rules.run(self.db, sql, _bindable(params)))
            except UnicodeDecodeError:
                rows = _bounded(self._as_bytes(params))
        except ERRORS as error:
            raise self._rules.refusal(error, sql) from error
        changes = self.db.total_changes() - before
        return {"changes": changes, "columns": self._rules.columns, "rows": rows}

    def _as_bytes(self, params: Sequence[Any]) -> Iterator[list[Any]]:
        """The rows of the statement that ran last, whose texts are not all UTF-8. Raises RpcError,
        for one that writes cannot run twice, and ERRORS."""
        columns = self._rules.columns
        self._rules.must_read()
        again = as_bytes(self._rules.text, len(columns))
        try:
            cursor = self._rules.run(self.db, again, _bindable(params))
        except apsw.SQLError as error:  # a comment without an end: it does not fit in another
            raise RpcError("refused", NO_UTF8) from error
        self._rules.columns = columns
        return decoded(cursor)

    def _check_schema(self, *, drops: bool) -> None:
        """Raises RpcError."""
        self._schema_changed()
        self._has_new_schema = True
        self._checker.check(drops=drops)

    def _schema_changed(self) -> None:
        """Forget what was known of it."""
        self._layouts.forget()
        self._rules.forget()

    def _taken(self, *, schema_changed: bool = False) -> bytes:
        with self._rules.own():
            return self._noted.take(schema_changed=schema_changed)

    def _own(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        with self._rules.own():
            return list(self.db.execute(sql, params))

    def _begin(self) -> None:
        self._noted.clear()
        self._has_new_schema = False
        self._functions.begin()
        with self._rules.own():
            self.db.execute("SAVEPOINT emu")
            if self.db.changes():  # it counts for this transaction alone
                self.db.execute(f"DELETE FROM {REQUESTS_TABLE} WHERE 0")

    def _roll_back(self) -> None:
        self._noted.clear()
        if self._has_new_schema:
            self._schema_changed()
        if not self.db.getautocommit():
            with self._rules.own():
                self.db.execute("ROLLBACK TO emu")
                self.db.execute("RELEASE emu")
        if self._has_new_schema:
            with self._rules.own():
                self._checker.look_again()


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


def _bounded(answer: Iterable[Any]) -> list[list[Any]]:
    """The rows, unless they are too many or too large together. Raises RpcError."""
    rows: list[list[Any]] = []
    size_bytes = 0
    for row in answer:
        rows.append(list(row))
        size_bytes += len(_pack(row))  # to look at each value in Python costs three times
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
