"""Texts that are not UTF-8 (SQLite makes them): read as bytes, shown as well as can be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def raw(column: str) -> str:
    """The value of a column as an expression that never gives a text."""
    return f"CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) ELSE {column} END"


def as_bytes(sql: str, columns: int) -> str:
    """A reading statement whose rows have a type beside each value, and no texts: see `decoded`."""
    names = [f"c{place}" for place in range(columns)]
    shown = ", ".join(f"typeof({name}), {raw(name)}" for name in names)
    body = sql.strip(" \t\r\n\f;\ufeff")
    return f"WITH emu_raw({', '.join(names)}) AS (\n{body}\n) SELECT {shown} FROM emu_raw"


def decoded(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[Any]]:
    """The rows of an `as_bytes` as they would have been; U+FFFD stands for what is no UTF-8."""
    for row in rows:
        pairs = zip(row[::2], row[1::2], strict=True)
        yield [
            value.decode("utf-8", "replace") if kind == "text" else value for kind, value in pairs
        ]
