"""What a database holds, in short: to compare copies of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import apsw
import msgpack

from nodes.sql import schema
from nodes.sql.changes import Layouts, quoted
from nodes.sql.texts import raw


def digests(db: apsw.Connection, layouts: Layouts) -> dict[str, str]:
    """By table: its rows with their rowids; and the schema."""
    found = {"sqlite_schema": _digest(sorted(map(repr, schema.objects(db))))}
    for table in schema.tables(db):
        rows = list(db.execute(f"SELECT {everything(db, layouts, table)} FROM {quoted(table)}"))
        found[table] = f"{len(rows)} rows, {_digest(sorted(map(msgpack.packb, rows)))}"
    return found


def everything(db: apsw.Connection, layouts: Layouts, table: str) -> str:
    """All that can be seen of a table's rows; texts as bytes, for they may be any."""
    rowid = layouts.of(table).rowid
    names = [row[0] for row in db.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))]
    columns = [f"typeof({each}), {raw(each)}" for each in map(quoted, names)]
    return ", ".join([rowid, *columns] if rowid else columns)


def _digest(parts: Iterable[str | bytes]) -> str:
    whole = b"".join(each if isinstance(each, bytes) else each.encode() for each in parts)
    return hashlib.sha256(whole).hexdigest()[:16]
