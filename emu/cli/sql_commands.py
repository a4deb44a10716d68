r"""The prompt's own commands, which begin with a backslash: `\d`, `\timing`, `\q` ..."""

from __future__ import annotations

from typing import Any, Final

from emu.cli import output
from emu.cli.sql_session import Session
from protocols.numerals import whole

HELP: Final = r"""\d            tables and views        \d TABLE    its columns and indexes
\timing       on and off: how long    \lsn        on and off: the log's position
\x            on and off: whole values, a block for each row
\limit N      rows shown of one answer (0: all of them)
\replica      reads from a replica, and back to the primary
\q            leaves, as Ctrl-D does  \?          this

A statement ends with `;` and may take several lines. BEGIN ... COMMIT or ROLLBACK: a transaction.
Ctrl-C cancels what runs, or what was typed. Tab completes names; arrows and Ctrl-R: history."""
TABLES: Final = (
    r"SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') "
    r"AND name NOT LIKE 'emu\_%' ESCAPE '\' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name"
)
INDEXES: Final = (
    "SELECT sql AS 'indexes and triggers' FROM sqlite_master WHERE tbl_name = '{}' "
    "COLLATE NOCASE AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY type, name"
)


class Leave(Exception):
    r"""`\q`."""


def run(session: Session, line: str) -> bool:
    """Do what `line` says; whether there is such a command. Raises Leave, RpcError."""
    word, _, rest = line.strip().rstrip(";").partition(" ")
    rest = rest.strip()
    look = session.look
    match word:
        case "\\q" | "\\quit":
            raise Leave
        case "\\?" | "\\h" | "\\help":
            output.out.print(HELP, markup=False)
        case "\\d" | "\\dt":
            _describe(session, rest.strip('"')) if rest else session.show(session.ask(TABLES))
        case "\\timing":
            look.timing = not look.timing
            output.note(f"timing is {_on(look.timing)}")
        case "\\lsn":
            look.lsn = not look.lsn
            output.note(f"LSN is {_on(look.lsn)}")
        case "\\x":
            look.blocks = not look.blocks
            output.note(f"a block for each row is {_on(look.blocks)}")
        case "\\replica":
            session.replica = not session.replica
            output.note(f"reads go to {'a replica' if session.replica else 'the primary'}")
        case "\\limit" if (rows := whole(rest)) is not None:
            look.rows = rows
            output.note(f"{look.rows} rows of an answer are shown" if look.rows else "all rows")
        case "\\limit":
            output.note(rf"\limit N: how many rows of an answer are shown ({look.rows} now)")
        case _:
            output.note(rf"{word}: no such command; \? lists them", "red")
            return False
    return True


def _on(flag: bool) -> str:
    return "on" if flag else "off"


def _describe(session: Session, table: str) -> None:
    quoted = table.replace("'", "''")
    columns = session.ask(f"PRAGMA table_info('{quoted}')")
    if not columns["rows"]:
        known = ", ".join(row[0] for row in session.ask(TABLES)["rows"]) or "none"
        output.note(f"there is no table `{table}`; there are: {known}", "red")
        return
    rows = [_column(row) for row in columns["rows"]]
    session.show({**columns, "columns": ["column", "type", "null", "default", "key"], "rows": rows})
    beside = session.ask(INDEXES.format(quoted))
    if beside["rows"]:
        session.show(beside)


def _column(row: list[Any]) -> list[Any]:
    """Of PRAGMA table_info: cid, name, type, notnull, default, place in the key."""
    _, name, kind, not_null, default, key = row
    nullable = "no" if not_null or (key and kind.upper() == "INTEGER") else "yes"
    return [name, kind, nullable, "" if default is None else default, f"key {key}" if key else ""]
