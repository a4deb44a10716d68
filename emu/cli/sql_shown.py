"""An answer to SQL as people read it (aligned, with a foot) or programs (tabs, JSON). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from emu.cli import sql_text
from emu.cli.sql_text import Statement
from emu.observe.shown import duration
from protocols.errors import RpcError

NULL: Final = "NULL"
LEAST_CHARS: Final = 8
"""A column is not cut to less than this."""
ESCAPES: Final = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}
Answer = Mapping[str, Any]


# --- for people --------------------------------------------------------------------------------


def table(answer: Answer, width: int, *, blocks: bool = False) -> list[Text]:
    """Aligned columns, cut to the terminal's width; or a block for each row, with whole values.

    Blocks are drawn where they are asked for, of one wide row, and of very many columns.
    """
    columns, rows = [_clean(name) for name in answer["columns"]], answer["rows"]
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(cell_len, column), default=0) for column in zip(columns, *cells, strict=True)]
    fitted = _fitted(widths, width - 3 * len(widths))
    if rows and (blocks or fitted is None or (fitted != widths and len(rows) == 1)):
        return _blocks(columns, rows, cells, width)
    fitted = fitted or widths
    head = " │ ".join(_padded(name, wide) for name, wide in zip(columns, fitted, strict=True))
    lines = [Text(f" {head}".rstrip(), style="bold")]
    lines.append(Text("─" + "─┼─".join("─" * wide for wide in fitted) + "─", style="dim"))
    for values, texts in zip(rows, cells, strict=True):
        line = Text(" ")
        for place, (value, text) in enumerate(zip(values, texts, strict=True)):
            line.append(" │ " if place else "", style="dim")
            right = isinstance(value, int | float)
            line.append(_padded(text, fitted[place], right=right), style=_style(value))
        line.rstrip()
        lines.append(line)
    return lines


def _fitted(widths: list[int], room: int) -> list[int] | None:
    """The widths, the widest of them cut until all have room; None where that is too little."""
    fitted = list(widths)
    while sum(fitted) > room:
        widest = max(range(len(fitted)), key=fitted.__getitem__)
        if fitted[widest] <= LEAST_CHARS:
            return None
        fitted[widest] -= 1
    return fitted


def _blocks(
    names: Sequence[str], rows: Sequence[Sequence[Any]], cells: list[list[str]], width: int
) -> list[Text]:
    wide = max(cell_len(name) for name in names)
    lines = []
    for number, (values, texts) in enumerate(zip(rows, cells, strict=True), 1):
        title = f"─[ row {number} ]"
        lines.append(Text(title + "─" * max(0, min(width, 60) - len(title)), style="dim"))
        for name, value, text in zip(names, values, texts, strict=True):
            line = Text(f" {_padded(name, wide)} ", style="bold")
            line.append("│ ", style="dim not bold")
            lines.append(line.append(text, style=f"not bold {_style(value)}"))
    return lines


def foot(answer: Answer, *, timing: bool, lsn: bool) -> str:
    """`(3 rows)  db-2, primary`, with LSN and time where they are wanted."""
    parts = [_counted(answer), by(answer)]
    if lsn and answer.get("lsn") is not None:
        parts.append(f"LSN {answer['lsn']}")
    if timing:
        parts.append(duration(answer["took_s"]))
    return "  ".join(parts)


def by(answer: Answer) -> str:
    return f"{answer['node']}, {answer['role'] or 'unknown role'}"


def changed(rows: int) -> str:
    return f"({_plural(rows, 'row')} changed)"


def _counted(answer: Answer) -> str:
    if not answer["columns"]:
        return str(answer.get("did") or changed(answer.get("changes", 0)))
    told, more = f"({_plural(len(answer['rows']), 'row')})", answer.get("more", 0)
    if answer.get("more_at_least"):
        return f"{told}  … {f'at least {more:,} ' if more else ''}more rows"
    return f"{told}  … {more:,} more {'row' if more == 1 else 'rows'}" if more else told


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def problem(error: RpcError, statement: Statement, width: int) -> list[Text]:
    """What is wrong; where SQLite knows, the line of the statement with a caret under the place."""
    text = error.message or error.code
    if not error.definite:
        text = f"it is not known whether this took effect: {text}"
    lines = [Text(text, style="red")]
    if error.code == "bad_request" and len(error.details) == 2:
        line, column = error.details
        shown, caret = sql_text.place_in(statement.text, line, column, max(20, width - 4))
        lines += [Text(f"  {shown}"), Text(" " * (2 + cell_len(shown[:caret])) + "^", style="red")]
    if "no such table" in text:
        lines.append(Text(r"  \d lists the tables", style="dim"))
    return lines


def _style(value: Any) -> str:
    return "dim italic" if value is None else ""


def _cell(value: Any) -> str:
    if value is None:
        return NULL
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, float):
        return repr(value)
    return _clean(str(value))


def _clean(text: str) -> str:
    """Without what would move the cursor or ring the bell."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ESCAPES.get(c, f"\\x{ord(c):02x}") for c in text)


def _padded(text: str, wide: int, *, right: bool = False) -> str:
    if cell_len(text) > wide:
        text = set_cell_size(text, wide - 1) + "…"
    gap = " " * (wide - cell_len(text))
    return gap + text if right else text + gap


# --- for programs ------------------------------------------------------------------------------


def tabbed(answer: Answer) -> list[str]:
    """The columns' names, then a line for each row; tabs and newlines inside are escaped."""
    if not answer["columns"]:
        return []
    rows = [answer["columns"], *answer["rows"]]
    return ["\t".join(_tabbed_cell(value) for value in row) for row in rows]


def _tabbed_cell(value: Any) -> str:
    text = value if isinstance(value, str) else _cell(value)
    return "".join(ESCAPES.get(each, each) for each in text)


def as_json(answer: Answer) -> dict[str, Any]:
    """The answer for `--json`: a blob is its hex digits."""
    rows = [[_json_cell(value) for value in row] for row in answer["rows"]]
    keys: tuple[str, ...] = ("node", "role", "lsn", "took_s", "columns", "rows", "changes", "did")
    keys += ("more", "more_at_least")
    return {key: rows if key == "rows" else answer[key] for key in keys if key in answer}


def _json_cell(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def problem_as_json(error: RpcError, statement: Statement) -> dict[str, Any]:
    """`{"error": {"code", "message", "definite", "statement_line", "line"?, "column"?}}`."""
    told: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "definite": error.definite,
        "statement_line": statement.line,
    }
    if error.code == "bad_request" and len(error.details) == 2:
        told["line"], told["column"] = error.details
    return {"error": told}
