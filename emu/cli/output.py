"""What the command line prints: results on stdout, everything else on stderr,
tables only for people.

Colour and boxes appear on a terminal, plain aligned text in a pipe; NO_COLOR is obeyed (by rich).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import typer
from rich.table import Table

from emu.cli.folding import FoldingConsole, harmless
from emu.observe.shown import duration
from nodes.parts import jsons

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
INVALID_TOPOLOGY: Final = 3
VERDICT_FAILED: Final = 4
INTERRUPTED: Final = 130

GAP: Final = 2
"""Between two columns of a table."""
LEAST_FOLDED: Final = 32
"""Cells: to how little the widest column of a table may be folded before others are left out."""
STATE_STYLES: Final = {
    "up": "green",
    "starting": "yellow",
    "draining": "yellow",
    "paused": "magenta",
    "stopped": "dim",
    "down": "dim",
    "killed": "red",
    "crashed": "red",
    "failed": "bold red",
}


class _Unread(FoldingConsole):
    """A console on stderr that goes quiet when nobody reads it, instead of ending the program."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


out: Final = FoldingConsole(highlight=False, soft_wrap=True, emoji=False)
err: Final = _Unread(stderr=True, highlight=False, soft_wrap=True, emoji=False)


seconds: Final = duration
"""A duration for people."""


def result(value: Any) -> None:
    """One JSON value on stdout, on one line."""
    sys.stdout.write(jsons.dumps(value) + "\n")
    sys.stdout.flush()


def line(text: str) -> None:
    """A line on stdout, as it is (on a terminal without what that would obey): rich would wrap it,
    and read codes in it."""
    sys.stdout.write(f"{harmless(text) if sys.stdout.isatty() else text}\n")


def note(text: str, style: str | None = None) -> None:
    """A line for the person watching, on stderr."""
    err.print(text, style=style, markup=False)


def fail(text: str, code: int = FAILURE) -> NoReturn:
    """Say what is wrong and what to do, and exit."""
    err.print(f"emu: {text}", style="red", markup=False)
    raise typer.Exit(code)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """What is in a group of exceptions, without the groups."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def command_name() -> str:
    """How to call emu from a second terminal: `emu` where that is this one, else its path."""
    own = Path(sys.executable).with_name("emu")
    found = shutil.which("emu")
    if found is not None and (not own.exists() or os.path.samefile(found, own)):
        return "emu"
    try:
        return str(own.relative_to(Path.cwd()))
    except ValueError:
        return str(own)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    styles: Mapping[str, str],
    *,
    droppable: Sequence[str] = (),
) -> None:
    """A table on a terminal; aligned plain text in a pipe. `styles` colours cells by their text.

    While the terminal is too narrow, `droppable` columns are left out, one after the other; the
    widest of the others is folded.
    """
    texts = [[_cell(value) for value in row] for row in rows]
    widths = _widths(columns, texts)
    if not out.is_terminal:
        for row in [[column.upper() for column in columns], *texts]:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            sys.stdout.write(line.rstrip() + "\n")
        return
    shown = _shown(columns, widths, droppable)
    widest = max(shown, key=lambda place: widths[place])
    drawn = Table(box=None, pad_edge=False, header_style="bold dim")
    for place in shown:
        kept = place != widest
        drawn.add_column(
            columns[place].upper(), no_wrap=kept, overflow="ellipsis" if kept else "fold"
        )
    for row in texts:
        cells = [row[place] for place in shown]
        drawn.add_row(*(f"[{styles[c]}]{c}[/]" if c in styles else _plain(c) for c in cells))
    out.print(drawn)


def fits(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], droppable: Sequence[str] = ()
) -> bool:
    """Whether the terminal is wide enough for such a table without those; a pipe is."""
    widths = _widths(columns, [[_cell(value) for value in row] for row in rows])
    kept = [place for place, column in enumerate(columns) if column not in droppable]
    return not out.is_terminal or _fits(kept, widths)


def _shown(columns: Sequence[str], widths: Sequence[int], droppable: Sequence[str]) -> list[int]:
    """The places of the columns for which the terminal is wide enough."""
    shown = list(range(len(columns)))
    for name in (*droppable, None):
        if _fits(shown, widths):
            break
        shown = [place for place in shown if columns[place] != name]
    return shown


def _fits(shown: Sequence[int], widths: Sequence[int]) -> bool:
    needed = [widths[place] for place in shown]
    widest = max(needed)
    least = sum(needed) - widest + min(widest, LEAST_FOLDED)
    return least + GAP * (len(shown) - 1) <= out.width


def _widths(columns: Sequence[str], texts: list[list[str]]) -> list[int]:
    return [
        max(len(column), *(len(row[place]) for row in texts)) if texts else len(column)
        for place, column in enumerate(columns)
    ]


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
