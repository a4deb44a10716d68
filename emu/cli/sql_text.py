"""SQL as it is typed or read, line by line, cut into statements. Pure; nothing is asked here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import apsw

from nodes.sql.rules import MAX_STATEMENT_BYTES

_OPENING: Final = re.compile(r"""['"`\[;]|--|/\*""")
_CLOSING: Final = {"'": "'", '"': '"', "`": "`", "[": "]", "--": "\n", "/*": "*/"}
_COMMENTS: Final = ("--", "/*")
_TRIGGER: Final = re.compile(r"CREATE\s+(TEMP\s+|TEMPORARY\s+)?TRIGGER\b", re.IGNORECASE)


class Statement(NamedTuple):
    """`text` is cut where no node would take it; `characters` is how many there were."""

    text: str
    line: int
    """Where it begins in all that was read, from 1."""
    characters: int


class Splitter:
    """Feed it lines; statements come out at their `;`."""

    def __init__(self) -> None:
        self._line = 1
        self.clear()

    def clear(self) -> None:
        """Forget what was begun."""
        self._pieces: list[str] = []
        self._kept = self._characters = 0
        self._content = False
        self._begun_line = self._line
        self._opened = ""

    @property
    def begun(self) -> bool:
        """Whether a statement, or a comment, waits for its end."""
        return bool(self._pieces)

    @property
    def opened(self) -> str:
        """The quote, or `/*`, that is not closed yet; or ""."""
        return self._opened

    def feed(self, line: str) -> Iterator[Statement]:
        """Take in one line; give the statements that end in it."""
        line = line.rstrip("\n") + "\n"
        start = at = 0
        while True:
            if self._opened:
                end = line.find(_CLOSING[self._opened], at)
                if end < 0:
                    break
                at, self._opened = end + len(_CLOSING[self._opened]), ""
                continue
            found = _OPENING.search(line, at)
            self._content |= bool(line[at : found.start() if found else len(line)].strip())
            if found is None:
                break
            at = found.end()
            if found[0] != ";":
                self._opened = found[0]
                self._content |= found[0] not in _COMMENTS
                continue
            self._keep(line[start:at])
            start = at
            if not self._content:
                self.clear()  # an empty statement is none
            elif not self._inside_trigger():
                yield self._taken()
        self._keep(line[start:])
        if not (self._content or self._opened):
            self.clear()  # so far there were only comments
        self._line += 1

    def rest(self) -> Statement | None:
        """What came after the last `;`, at the end of everything."""
        return self._taken() if self._content else None

    def _keep(self, text: str) -> None:
        if not self._pieces and not text.strip():
            return
        if not self._pieces:
            self._begun_line = self._line
        room = MAX_STATEMENT_BYTES + 1 - self._kept
        if room > 0:
            self._pieces.append(text[:room])
            self._kept += len(self._pieces[-1])
        self._characters += len(text)

    def _inside_trigger(self) -> bool:
        """A trigger's body has `;` of its own: it ends at END."""
        text = "".join(self._pieces[:8]).lstrip()
        return _TRIGGER.match(text) is not None and not apsw.complete("".join(self._pieces))

    def _taken(self) -> Statement:
        text = "".join(self._pieces).strip()
        statement = Statement(text, self._begun_line, self._characters)
        self.clear()
        return statement


def place_in(text: str, line: int, column: int, width: int) -> tuple[str, int]:
    """The line of `text` where a mistake is, no wider than `width`, and the caret's column in it,
    both from 0."""
    lines = text.split("\n")
    shown = lines[min(line, len(lines)) - 1].replace("\t", " ")
    caret = max(0, column - 1)
    first = max(0, min(caret - width // 2, len(shown) - width))
    return shown[first : first + width], caret - first
