"""The interactive prompt of `emu sql`: readline with history and completion, many lines, Ctrl-C."""

from __future__ import annotations

import readline
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import apsw
from rich.text import Text

from emu import state
from emu.cli import output, sql_commands
from emu.cli.sql_session import Session
from emu.cli.sql_text import Splitter, Statement
from protocols.errors import RpcError

HISTORY_FILE: Final = "sql_history"
HISTORY_LINES: Final = 1000
KEYWORDS: Final = tuple(sorted(apsw.keywords))
COMMANDS: Final = ("\\d", "\\timing", "\\lsn", "\\x", "\\limit", "\\replica", "\\q", "\\?")
NAMES: Final = (
    "SELECT m.name, c.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c "
    "WHERE m.type IN ('table', 'view')"
)


class Prompt:
    """Reads statements from a terminal until it is left."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name
        self._splitter = Splitter()
        self._typed: list[str] = []
        self._completer = Completer(session)

    def run(self) -> None:
        r"""Until \q, Ctrl-D, or the end of the cluster."""
        history = state.root() / HISTORY_FILE
        _prepare(history, self._completer)
        try:
            while True:
                try:
                    line = input(self._prompt())
                except KeyboardInterrupt:
                    output.out.print("^C")
                    self._forget()
                    continue
                except EOFError:
                    output.out.print()
                    return
                try:
                    self._take(line)
                except KeyboardInterrupt:
                    self._forget()
                except sql_commands.Leave:
                    return
        finally:
            with suppress(OSError):
                readline.write_history_file(history)
                history.chmod(0o600)

    def _prompt(self) -> str:
        mark = "*" if self._session.in_transaction else ""
        if not self._splitter.begun:
            return f"{self._name}{mark}=> "
        return f"{self._name}{mark}{self._splitter.opened or '-'}> "

    def _forget(self) -> None:
        self._splitter.clear()
        self._typed.clear()

    def _take(self, line: str) -> None:
        if not line.strip() and not self._splitter.begun:
            return
        if not self._splitter.opened and line.lstrip().startswith("\\"):
            _remember([line])
            try:
                sql_commands.run(self._session, line)
            except RpcError as error:
                output.note(error.message or error.code, "red")
            return
        self._typed.append(line)
        statements = list(self._splitter.feed(line))
        if not self._splitter.begun:
            _remember(self._typed)
            self._typed.clear()
        for statement in statements:
            self._run(statement)

    def _run(self, statement: Statement) -> None:
        try:
            self._session.run(statement)
        except KeyboardInterrupt:
            output.note("cancelled; if it writes, that may yet take effect", "yellow")
            raise
        if self._session.changed_schema:
            self._session.changed_schema = False
            self._completer.forget()


def _remember(lines: list[str]) -> None:
    """A statement of several lines is one line of the history, unless a comment forbids it."""
    if any("--" in line for line in lines[:-1]):
        for line in lines:
            readline.add_history(line)
    else:
        readline.add_history(" ".join(line.strip() for line in lines))


def _prepare(history: Path, completer: Completer) -> None:
    readline.set_auto_history(False)
    readline.set_history_length(HISTORY_LINES)
    with suppress(OSError):
        readline.read_history_file(history)
    readline.set_completer_delims(" \t\n,;()=<>+*/|")
    readline.set_completer(completer)
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")


class Completer:
    """Tables, columns, keywords and commands; the names are asked for when Tab is first pressed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._names: list[str] | None = None
        self._found: list[str] = []

    def forget(self) -> None:
        """The schema has changed."""
        self._names = None

    def __call__(self, text: str, index: int) -> str | None:
        if index == 0:
            self._found = self._matches(text)
        return self._found[index] if index < len(self._found) else None

    def _matches(self, text: str) -> list[str]:
        if text.startswith("\\"):
            return [each for each in COMMANDS if each.startswith(text)]
        if self._names is None:
            self._names = self._ask()
        low = text.lower()
        keywords = [each.lower() if text.islower() else each for each in KEYWORDS]
        words: dict[str, Any] = dict.fromkeys((*self._names, *keywords))
        return [each for each in words if each.lower().startswith(low)]

    def _ask(self) -> list[str]:
        try:
            rows = self._session.ask(NAMES, inside=False)["rows"]
        except RpcError:
            return []
        found = dict.fromkeys(name for row in rows for name in row)
        return [name for name in found if not name.startswith(("emu_", "sqlite_"))]


def greeting(rows: list[dict[str, Any]], target: str) -> Text:
    """Whom one talks to."""
    primary = next((row["name"] for row in rows if row["role"] == "primary"), "none just now")
    count = "1 node" if len(rows) == 1 else f"{len(rows)} nodes"
    line = Text(f"{target}: {count}, primary {primary}.", style="bold")
    return line.append(
        "  SQLite's SQL; end with `;`.  \\? helps, \\q leaves.", style="not bold dim"
    )
