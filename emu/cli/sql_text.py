"""SQL as it is typed or read, line by line, cut into statements. SQLite says where they end, and
which are none; nothing is asked of a cluster here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import apsw

from nodes.sql.grammar import Grammar
from nodes.sql.rules import MAX_STATEMENT_BYTES

_CLOSING: Final = {"'": "'", '"': '"', "`": "`", "[": "]", "--": "\n", "/*": "*/"}
_END: Final = ";END;"
"""Ends any statement, the body of a trigger too, if no quote or comment is open."""
_BEGUN: Final = "x "
"""As good as any ordinary statement that has begun."""
_TRIGGERS: Final = (" trigger t;", " create trigger t;")
"""Ends of an ordinary statement; behind a CREATE or EXPLAIN they are not."""
_SETTLED_CHARACTERS: Final = 2000
_SPACE: Final = " \t\r\n\f\ufeff"
"""What SQLite takes for space, between statements."""


class Statement(NamedTuple):
    """`text` is cut where no node would take it; `characters` is how many there were."""

    text: str
    line: int
    """Where it begins in all that was read, from 1."""
    characters: int


class Splitter:
    """Feed it lines; statements come out at their `;`."""

    def __init__(self) -> None:
        self._grammar = Grammar()
        self._line = 1
        self.clear()

    def clear(self) -> None:
        """Forget what was begun."""
        self._text = ""
        self._characters = 0
        self._is_statement = False
        self._settled = 0
        self._begun_line = self._line

    @property
    def begun(self) -> bool:
        """Whether a statement, or a comment, waits for its end."""
        return bool(self._text)

    @property
    def opened(self) -> str:
        """The quote, or `/*`, that is not closed yet; or ""."""
        return opened(self._part(len(self._text)))

    def feed(self, line: str) -> Iterator[Statement]:
        """Take in one line; give the statements that end in it."""
        line = line.removesuffix("\n") + "\n"
        self._keep(line)
        at = max(0, len(self._text) - len(line))
        while not self._is_cut and (end := self._end(at)):
            text, rest = self._text[:end], self._text[end:]
            self._text = text
            if not self._grammar.is_empty(text):
                yield self._taken(len(text))
            self.clear()
            self._keep(rest)
            at = 0
        seen = line.rstrip(_SPACE)
        if self._is_cut and seen.endswith(";"):
            yield self._taken(self._characters - len(line) + len(seen))
        elif self._text and not self._is_statement and not self.opened:
            self._is_statement = not self._grammar.is_empty(self._text)
            if not self._is_statement:
                self.clear()  # so far there were only comments
        self._settle(len(self._text))
        self._line += 1

    def _end(self, at: int) -> int:
        """Behind the `;` that ends the first statement, looked for from `at` on; 0: it goes on."""
        while (end := self._text.find(";", at) + 1) > 0:
            part = self._part(end)
            if _is_complete(part):
                return end
            mark = opened(part)
            at = end if not mark else self._text.find(_CLOSING[mark], end) + 1
            if at == 0:
                return 0
            self._settle(at)
        return 0

    def _part(self, end: int) -> str:
        """What SQLite is asked about, in place of all up to `end`."""
        return (_BEGUN if self._settled else "") + self._text[self._settled : end]

    def _settle(self, end: int) -> None:
        """What is behind `end` is not understood differently for what is before it, if that is an
        ordinary statement with nothing open: then it need not be looked at again."""
        if end - self._settled > _SETTLED_CHARACTERS:
            part = self._part(end)
            if all(_is_complete(part + trigger) for trigger in _TRIGGERS):
                self._settled = end

    def rest(self) -> Statement | None:
        """What came after the last `;`, at the end of everything."""
        if self._grammar.is_empty(self._text):
            return None
        return self._taken(self._characters)

    @property
    def _is_cut(self) -> bool:
        return self._characters > len(self._text)

    def _keep(self, text: str) -> None:
        if not self._text:
            text = text.lstrip(_SPACE)
            self._begun_line = self._line
        room = MAX_STATEMENT_BYTES + 1 - len(self._text)
        self._text += text[: max(0, room)]
        self._characters += len(text)

    def _taken(self, characters: int) -> Statement:
        statement = Statement(self._text.strip(_SPACE), self._begun_line, characters)
        self.clear()
        return statement


def opened(text: str) -> str:
    """The quote or comment that is open at the end of a text; or ""."""
    if _is_complete(text + _END):
        return ""
    return next((mark for mark, end in _CLOSING.items() if _is_complete(text + end + _END)), "")


def _is_complete(text: str) -> bool:
    """SQLite's own word; where a byte order mark is a space for its parser, it forgets that."""
    return bool(apsw.complete(text.replace("\0", " ").replace("\ufeff", " ")))


def place_in(text: str, line: int, column: int, width: int) -> tuple[str, int]:
    """The line of `text` where a mistake is, no wider than `width`, and the caret's column in it,
    both from 0."""
    lines = text.split("\n")
    shown = lines[min(line, len(lines)) - 1].replace("\t", " ")
    caret = max(0, column - 1)
    first = max(0, min(caret - width // 2, len(shown) - width))
    return shown[first : first + width], caret - first
