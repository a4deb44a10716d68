"""Ranges of bytes: what a request wants of a whole, what a 206 brings of one (RFC 9110, 14).

One range is cut out of what is stored. A request for several gets the whole, as it may.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from protocols.caching.fields import Headers, first

_UNIT: Final = "(?i:bytes)"
_RANGE: Final = re.compile(rf"{_UNIT}=(?:(\d{{1,18}})-(\d{{0,18}})|-(\d{{1,18}}))", re.ASCII)
_CONTENT: Final = re.compile(rf"{_UNIT} (\d{{1,18}})-(\d{{1,18}})/(\d{{1,18}}|\*)", re.ASCII)

_SEVERAL: Final = "multipart/byteranges"


class Wanted(NamedTuple):
    """`bytes=FIRST-LAST`; of `bytes=-N` the last N."""

    first: int | None
    last: int | None
    suffix: int | None = None

    def within(self, length: int) -> tuple[int, int] | None:
        """(first byte, the one behind the last) of a whole of so many; None: nothing of it."""
        if self.suffix is not None:
            return (max(0, length - self.suffix), length) if self.suffix and length else None
        assert self.first is not None
        if self.first >= length:
            return None
        return self.first, length if self.last is None else min(length, self.last + 1)


class Part(NamedTuple):
    """What a 206 has of a whole: from byte `first` up to, not with, `end`."""

    first: int
    end: int
    length: int | None
    """Of the whole; None: nobody knows."""


def wanted(value: str | None) -> Wanted | None:
    """What a Range header asks for; None: nothing that is served here, so the whole."""
    found = _RANGE.fullmatch((value or "").strip())
    if found is None:
        return None
    if found[3] is not None:
        return Wanted(None, None, int(found[3]))
    first, last = int(found[1]), int(found[2]) if found[2] else None
    return Wanted(first, last) if last is None or last >= first else None


def part(headers: Headers, body_bytes: int) -> Part | None:
    """What of a whole a 206 with these headers is; None where its body is not what it says, or
    holds several parts."""
    found = _CONTENT.fullmatch((first(headers, "content-range") or "").strip())
    several = (first(headers, "content-type") or "").lower().startswith(_SEVERAL)
    if found is None or several:
        return None
    begin, end = int(found[1]), int(found[2]) + 1
    length = None if found[3] == "*" else int(found[3])
    if begin >= end or end - begin != body_bytes or (length is not None and end > length):
        return None
    return Part(begin, end, length)


def content_range(first: int, end: int, length: int | None) -> str:
    """As it is written into a 206."""
    return f"bytes {first}-{end - 1}/{'*' if length is None else length}"


def covers(part: Part, wanted: Wanted) -> bool:
    """Whether all that is wanted is in it."""
    if part.length is None:
        if wanted.first is None or wanted.last is None:
            return False
        return part.first <= wanted.first and wanted.last < part.end
    span = wanted.within(part.length)
    return span is not None and part.first <= span[0] and span[1] <= part.end
