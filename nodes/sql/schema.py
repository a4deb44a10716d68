"""What a schema may be, asked of the schema itself after every statement that changed it.

A statement's text, or what a table was at its birth, says too little: keys are weakened, tables
renamed, triggers put where nobody expects them.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import apsw

from nodes.sql.changes import Misfit, every, layout_of
from nodes.sql.rules import Rules, is_own
from nodes.sql.triggers import Early
from protocols.errors import RpcError


class Object(NamedTuple):
    """A row of SQLite's own table of tables, indexes, views and triggers."""

    kind: str
    name: str
    table: str
    sql: str | None


def objects(db: apsw.Connection) -> frozenset[Object]:
    rows = db.execute("SELECT type, name, tbl_name, sql FROM main.sqlite_schema")
    return frozenset(Object(*row) for row in rows)


def tables(db: apsw.Connection) -> list[str]:
    """Their names, in order."""
    return sorted(each.name for each in objects(db) if each.kind == "table")


class Checker:
    """Of one connection. What was found right once is not asked about again."""

    def __init__(self, db: apsw.Connection, rules: Rules) -> None:
        self._db = db
        self._rules = rules
        self._early = Early(db, partial(rules.effects_of, db), rules.own())
        with rules.own():
            self.look_again()

    def look_again(self) -> None:
        """All that is there now is right: what a transaction made and took back may not be."""
        self._right = objects(self._db)
        self._own = _own(self._right)
        self._unproven = _triggered(self._right)
        """Tables and views whose triggers SQLite has not yet been able to prepare, or was not
        asked."""
        self._has_more = False
        """What an early trigger sets off may be more than it was."""

    def check(self, *, drops: bool) -> None:
        """Raises RpcError unless all that has changed may be so. What `drops` something may leave a
        trigger that may not be: else nobody could drop the last but one of them."""
        with self._rules.own():
            views = self._check_objects()
        for view in views:
            self._rules.check_view(self._db, view)
        if drops:
            return
        self._has_more = True
        for table in sorted(self._unproven):
            if self._rules.check_triggers(self._db, table):
                self._unproven.remove(table)

    def check_whole(self) -> None:
        """Behind the last statement. Raises RpcError where triggers, together with all else, would
        do what SQLite leaves undefined."""
        if self._has_more:
            self._has_more = False
            self._early.check()

    def _check_objects(self) -> list[str]:
        """The views that are new. Raises RpcError."""
        found = objects(self._db)
        for each in sorted(_own(found) ^ self._own, key=_order):
            raise RpcError("refused", f"{each.name}: what is called emu_ is the database's own")
        for each in sorted(found - self._right, key=_order):
            if each.name == "sqlite_sequence":
                raise RpcError("refused", "AUTOINCREMENT would reuse ids after a failover")
            if each.kind == "table":
                _check_table(self._db, each.name)
        views = sorted(each.name for each in found - self._right if each.kind == "view")
        self._unproven |= _triggered(found - self._right)
        self._unproven &= _triggered(found)
        self._right = found
        return views


def _own(found: frozenset[Object]) -> frozenset[Object]:
    return frozenset(each for each in found if is_own(each.name) or is_own(each.table))


def _triggered(found: frozenset[Object]) -> set[str]:
    return {each.table for each in found if each.kind == "trigger"}


def _order(each: Object) -> tuple[str, ...]:
    return each[:3]


def _check_table(db: apsw.Connection, name: str) -> None:
    def ask(pragma: str, columns: str) -> list[tuple[Any, ...]]:
        return list(db.execute(f"SELECT {columns} FROM pragma_{pragma}(?)", (name,)))

    try:
        layout = layout_of(db, name)
    except Misfit as error:
        raise RpcError("refused", str(error)) from error
    keys = [notnull for pk, notnull in ask("table_xinfo", 'pk, "notnull"') if pk]
    if not keys or not (layout.is_alias or all(keys)):
        raise RpcError("refused", f"{name}: give it a PRIMARY KEY that is NOT NULL")
    for column, default in ask("table_xinfo", "name, dflt_value"):
        if default is not None and not _is_shown(db, default):
            raise RpcError("refused", f"{name}: the default of {column} is a text and no UTF-8")
    for (parent,) in ask("foreign_key_list", '"table"'):
        if is_own(parent):
            raise RpcError("refused", f"{name}: {parent} belongs to the database itself")


def _is_shown(db: apsw.Connection, expression: str) -> bool:
    """Whether its value can be read; what SQLite refuses to compute will never be one."""
    try:
        every(db, f"SELECT {expression}")
    except UnicodeDecodeError:
        return False
    except apsw.Error:
        pass
    return True
