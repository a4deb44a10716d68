"""One session of `emu sql`: asks, remembers the open transaction and its own latest write, prints.

Where the text comes from (a prompt, -c, a script) is not its business.
"""

from __future__ import annotations

import shutil
import sys
import uuid
from dataclasses import dataclass
from typing import Any, Final

from rich.text import Text

from emu.cli import output, sql_shown
from emu.cli.sql_text import Statement
from emu.control.client import ControlClient
from nodes.sql.rules import check_length
from protocols.errors import RpcError

PROMPT_TRANSACTION_MS: Final = 60_000
"""A person types slowly; a script's transaction lasts as long as the tier says."""
WIDTH_CHARS: Final = 80
LOST: Final = frozenset({"not_primary", "disconnected", "unavailable"})
"""After these an open transaction cannot go on: it lived in the memory of that primary."""
Answer = dict[str, Any]


@dataclass(slots=True)
class Look:
    """How answers are shown. `people`: on a terminal, aligned, and not all rows of many."""

    people: bool
    as_json: bool = False
    timing: bool = False
    lsn: bool = False
    blocks: bool = False
    rows: int = 0
    """Of one answer, for people; 0: all."""


class Session:
    """Statements to one tier, one after the other."""

    def __init__(
        self, client: ControlClient, target: str, look: Look, *, replica: bool, typed: bool
    ) -> None:
        self.client = client
        self.target = target
        self.look = look
        self.replica = replica
        self._typed = typed
        self.changed_schema = False
        """Since somebody set this back."""
        self.changed_rows = 0
        self.answered_by = ""
        """Who did that: node and role."""
        self._lease: Any = None
        self._seen_lsn = 0
        """The latest that an answer saw: no later one is without that, whoever gives it."""

    @property
    def in_transaction(self) -> bool:
        return self._lease is not None

    def ask(self, sql: str, *, max_rows: int = 0, inside: bool = True) -> Answer:
        """One statement's answer; `inside` the transaction that is open, if there is one. Raises
        RpcError."""
        options: dict[str, Any] = {
            "request_id": f"emu-sql-{uuid.uuid4().hex}",
            "replica": self.replica,
            "min_lsn": self._seen_lsn,
            "max_rows": max_rows,
            "lease": self._lease if inside else None,
        }
        if self._typed:
            options["timeout_ms"] = PROMPT_TRANSACTION_MS
        try:
            answer: Answer = self.client.call("sql", self.target, sql, options)
        except RpcError as error:
            over = "transaction is over" in error.message
            if self.in_transaction and (over or error.code in LOST or not error.definite):
                self._lease = None
            raise
        if "lease" in answer:
            self._lease = answer["lease"]
        self._seen_lsn = max(self._seen_lsn, answer.get("lsn") or 0)
        return answer

    def run(self, statement: Statement) -> bool:
        """Run it and print what comes of it; whether it went well."""
        was_open = self.in_transaction
        try:
            check_length(statement.characters)
            answer = self.ask(statement.text, max_rows=self.look.rows if self.look.people else 0)
        except RpcError as error:
            self._show_problem(error, statement)
            if was_open and not self.in_transaction:
                output.note("the transaction is gone, and nothing of it was done", "red")
            return False
        self.changed_schema = self.changed_schema or bool(answer.get("did"))
        if not (answer["columns"] or self.in_transaction):  # COMMIT counts what was done in it
            self.changed_rows += answer.get("changes", 0)
            self.answered_by = sql_shown.by(answer)
        self.show(answer)
        if self.in_transaction and not was_open:
            self._tell_of_transaction(answer)
        return True

    def _tell_of_transaction(self, answer: Answer) -> None:
        if self.look.people:
            limit_s = answer["expires_ms"] / 1000
            text = f"a transaction of at most {limit_s:g} s: all other writes wait until it ends"
            output.out.print(Text(text, style="dim"))

    def end(self) -> bool:
        """Roll back what is open; whether there was nothing."""
        if not self.in_transaction:
            return True
        try:
            self.ask("ROLLBACK")
        except RpcError:
            pass  # it is over
        return False

    def show(self, answer: Answer) -> None:
        """Print it."""
        look = self.look
        if look.as_json:
            output.result(sql_shown.as_json(answer))
        elif look.people:
            if answer["columns"]:
                for line in sql_shown.table(answer, _width(), blocks=look.blocks):
                    output.out.print(line)
            foot = sql_shown.foot(answer, timing=look.timing, lsn=look.lsn)
            output.out.print(Text(foot, style="dim"))
        else:
            for row in sql_shown.tabbed(answer):
                sys.stdout.write(row + "\n")
            sys.stdout.flush()
            if look.timing or look.lsn:
                output.note(sql_shown.foot(answer, timing=look.timing, lsn=look.lsn))

    def _show_problem(self, error: RpcError, statement: Statement) -> None:
        if self.look.as_json:
            output.result(sql_shown.problem_as_json(error, statement))
            return
        if not self._typed:
            where = "" if statement.line == 1 else f"line {statement.line}: "
            output.err.print(Text(f"emu: {where}", style="red"), end="")
        for line in sql_shown.problem(error, statement, _width()):
            output.err.print(line)


def _width() -> int:
    return shutil.get_terminal_size((WIDTH_CHARS, 24)).columns
