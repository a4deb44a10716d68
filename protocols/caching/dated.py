"""Pages that say of themselves when they were made, for whom, and for how long they may be served:
who reads them can judge the caches on their way.

A page is one line of JSON, padded to HEAD_BYTES, and digits up to PAGE_BYTES.
"""

from __future__ import annotations

import json
from typing import Any, Final

from protocols.http.message import Request, Response
from protocols.numerals import whole

ROOT: Final = "/dated/"
"""A page is at `/dated/CLASS/NUMBER`."""
PAGE_BYTES: Final = 600
HEAD_BYTES: Final = 200
PERIOD_S: Final = 2.0
"""So long a page with a validator is the same."""
VALIDATED: Final = ("etag", "part", "plain")
CLASSES: Final = {
    "plain": ("max-age=600", 600.0),
    "etag": ("max-age=1", 1.0),
    "mine": ("max-age=600", 600.0),
    "language": ("max-age=600", 600.0),
    "part": ("max-age=600", 600.0),
    "tagged": ("max-age=600", 600.0),
    "stale": ("max-age=1, stale-while-revalidate=1, stale-if-error=3", 4.0),
}
"""Each with its `Cache-Control`, and how old it may be served. plain: fresh for long. etag: asked
about often. mine: with credentials. language: by `Vary`. part: read by ranges, too. tagged: purged
by its tag, too. stale: may be stale when the origin fails."""


def page(request: Request, now_s: float) -> Response | None:
    """As it is now; None: there is none of that class."""
    kind, _, number = request.path.partition(ROOT)[2].partition("/")
    if kind not in CLASSES:
        return None
    made_s = now_s // PERIOD_S * PERIOD_S if kind in VALIDATED else now_s
    caching, allowed_s = CLASSES[kind]
    headers = [("content-type", "text/plain"), ("cache-control", caching)]
    if kind == "tagged":
        headers.append(("cache-tag", tag(kind, number)))
    if kind == "language":
        headers.append(("vary", "accept-language"))
    if kind in VALIDATED:
        etag = f'"{kind}-{made_s:g}"'
        headers.append(("etag", etag))
        if etag in request.headers.get("if-none-match", ""):
            return Response(304, tuple(headers))
    line = {
        "made_s": made_s,
        "same_s": PERIOD_S if kind in VALIDATED else 0.0,
        "allowed_s": allowed_s,
        "user": request.headers.get("authorization", "").removeprefix("Basic ") or None,
        "language": request.headers.get("accept-language"),
    }
    return _in_part(request, headers, _body(line))


def _body(line: dict[str, Any]) -> bytes:
    head = json.dumps(line).encode().ljust(HEAD_BYTES - 1) + b"\n"
    return (head + b"0123456789" * (PAGE_BYTES // 10))[:PAGE_BYTES]


def _in_part(request: Request, headers: list[tuple[str, str]], body: bytes) -> Response:
    first, _, last = request.headers.get("range", "").removeprefix("bytes=").partition("-")
    begin, end = whole(first, 9), whole(last, 9)
    part = b"" if begin is None or end is None else body[begin : end + 1]
    if begin is None or not part:
        return Response(200, tuple(headers), body)
    span = f"bytes {begin}-{begin + len(part) - 1}/{PAGE_BYTES}"
    return Response(206, (*headers, ("content-range", span)), part)


def tag(kind: str, number: str) -> str:
    return f"{kind}{number}"


def told(body: bytes) -> dict[str, Any]:
    """What a page says. Raises ValueError: it is none, or a part without its first line."""
    found = json.loads(body[:HEAD_BYTES])
    if not isinstance(found, dict):
        raise ValueError("no page that tells of itself")
    return found
