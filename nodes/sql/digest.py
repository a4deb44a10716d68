"""What a database holds, in short: to compare copies of it."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, closing
from typing import Any, Final

import apsw
import msgpack

from nodes.base import Clock
from nodes.parts.timing import take_steps
from nodes.sql import schema
from nodes.sql.changes import Layouts, Misfit, quoted
from nodes.sql.texts import raw
from protocols.errors import RpcError
from protocols.stepping import Steps

STEP_ROWS: Final = 200
STEP_BYTES: Final = 1 << 20
"""Looked at at once, at most: about a millisecond of a laptop's core."""
Row = tuple[Any, ...]


def digests(
    db: apsw.Connection, layouts: Layouts, own: AbstractContextManager[object]
) -> Steps[dict[str, str]]:
    """By table: its rows with their rowids; and the schema. What is written between the steps is
    in it or is not. `own` is entered for each. Raises apsw.Error where a table goes meanwhile."""
    with own:
        found = {"sqlite_schema": _short(hashlib.sha256(b"".join(_objects(db))))}
        tables = schema.tables(db)
    for table in tables:
        found[table] = yield from _digest(db, layouts, own, table)
    return found


async def in_steps(clock: Clock, steps: Steps[dict[str, str]]) -> dict[str, str]:
    """Others go on meanwhile. Raises RpcError where what is looked at goes."""
    try:
        return await take_steps(clock, steps, 0.0)
    except (apsw.Error, Misfit) as error:
        raise RpcError("unavailable", f"its tables change just now: {error}") from error


def _objects(db: apsw.Connection) -> list[bytes]:
    return [each.encode() for each in sorted(map(repr, schema.objects(db)))]


def _digest(
    db: apsw.Connection, layouts: Layouts, own: AbstractContextManager[object], table: str
) -> Steps[str]:
    """Of the rows in their order; no statement is left open between the steps."""
    whole, count = hashlib.sha256(), 0
    last: Row | None = None
    while True:
        packed: list[bytes] = []
        size_bytes = 0
        with own, closing(db.execute(*_from(db, layouts, table, last))) as rows:
            for last in rows:
                packed.append(msgpack.packb(last))
                size_bytes += len(packed[-1])
                if len(packed) == STEP_ROWS or size_bytes >= STEP_BYTES:
                    break
            else:
                last = None
        whole.update(b"".join(packed))
        count += len(packed)
        if last is None:
            return f"{count} rows, {_short(whole)}"
        yield


def _from(db: apsw.Connection, layouts: Layouts, table: str, last: Row | None) -> tuple[str, Row]:
    """A query of the rows after that one, and its parameters."""
    what = f"SELECT {everything(db, layouts, table)} FROM {quoted(table)}"
    rowid = layouts.of(table).rowid
    keys = [(rowid, "BINARY", 0)] if rowid else _keys(db, table)
    order = ", ".join(f"{name} COLLATE {rule}" for name, rule, _ in keys)
    if last is None:
        return f"{what} ORDER BY {order}", ()
    names = ", ".join(name for name, _, _ in keys)
    marks = ", ".join(f"? COLLATE {rule}" for _, rule, _ in keys)  # at names, no index is used
    after = tuple(_value(last, place) for _, _, place in keys)
    return f"{what} WHERE ({names}) > ({marks}) ORDER BY {order}", after


def _keys(db: apsw.Connection, table: str) -> list[tuple[str, str, int]]:
    """What orders the rows of a table without rowids, and tells all of them apart: quoted columns,
    the rules by which they are compared, and the places of their values in a row."""
    about = (
        "SELECT x.name, x.coll, x.cid FROM pragma_index_list(?) l, pragma_index_xinfo(l.name) x"
        " WHERE l.origin = 'pk' AND x.key ORDER BY x.seqno"
    )
    found = db.execute(about, (table,))
    return [(quoted(name), quoted(rule), 2 * place + 1) for name, rule, place in found]


def _value(row: Row, place: int) -> Any:
    """A rowid, or a part of a key: its type is before it. (A key that is no UTF-8 is refused.)"""
    value = row[place]
    return value.decode() if place and row[place - 1] == "text" else value


def everything(db: apsw.Connection, layouts: Layouts, table: str) -> str:
    """All that can be seen of a table's rows; texts as bytes, for they may be any."""
    rowid = layouts.of(table).rowid
    names = [row[0] for row in db.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))]
    columns = [f"typeof({each}), {raw(each)}" for each in map(quoted, names)]
    return ", ".join([rowid, *columns] if rowid else columns)


def _short(whole: Any) -> str:
    return str(whole.hexdigest()[:16])
