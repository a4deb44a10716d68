"""What SQLite's own parser says of a text, without any table: what runs it has those."""

from __future__ import annotations

import apsw

NAMES = ("BEGIN", "COMMIT", "ROLLBACK")


class Grammar:
    """A parser of one's own: it runs nothing."""

    def __init__(self) -> None:
        self._control = ""
        self._first = ""
        self._has_statement = False
        self._db = apsw.Connection(":memory:")
        self._db.set_authorizer(self._note)

    def control(self, sql: str) -> str:
        """BEGIN, COMMIT or ROLLBACK, if that is all that it is; else ""."""
        self._look(sql)
        control, rest = self._control, sql[len(self._first) :]
        return control if control and self.is_empty(rest) else ""

    def is_empty(self, sql: str) -> bool:
        """Whether it is no statement: only spaces and comments, or nothing."""
        return not self._look(sql)

    def _look(self, sql: str) -> bool:
        """Whether it begins with a statement, or what should be one."""
        self._control, self._first, self._has_statement = "", "", False
        cursor = self._db.cursor()
        cursor.exec_trace = self._trace
        try:
            cursor.execute(sql, can_cache=False)
        except apsw.ExecTraceAbort:
            pass
        except (apsw.Error, ValueError):
            return True
        return self._has_statement

    def _trace(self, running: apsw.Cursor, text: str, bindings: object) -> bool:
        self._first = text
        self._has_statement = running.has_vdbe
        if running.is_explain:
            self._control = ""
        return not self._has_statement

    def _note(
        self, action: int, first: str | None, second: str | None, schema: str | None, by: str | None
    ) -> int:
        if action == apsw.SQLITE_TRANSACTION and first in NAMES:
            self._control = first or ""
        return int(apsw.SQLITE_OK)
