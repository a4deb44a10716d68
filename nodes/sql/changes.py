"""Rows as they change: noted on the primary, repeated on replicas in the same order.

Each change names its row by rowid or key, so nothing that SQL can show is left out: not the rowid,
not a row whose key is NULL. What a transaction may do is state.py's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

import apsw
import msgpack

from nodes.sql.replaced import Replacing
from protocols.errors import RpcError

INSERT: Final = 1
DELETE: Final = 2
UPDATE: Final = 3
ROWID: Final = -1
"""In an update's list of columns: the rowid itself."""
ROWID_NAMES: Final = ("rowid", "_rowid_", "oid")
LAST_ROWID: Final = (1 << 63) - 1
VALUE_BYTES: Final = 9
"""Of what is no text or blob, at most."""
VIRTUAL: Final = 2
"""`hidden` of a generated column that is not stored: SQLite's hook cannot show rows with one."""

Run = tuple[int, str, Sequence[int], list[list[Any]]]
"""Changes of one kind that follow each other: what, table, columns of an update, parameters."""


class Misfit(Exception):
    """A change does not fit the rows here."""


class Layout(NamedTuple):
    """How the rows of one table are named and written."""

    columns: tuple[str, ...]
    """Quoted; "" for one that is generated."""
    keys: tuple[int, ...]
    """The places of the primary key's columns."""
    rowid: str
    """Quoted, a name of the rowid; "" in a table that has none."""
    is_alias: bool
    """The rowid is a column."""
    is_blind: bool
    """SQLite's hook does not show its rows."""

    @property
    def written(self) -> list[int]:
        return [place for place, name in enumerate(self.columns) if name]


def quoted(name: str) -> str:
    """As an identifier."""
    return '"' + name.replace('"', '""') + '"'


def layout_of(db: apsw.Connection, table: str) -> Layout:
    """Raises Misfit if there is no such table, or none whose rows can be named."""
    info = list(db.execute("SELECT name, pk, hidden FROM pragma_table_xinfo(?)", (table,)))
    about = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name = ?"
    has_rowid = next((not row[0] for row in db.execute(about, (table,))), None)
    if has_rowid is None or not info:
        raise Misfit(f"there is no table {table}")
    columns = tuple("" if hidden else quoted(name) for name, _, hidden in info)
    places = sorted((pk, place) for place, (_, pk, _) in enumerate(info) if pk)
    keys = tuple(place for _, place in places)
    indexed = "SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk'"
    is_alias = has_rowid and bool(keys) and not list(db.execute(indexed, (table,)))
    rowid = ""
    if is_alias:
        rowid = columns[keys[0]]
    elif has_rowid:
        taken = {name.lower() for name, _, _ in info}
        rowid = next((name for name in ROWID_NAMES if name not in taken), "")
        if not rowid:
            raise Misfit(f"{table}: its columns hide the rowid under each of its names")
    is_blind = any(hidden == VIRTUAL for _, _, hidden in info)
    if is_blind and not rowid:
        raise Misfit(f"{table}: WITHOUT ROWID, a generated column must be STORED")
    return Layout(columns, keys, rowid, is_alias, is_blind)


class Layouts:
    """Of the tables of one connection, until the schema changes."""

    def __init__(self, db: apsw.Connection, own: AbstractContextManager[None]) -> None:
        """Inside `own`, what the database itself asks is not counted as a client's."""
        self._db = db
        self._own = own
        self._known: dict[str, Layout] = {}
        self._statements: dict[tuple[int, str, tuple[int, ...]], str] = {}

    def forget(self) -> None:
        """The schema has changed, or may have."""
        self._known.clear()
        self._statements.clear()

    def of(self, table: str) -> Layout:
        """Raises Misfit."""
        found = self._known.get(table)
        if found is None:
            with self._own:
                found = self._known[table] = layout_of(self._db, table)
        return found

    def statement(self, what: int, table: str, places: Sequence[int]) -> str:
        """Its SQL; parameters as `Noted` lists them. Raises Misfit."""
        known = (what, table, tuple(places))
        sql = self._statements.get(known)
        if sql is None:
            sql = self._statements[known] = _statement(self.of(table), what, table, places)
        return sql


def _statement(layout: Layout, what: int, table: str, places: Sequence[int]) -> str:
    if what == INSERT:
        names = [layout.columns[place] for place in layout.written]
        if layout.rowid and not layout.is_alias:
            names.insert(0, layout.rowid)
        marks = ", ".join("?" * len(names))
        return f"INSERT INTO main.{quoted(table)} ({', '.join(names)}) VALUES ({marks})"
    row = [layout.rowid] if layout.rowid else [layout.columns[place] for place in layout.keys]
    where = [f"{name} IS ?" for name in row]
    if what == DELETE:
        return f"DELETE FROM main.{quoted(table)} WHERE {' AND '.join(where)}"
    names = [layout.rowid if place == ROWID else layout.columns[place] for place in places]
    where += [f"{name} IS ?" for name in names]
    sets = ", ".join(f"{name} = ?" for name in names)
    return f"UPDATE main.{quoted(table)} SET {sets} WHERE {' AND '.join(where)}"


