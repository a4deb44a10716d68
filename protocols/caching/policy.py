"""What a response, or a request, says of its being cached, read from the field that is meant for
us.

A CDN obeys `CDN-Cache-Control` where there is a valid one, and then nothing else (RFC 9213, 2.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from protocols.caching import structured
from protocols.caching.fields import Headers, combined, directives, is_token, names, unquoted

CACHE_CONTROL: Final = "cache-control"
TARGETED: Final = "cdn-cache-control"
MOST_SECONDS: Final = 1 << 31
"""A longer time is taken for this one (RFC 9111, 1.2.2)."""
_SECONDS: Final = re.compile(r"[0-9]+")
_DIGITS: Final = 10
"""A longer number is beyond MOST_SECONDS."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The directives of one field, by name."""

    directives: Mapping[str, str | None] = field(default_factory=dict)
    targeted: bool = False
    """It was meant for CDNs: `Cache-Control` and `Expires` are for others."""

    def __contains__(self, name: str) -> bool:
        return name in self.directives

    def seconds(self, name: str) -> int | None:
        """A directive's time; None if it is not there. One that is no time is 0: what it would have
        allowed is not allowed (RFC 9111, 4.2.1)."""
        if name not in self.directives:
            return None
        return seconds(self.directives[name] or "") or 0

    def fields(self, name: str) -> tuple[str, ...]:
        """The header fields to which `private` or `no-cache` are confined; (): to none of them, or
        to what cannot be understood."""
        listed = names(unquoted(self.directives.get(name) or ""))
        return listed if all(map(is_token, listed)) else ()

    def forbids(self, name: str) -> bool:
        """Whether the directive is there, and not confined to some header fields."""
        return name in self.directives and not self.fields(name)


def seconds(text: str) -> int | None:
    """Delta-seconds; None if it is none."""
    if not _SECONDS.fullmatch(text):
        return None
    digits = text.lstrip("0")
    return min(int(digits or "0"), MOST_SECONDS) if len(digits) <= _DIGITS else MOST_SECONDS


def of_response(headers: Headers) -> Policy:
    """The one that a shared cache obeys."""
    targeted = combined(headers, TARGETED)
    if targeted is not None:
        found = structured.dictionary(targeted)
        if found:
            return Policy(_as_directives(found), targeted=True)
    return Policy(directives(combined(headers, CACHE_CONTROL) or ""))


def of_request(headers: Mapping[str, str]) -> Policy:
    """`Pragma: no-cache` is obeyed only of a client that knows nothing newer (RFC 9111, 5.4)."""
    value = headers.get(CACHE_CONTROL)
    if value is None:
        old = "no-cache" in directives(headers.get("pragma", ""))
        return Policy({"no-cache": None} if old else {})
    return Policy(directives(value))


def _as_directives(found: Mapping[str, structured.Value]) -> dict[str, str | None]:
    """A false one is not there; a time is an integer, and a text that looks like one is none."""
    return {
        name: None if value is True else str(value)
        for name, value in found.items()
        if value is not False
    }
