"""Triggers whose effect SQLite leaves undefined: before a row is changed or deleted, they change
its table.

The row may be gone or another then, while SQLite goes on with what it had read of it: an index
keeps what no row has, and replicas differ. What a trigger is, and sets off, SQLite says: nothing
here reads its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, NamedTuple

import apsw

from nodes.sql.changes import quoted
from protocols.errors import RpcError

CHANGES: Final = frozenset({apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE})
"""What the authorizer is asked about a statement that changes rows."""
BEFORE: Final = "cannot create BEFORE trigger"
"""How SQLite refuses one on a view."""
REPLACES: Final = " OR REPLACE"
TRIGGERS: Final = (
    "SELECT r.name, t.name, r.sql FROM main.sqlite_schema r JOIN main.sqlite_schema t"
    " ON t.type = 'table' AND t.name = r.tbl_name COLLATE NOCASE WHERE r.type = 'trigger'"
    " ORDER BY r.name"
)


class Trigger(NamedTuple):
    """On a table (not on a view)."""

    name: str
    table: str
    sql: str
    columns: tuple[str, ...]
    """Of the table."""


class Effect(NamedTuple):
    """A change of rows by a statement, or by what it sets off."""

    action: int
    table: str
    column: str
    """Of an update."""
    trigger: str
    """Whose statement it is; "" of the statement itself, and of a foreign key."""


def changes_of(db: apsw.Connection, table: str) -> list[str]:
    """A statement for each kind of trigger that a table or view may have. Raises apsw.Error."""
    columns = _columns(db, table)
    updates = [_change(apsw.SQLITE_UPDATE, table, columns)] if columns else []
    insert, delete = _change(apsw.SQLITE_INSERT, table), _change(apsw.SQLITE_DELETE, table)
    return [insert, *updates, delete]


class Early:
    """The triggers of one connection that act before a row is changed or deleted."""

    def __init__(
        self,
        db: apsw.Connection,
        effects_of: Callable[[str], frozenset[Effect]],
        own: AbstractContextManager[None],
    ) -> None:
        """`effects_of(statement)`: all that it changes. Raises RpcError, and apsw.Error where it
        names what is not there. Inside `own`, the database asks for itself."""
        self._db = db
        self._effects_of = effects_of
        self._own = own
        self._moments: dict[Trigger, str] = {}

    def check(self) -> None:
        """Raises RpcError for one that changes the table it stands on, or sets that off."""
        known, self._moments = self._moments, {}
        for trigger in self._triggers():
            moment = known[trigger] if trigger in known else _moment_of(trigger)
            self._moments[trigger] = moment
            if moment and trigger.table in self._changed_by(trigger):
                raise _refusal(trigger, moment)

    def _triggers(self) -> list[Trigger]:
        with self._own:
            return [
                Trigger(name, table, sql, tuple(_columns(self._db, table)))
                for name, table, sql in list(self._db.execute(TRIGGERS))
            ]

    def _changed_by(self, trigger: Trigger) -> set[str]:
        """The tables that it changes, with all that this sets off."""
        update, table = partial(_change, apsw.SQLITE_UPDATE, trigger.table), trigger.table
        effects = self._look(_change(apsw.SQLITE_DELETE, table))
        effects |= self._look(update(trigger.columns)) or frozenset().union(
            *(self._look(update([each])) for each in trigger.columns)
        )
        tables = set[str]()
        for what, column in _done_by(trigger.name, effects).items():
            # whoever fires it may say OR REPLACE for all of it
            found = self._look(_change(*what, column, REPLACES)) or self._look(
                _change(*what, column)
            )
            tables |= {each.table for each in found}
        return tables

    def _look(self, statement: str) -> frozenset[Effect]:
        """Nothing, where it names what is not there (yet): it cannot be executed."""
        try:
            return self._effects_of(statement)
        except apsw.Error:
            return frozenset()


def _done_by(trigger: str, effects: Iterable[Effect]) -> dict[tuple[int, str], list[str]]:
    """What of these it does itself: the kind of change, the table, and an update's columns."""
    done: dict[tuple[int, str], list[str]] = {}
    for each in sorted(effects):
        if each.trigger == trigger:
            done.setdefault((each.action, each.table), []).append(quoted(each.column))
    return done


def _columns(db: apsw.Connection, table: str) -> list[str]:
    of = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0"
    return [quoted(name) for (name,) in db.execute(of, (table,))]


def _change(action: int, table: str, columns: Iterable[str] = (), conflict: str = "") -> str:
    name = f"main.{quoted(table)}"
    if action == apsw.SQLITE_INSERT:
        return f"INSERT{conflict} INTO {name} DEFAULT VALUES"
    if action == apsw.SQLITE_DELETE:
        return f"DELETE FROM {name}"
    return f"UPDATE{conflict} {name} SET {', '.join(f'{each} = {each}' for each in columns)}"


def _moment_of(trigger: Trigger) -> str:
    """ "BEFORE UPDATE" or "BEFORE DELETE"; "" of every other one."""
    db = apsw.Connection(":memory:")
    try:
        db.execute(f"CREATE VIEW {quoted(trigger.table)} AS SELECT 1")
        try:
            db.execute(trigger.sql)
        except apsw.SQLError as error:
            if not str(error).startswith(BEFORE):
                return ""
        db.execute(f"DROP VIEW {quoted(trigger.table)}")
        db.execute(f"CREATE TABLE {quoted(trigger.table)} ({', '.join(trigger.columns)})")
        db.execute(trigger.sql)
        for change in changes_of(db, trigger.table)[1:]:
            if _fires(db, change):
                return f"BEFORE {change.split()[0]}"
        return ""
    finally:
        db.close()


def _fires(db: apsw.Connection, change: str) -> bool:
    """Whether the only trigger of this database does. (Other tables that it names are missing.)"""
    by = set[str | None]()

    def note(action: int, *about: str | None) -> int:
        by.add(about[-1])
        return int(apsw.SQLITE_OK)

    db.set_authorizer(note)
    try:
        db.execute(f"EXPLAIN {change}").close(True)
    except apsw.SQLError:
        return True
    finally:
        db.set_authorizer(None)
    return by != {None}


def _refusal(trigger: Trigger, moment: str) -> RpcError:
    name, table = trigger.name, trigger.table
    why = f"it changes rows of {table}, itself or by what it sets off, and SQLite leaves undefined"
    advice = f"what comes of that: make it AFTER {moment.split()[1]}"
    return RpcError("refused", f"trigger {name} ({moment} ON {table}): {why} {advice}")