class Noted:
    """What SQLite tells of each row before it changes, in order."""

    def __init__(self, db: apsw.Connection, layouts: Layouts) -> None:
        self._db = db
        self._layouts = layouts
        self._changes: list[tuple[int, str, Sequence[int], list[Any]]] = []
        self._unseen: dict[str, dict[int, bool]] = {}
        """Of tables that the hook cannot show: the rows touched, and whether they were there."""
        self._replacing = Replacing()
        self.size_bytes = 0
        """About how much a record of them takes."""

    def clear(self) -> None:
        self._changes, self._unseen, self.size_bytes = [], {}, 0
        self._replacing.clear()

    def begin_statement(self) -> None:
        """What is noted from now on is another statement's of the transaction."""
        self._replacing.clear()

    def note(self, update: apsw.PreUpdate) -> None:
        """The hook: one row is about to change. Raises RpcError."""
        table = update.table_name
        layout = self._layouts.of(table)
        if layout.rowid and update.rowid_new == LAST_ROWID and update.op != "DELETE":
            why = f"rowid {LAST_ROWID} is the last: SQLite would draw those of later rows by chance"
            raise RpcError("refused", f"{table}: {why}")
        what = update.op
        if update.depth or what == "DELETE" or self._replacing.is_near:
            key = () if what == "INSERT" else tuple(_key(layout, update))
            if self._replacing.loses(update, key, is_blind=layout.is_blind):
                why = "REPLACE deleted a row, and what that set off changed the row being updated"
                raise RpcError("refused", f"{table}: {why}: delete what is in its way before")
        if layout.is_blind:
            self._touch(table, update)
            return
        places: tuple[int, ...] = ()
        if what == "INSERT":
            new = update.new or ()
            values = [value for value, name in zip(new, layout.columns, strict=True) if name]
            if layout.rowid and not layout.is_alias:
                values.insert(0, update.rowid_new)
            code = INSERT
        elif what == "DELETE":
            code, values = DELETE, _key(layout, update)
        else:
            places, values = _difference(layout, update)
            code = UPDATE
            if not places:
                return
        for value in values:
            self.size_bytes += len(value) if isinstance(value, str | bytes) else VALUE_BYTES
        self._changes.append((code, table, places, values))

    def _touch(self, table: str, update: apsw.PreUpdate) -> None:
        touched = self._unseen.setdefault(table, {})
        if update.op != "INSERT":
            touched.setdefault(update.rowid, True)
        if update.op != "DELETE":
            touched.setdefault(update.rowid_new, False)
        self.size_bytes += VALUE_BYTES

    def take(self, *, schema_changed: bool = False) -> bytes:
        """All that was noted, for `repeat`; b"": nothing. Raises Misfit.

        `schema_changed`: what was dropped meanwhile needs no changes."""
        changes, unseen = self._changes, self._unseen
        if not changes and not unseen:
            return b""
        self.clear()
        runs = list(_runs(changes))
        if schema_changed:
            there = _tables(self._db)
            runs = [run for run in runs if run[1] in there]
        if unseen:
            runs += self._seen_afterwards(unseen)
        packed: bytes = msgpack.packb(runs)
        return packed if runs else b""

    def _seen_afterwards(self, unseen: dict[str, dict[int, bool]]) -> Iterator[Run]:
        """Rows as they are at the end, in the place of those that were there: no two of them want
        the same unique value at the same time."""
        there = _tables(self._db)
        for table, touched in unseen.items():
            if table not in there:
                continue
            before = [[rowid] for rowid, was_there in touched.items() if was_there]
            after: list[list[Any]] = []
            layout = self._layouts.of(table)
            columns = [layout.columns[place] for place in layout.written]
            if not layout.is_alias:
                columns.insert(0, layout.rowid)
            query = (
                f"SELECT {', '.join(columns)} FROM main.{quoted(table)} WHERE {layout.rowid} = ?"
            )
            for rowid in touched:
                after += map(list, every(self._db, query, rowid))
            if before:
                yield DELETE, table, (), before
            if after:
                yield INSERT, table, (), after


def every(db: apsw.Connection, sql: str, *params: Any) -> list[tuple[Any, ...]]:
    """All rows. Also where one cannot be read (its text is no UTF-8) the statement is over: as long
    as the error is kept its frames are, and an open statement refuses every DROP TABLE."""
    rows = db.execute(sql, params)
    try:
        return list(rows)
    finally:
        rows.close(True)


def _tables(db: apsw.Connection) -> frozenset[str]:
    return frozenset(row[0] for row in db.execute("SELECT name FROM main.sqlite_schema"))


def _key(layout: Layout, update: apsw.PreUpdate) -> list[Any]:
    """What names the row as it was."""
    if layout.rowid:
        return [update.rowid]
    old = update.old or ()
    return [old[place] for place in layout.keys]


