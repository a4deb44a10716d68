"""The database tier's methods, as any MessagePack-RPC client may call them.

`query(sql, params, options)` → `{"columns": [...], "rows": [[...], ...], "lsn": n}`
    One reading statement. options: `primary` true (linearizable: no replica answers), `min_lsn`
    (a token: the answer must include that write), `max_lag_ms` (how stale a replica may be),
    `max_rows` (of what comes after them the answer has the number alone: `more`, and with
    `more_at_least` there are others). `lsn` is what the answer saw.
`write(statements, options)` → `{"results": [{"changes": n, "columns": [...], "rows": [...]}, ...],
"lsn": n}`
    One transaction: all statements or none. A statement is `[sql, params]` or `[sql, params,
    guard]`; guard `{"rows": n}` refuses the whole batch unless the statement changed (or returned)
    exactly n rows. options: `request_id` (a retry with the same id gets the first outcome). `lsn`
    is the read-your-writes token. The result of a schema change says which as `did`.
`begin(options)` → `{"lease": id, "expires_ms": n}`, `execute(lease, sql, params)`,
`commit(lease, options)`, `rollback(lease)`: one interactive writer at a time, until its lease ends.
    option of `begin`: `timeout_ms` (how long that may be; else as the tier says).

`changes(after_lsn, after_epoch, options)` → `{"lsn", "epoch", "keys": [...], "gone", "lag_ms"}`
    For caches: which keys the transactions after that record made old, as they said themselves by
    rows of the table `old_keys`. `after_lsn` nil: only where the log is now. options: `wait_ms`
    (until there is something). `gone`: that record is not (or no longer) in this log, so that
    everything may be old. The answer has all that was committed `lag_ms` ago.

Refusals are definite: `refused` (constraint, guard), `bad_request` (details: line and column in the
SQL, where they are known; "writes" where a query should have been a `write`), `not_primary`
(details: the primary's node name or nil), `unavailable`, `no_space`, `overloaded`, `expired`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

WRITES: Final = "writes"
QUERY: Final = "query"
WRITE: Final = "write"
BEGIN: Final = "begin"
EXECUTE: Final = "execute"
COMMIT: Final = "commit"
ROLLBACK: Final = "rollback"
PROMOTE: Final = "promote"
CHANGES: Final = "changes"
MAX_LAG_MS: Final = 1 << 40
"""Nobody knows how old an answer is."""
OLD_KEYS: Final = "old_keys"
"""A transaction adds the keys of caches that it makes old to this table, and may delete them from
it at once: they are read in its log."""
OLD_KEYS_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS old_keys (key TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID"
)
FORGET_OLD_KEYS: Final = "DELETE FROM old_keys"


def old_keys_statements(keys: Sequence[str]) -> list[list[Any]]:
    """For a transaction that makes these old. (None: there are none.)"""
    marks = ", ".join(["(?)"] * len(keys))
    add = f"INSERT OR REPLACE INTO old_keys VALUES {marks}"
    return [[add, list(keys)], [FORGET_OLD_KEYS]] if keys else []


class Rows(NamedTuple):
    """What a query returned, and the position in the log that it saw."""

    columns: list[str]
    rows: list[list[Any]]
    lsn: int

    @classmethod
    def from_wire(cls, answer: dict[str, Any]) -> Rows:
        return cls(answer["columns"], answer["rows"], answer["lsn"])


class Written(NamedTuple):
    """A committed transaction: a result for each statement, and its token."""

    results: list[dict[str, Any]]
    lsn: int

    @classmethod
    def from_wire(cls, answer: dict[str, Any]) -> Written:
        return cls(answer["results"], answer["lsn"])
