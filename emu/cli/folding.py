"""Lines that are longer than the terminal is wide: broken between words, not in them.

The rest stands below the last column that began in the line's left part, so that rows stay rows.
Only on a terminal: what a pipe or a file gets, or is in a Text of `no_wrap`, is as long as it is.
And what strangers wrote into a text is no command of the terminal on which it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.text import Text

LEFT_PART: Final = 0.45
"""Of the width: how far to the right the rest of a line may begin."""
LEAST_CHARS: Final = 30
"""Of width; nothing is gained in a narrower one."""
_COLUMN: Final = re.compile(r"(?:^|  ) *(?=\S)")
_GAP: Final = re.compile(r" +")
_COMMANDS: Final = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"},
    **dict.fromkeys((*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
}
"""Characters that a terminal obeys → what is shown for them, one cell each."""


class FoldingConsole(Console):
    """A console that folds texts, and shows no commands, where it prints on a terminal."""

    def print(self, *objects: Any, **how: Any) -> None:
        if self.is_terminal:
            objects = tuple(_unheard(each) for each in objects)
        if self.is_terminal and self.width >= LEAST_CHARS:
            markup = how.get("markup", True)
            objects = tuple(_fold(each, self.width, markup is not False) for each in objects)
        super().print(*objects, **how)


def harmless(text: str) -> str:
    """The text, of the same length, with a picture of each character that a terminal obeys."""
    return text.translate(_COMMANDS)


def _unheard(what: RenderableType) -> RenderableType:
    """It without what a terminal would obey, but for our own styles."""
    if isinstance(what, str):
        return harmless(what)
    if isinstance(what, Text) and harmless(what.plain) != what.plain:
        what = what.copy()
        what.plain = harmless(what.plain)
    return Group(*map(_unheard, what.renderables)) if isinstance(what, Group) else what


def _fold(what: RenderableType, width: int, markup: bool) -> RenderableType:
    if isinstance(what, str):
        what = Text.from_markup(what, emoji=False) if markup else Text(what)
    if isinstance(what, Text):
        return what if what.no_wrap else folded(what, width)
    if isinstance(what, Group):
        return Group(*(_fold(each, width, markup=True) for each in what.renderables))
    return what


def folded(text: Text, width: int) -> Text:
    """Each line in pieces of at most `width` cells, where its words are not longer."""
    lines = text.split("\n", allow_blank=True)
    if all(line.cell_len <= width for line in lines):
        return text
    return Text("\n").join(piece for line in lines for piece in _pieces(line, width))


def _pieces(line: Text, width: int) -> Iterator[Text]:
    """The line as it is, or its beginning, and the rest further in."""
    starts = [found.end() for found in _COLUMN.finditer(line.plain)]
    hang = max((start for start in starts if start <= width * LEFT_PART), default=0)
    begin = 0
    for end, after in _breaks(line.plain, hang, width):
        yield _further_in(line[begin:end], hang if begin else 0)
        begin = after
    yield _further_in(line[begin:], hang if begin else 0)


def _further_in(piece: Text, hang: int) -> Text:
    return Text(" " * hang) + piece if hang else piece


def _breaks(plain: str, hang: int, width: int) -> Iterator[tuple[int, int]]:
    """The gaps at which a piece ends, where each begins and ends: of two columns rather than of two
    words, if that wastes less than half of the room."""
    gaps = [found.span() for found in _GAP.finditer(plain, hang + 1)]
    begin, room = 0, width
    while len(plain) - begin > room:
        after = [gap for gap in gaps if gap[0] > begin]
        inside = [gap for gap in after if gap[0] - begin <= room] or after[:1]
        if not inside:
            return
        columns = [gap for gap in inside if gap[1] - gap[0] > 1 and gap[0] - begin > room / 2]
        gaps, chosen = after, (columns or inside)[-1]
        yield chosen
        begin, room = chosen[1], width - hang
