"""The answer that a stored response gives to a request: whole, a part of it, or `304 Not Modified`.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from protocols.caching import ranges, validating
from protocols.caching.fields import Headers, combined, first
from protocols.caching.reuse import Stored
from protocols.caching.storing import NOT_MODIFIED, PARTIAL, UNSATISFIABLE
from protocols.caching.telling import CacheStatus
from protocols.http.message import Response

CACHE_STATUS: Final = "cache-status"
_OF_CONTENT: Final = frozenset({"content-encoding", "content-language", "content-length",
                                "content-range", "content-type"})  # fmt: skip
"""What a 304 leaves out: the client has it."""


def answer(
    stored: Stored,
    request: Mapping[str, str],
    told: CacheStatus,
    now_s: float,
    wall_s: float,
    said: str = "",
) -> Response:
    """To a GET (or a HEAD, whose body nobody sends) that this response answers. `said`: what
    caches on its way here have said."""
    age = ("age", str(round(stored.age_s(now_s))))
    status = (CACHE_STATUS, f"{said}, {told.written()}" if said else told.written())
    if stored.status == 200 or stored.part is not None:
        if validating.is_unchanged(request, stored.headers, wall_s):
            kept = [pair for pair in stored.headers if pair[0] not in _OF_CONTENT]
            return Response(NOT_MODIFIED, (*kept, age, status))
        wanted = ranges.wanted(request.get("range"))
        fits = wanted is not None and (stored.part is None or ranges.covers(stored.part, wanted))
        if fits and wanted is not None and validating.range_holds(request, stored.headers):
            return _cut(stored, wanted, (age, status))
    headers = without_length(stored)
    return Response(stored.status, (*headers, age, status), stored.body)


def _cut(stored: Stored, wanted: ranges.Wanted, added: tuple[tuple[str, str], ...]) -> Response:
    part = stored.part or ranges.Part(0, len(stored.body), len(stored.body))
    headers = [pair for pair in without_length(stored) if pair[0] != "content-range"]
    if part.length is None:
        assert wanted.first is not None and wanted.last is not None, "the store looks for these"
        span: tuple[int, int] | None = (wanted.first, wanted.last + 1)
    else:
        span = wanted.within(part.length)
    if span is None:
        told = ("content-range", f"bytes */{part.length}")
        return Response(UNSATISFIABLE, (*added, told))
    start, end = span
    told = ("content-range", ranges.content_range(start, end, part.length))
    body = stored.body[start - part.first : end - part.first]
    return Response(PARTIAL, (*headers, told, *added), body)


def without_length(stored: Stored) -> list[tuple[str, str]]:
    """Whoever sends it adds the length."""
    if first(stored.headers, "content-length") is None:
        return stored.headers
    return [pair for pair in stored.headers if pair[0] != "content-length"]


def before(headers: Headers) -> str:
    """What caches on its way here have said of a response."""
    return combined(headers, CACHE_STATUS) or ""


def appended(headers: Headers, told: CacheStatus) -> list[tuple[str, str]]:
    """The headers of what came from the next one, with our member at the end of its list."""
    others = [pair for pair in headers if pair[0] != CACHE_STATUS]
    line = before(headers)
    return [*others, (CACHE_STATUS, f"{line}, {told.written()}" if line else told.written())]