def _difference(layout: Layout, update: apsw.PreUpdate) -> tuple[tuple[int, ...], list[Any]]:
    """Which columns an update changes, and its parameters: new values, key, old values."""
    old, new = update.old or (), update.new or ()
    places = [place for place in layout.written if not _is_same(old[place], new[place])]
    after, before = [new[place] for place in places], [old[place] for place in places]
    if layout.rowid and not layout.is_alias and update.rowid != update.rowid_new:
        places.append(ROWID)
        after.append(update.rowid_new)
        before.append(update.rowid)
    return tuple(places), [*after, *_key(layout, update), *before]


def _is_same(one: Any, other: Any) -> bool:
    """Not only equal: 1 is not 1.0, and 0.0 not -0.0."""
    return type(one) is type(other) and one == other and (one or repr(one) == repr(other))


def _runs(changes: Iterable[tuple[int, str, Sequence[int], list[Any]]]) -> Iterator[Run]:
    run: Run | None = None
    for what, table, places, values in changes:
        if run is not None and run[:3] == (what, table, places):
            run[3].append(values)
        else:
            if run is not None:
                yield run
            run = what, table, places, [values]
    if run is not None:
        yield run


def repeat(db: apsw.Connection, layouts: Layouts, packed: bytes) -> None:
    """Make these changes here. Raises Misfit and apsw.Error, with part of them made."""
    for what, table, places, rows in msgpack.unpackb(packed):
        before = db.total_changes()
        db.cursor().executemany(layouts.statement(what, table, places), rows)
        done = db.total_changes() - before
        if done != len(rows):
            raise Misfit(f"{table}: {done} rows changed, not {len(rows)}")


def without(packed: bytes, table: str) -> tuple[bytes, list[list[Any]]]:
    """The changes but for those of one table, and the rows that were added to that."""
    runs = msgpack.unpackb(packed)
    ours = [rows for what, name, _, rows in runs if name == table and what == INSERT]
    kept = [run for run in runs if run[1] != table]
    return (msgpack.packb(kept) if kept else b""), [row for rows in ours for row in rows]


def make_again(db: apsw.Connection, layouts: Layouts, packed: bytes) -> None:
    """Make changes that were noted elsewhere, where other rows may stand by now: none is made of a
    row that is another than it was. Raises Misfit and apsw.Error, with part of them made."""
    added: list[tuple[str, list[Any]]] = []
    runs = msgpack.unpackb(packed)
    for what, table, places, rows in runs:
        layout = layouts.of(table)
        is_named = layout.is_alias or not layout.rowid
        if not is_named and what != INSERT:
            raise Misfit(f"{table}: its rowid names the row, and may be another's by now")
        sql = _again(layouts, what, table, places)
        for row in rows:
            values = row if is_named else row[1:]  # it gets a rowid of its own
            if what == INSERT:
                added.append((table, [row[place] for place in _written_keys(layout)]))
            elif what == DELETE and (table, row) not in added:
                raise Misfit(f"{table}: a row was deleted: nobody knows if it is still that one")
            before = db.total_changes()
            db.execute(sql, values)
            if db.total_changes() == before:
                raise Misfit(f"{table}: the row that it changes is not there, or is another by now")
    changed = dict.fromkeys(table for _, table, _, _ in runs)
    for table in _referring(db, changed):
        for _ in db.execute("SELECT 1 FROM pragma_foreign_key_check(?) LIMIT 1", (table,)):
            raise Misfit(f"{table}: a row would refer to one that is not there")


def _again(layouts: Layouts, what: int, table: str, places: Sequence[int]) -> str:
    """Whatever its table says of conflicts, one ends the statement, and nothing is replaced."""
    if what != INSERT:
        return layouts.statement(what, table, places).replace("UPDATE ", "UPDATE OR ABORT ", 1)
    layout = layouts.of(table)
    names = [layout.columns[place] for place in layout.written]
    marks = ", ".join("?" * len(names))
    return f"INSERT OR ABORT INTO main.{quoted(table)} ({', '.join(names)}) VALUES ({marks})"


def _written_keys(layout: Layout) -> list[int]:
    """Where the primary key is in a row as it was noted; none where the rowid names it."""
    if layout.rowid and not layout.is_alias:
        return []
    return [layout.written.index(place) for place in layout.keys]


def _referring(db: apsw.Connection, tables: Iterable[str]) -> list[str]:
    """Those of these tables that refer to others, and all that refer to these."""
    names = {each.lower() for each in tables}
    sql = (
        'SELECT t.name, f."table" FROM main.sqlite_schema t, pragma_foreign_key_list(t.name) f'
        " WHERE t.type = 'table'"
    )
    pairs = list(db.execute(sql))
    return list(dict.fromkeys(
        child for child, parent in pairs if child.lower() in names or parent.lower() in names
    ))  # fmt: skip


def in_words(packed: bytes) -> list[dict[str, Any]]:
    """For people: what happens to which rows."""
    words = {INSERT: "INSERT", DELETE: "DELETE", UPDATE: "UPDATE"}
    return [
        {"table": table, "op": words[what], "columns": list(places), "values": _plain(row)}
        for what, table, places, rows in msgpack.unpackb(packed)
        for row in rows
    ]


def _plain(values: Iterable[Any]) -> list[Any]:
    return [
        each if isinstance(each, str | int | float | None) else repr(each)[:200] for each in values
    ]
