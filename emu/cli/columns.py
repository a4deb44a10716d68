"""Columns of a screen that draws itself again and again: fewer where the terminal is narrow. Pure.

Numbers keep their places while they change; names are as wide as the longest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

LEAST_CHARS: Final = 8
"""A name is cut to that where numbers would have no room else."""
Cell = tuple[str, str]
"""Text and style."""


@dataclass(frozen=True, slots=True)
class Column:
    """`rank`: of too many columns those of the highest rank are left out first; 0: never."""

    title: str
    most: int
    """Cells; what is longer is cut."""
    right: bool = True
    rank: int = 0


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int = 0) -> list[Text]:
    """The titles, then the rows, each in at most `width` cells if it can be (0: no limit)."""
    widths = [_width(each, [row[place] for row in rows]) for place, each in enumerate(columns)]
    shown = list(range(len(columns)))
    while width and sum(widths[place] + 1 for place in shown) - 1 > width:
        worst = max(shown, key=lambda place: columns[place].rank)
        if not columns[worst].rank:
            break
        shown.remove(worst)
    names = [place for place in shown if not columns[place].right]
    while width and sum(widths[place] + 1 for place in shown) - 1 > width:
        longest = max(names, key=lambda place: widths[place])
        if widths[longest] <= LEAST_CHARS:
            break
        widths[longest] -= 1
    titles = [(each.title, "bold dim") for each in columns]
    return [
        Text(" ").join(_padded(row[place], columns[place], widths[place]) for place in shown)
        for row in (titles, *rows)
    ]


def _width(column: Column, cells: Sequence[Cell]) -> int:
    if column.right:
        return column.most
    return min(column.most, max(len(column.title), *(len(text) for text, _ in cells), 0))


def _padded(cell: Cell, column: Column, width: int) -> Text:
    text, style = cell
    if len(text) > width:
        text = text[: width - 1] + "…"
    return Text(text.rjust(width) if column.right else text.ljust(width), style=style)
