"""What a response is kept under, and whose stored responses a request makes invalid.

Everything that the origin sees and that is no part of the key can be used to poison it for others:
what a proxy is known to be fooled by is not passed on at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from protocols.caching.fields import Headers, first

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
UNKEYED: Final = frozenset(
    {
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-path",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-proto",
        "x-forwarded-scheme",
        "x-forwarded-server",
        "x-host",
        "x-http-host-override",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-host",
        "x-original-url",
        "x-rewrite-url",
    }
)
"""Request headers by which origins are made to answer for another host, path or method."""
_DEFAULT_PORT: Final = ":80"
_ABSOLUTE: Final = re.compile(r"(?i:https?)://([^/?#]*)(.*)", re.DOTALL)


class Key(NamedTuple):
    """`host` and `target` (path and query), in one form."""

    host: str
    target: str

    def __str__(self) -> str:
        return f"{self.host}{self.target}"


def key(host: str, target: str) -> Key:
    """Of a request: its Host and its target, which may have a host of its own."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        host, path = absolute[1], absolute[2]
        target = path if path.startswith("/") else f"/{path}"
    return Key(host.lower().removesuffix(_DEFAULT_PORT), target.partition("#")[0])


def invalidated(asked: Key, method: str, status: int, headers: Headers) -> Iterator[Key]:
    """What a request that may have changed something makes invalid: its own URL, and those that the
    answer names at the same host (RFC 9111, 4.4)."""
    if method in SAFE or not 200 <= status < 400:
        return
    yield asked
    base = f"http://{asked.host}{asked.target}"
    for name in ("location", "content-location"):
        where = first(headers, name)
        if where is None:
            continue
        try:
            found = urlsplit(urljoin(base, where))
        except ValueError:
            continue
        named = key(found.netloc, (found.path or "/") + (f"?{found.query}" if found.query else ""))
        if named.host == asked.host and found.scheme == "http":
            yield named
