"""Conditional requests: a client's, answered from what is stored, and ours, which ask the origin
whether that still holds (RFC 9110, 13; RFC 9111, 4.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from protocols.caching import dates
from protocols.caching.fields import Headers, first
from protocols.caching.fields import tags as listed

CONDITIONS: Final = frozenset(
    {"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"}
)
ORIGINS: Final = frozenset({"if-match", "if-unmodified-since"})
"""Those that only the origin can answer."""
UNCHANGED: Final = frozenset(
    {"content-encoding", "content-length", "content-md5", "content-range", "etag"}
)
"""Of what is stored, a 304 changes none of these: they belong to the content (RFC 9111, 3.2)."""


def opaque(tag: str) -> str:
    """For weak comparison: without the mark of a weak one."""
    return tag.removeprefix("W/")


def is_strong(tag: str | None) -> bool:
    return bool(tag) and not str(tag).startswith("W/")


def is_unchanged(request: Mapping[str, str], headers: Headers, now_s: float) -> bool:
    """Whether a GET that comes with conditions is answered 304 where this is what would be sent."""
    tags = request.get("if-none-match")
    stored = first(headers, "etag")
    if tags is not None:
        if tags.strip() == "*":
            return True
        return stored is not None and opaque(stored) in [opaque(each) for each in listed(tags)]
    since_s = dates.seconds(request.get("if-modified-since", ""), now_s)
    if since_s is None:
        return False
    changed_s = dates.seconds(first(headers, "last-modified") or "", now_s)
    if changed_s is None:
        changed_s = dates.seconds(first(headers, "date") or "", now_s)
    return changed_s is not None and changed_s <= since_s


def range_holds(request: Mapping[str, str], headers: Headers) -> bool:
    """Whether a range may be cut out: without If-Range, or with the very validator that is stored,
    if it is a strong one."""
    wanted = request.get("if-range")
    if wanted is None:
        return True
    if wanted.startswith(('"', "W/")):
        return is_strong(wanted) and wanted == first(headers, "etag")
    changed = first(headers, "last-modified")
    date = first(headers, "date")
    return changed is not None and wanted == changed and changed != date


def conditions(stored: Iterable[Headers]) -> list[tuple[str, str]]:
    """What asks the origin whether one of these still holds; []: it cannot be asked."""
    tags: dict[str, None] = {}
    latest = ""
    for headers in stored:
        tag = first(headers, "etag")
        if tag:
            tags[tag] = None
        latest = latest or first(headers, "last-modified") or ""
    asked = [("if-none-match", ", ".join(tags))] if tags else []
    return [*asked, *([("if-modified-since", latest)] if latest else [])]


def confirms(answer: Headers, stored: Headers) -> bool:
    """Whether a 304 is about this one: by its strong tag, or else whatever validators both have
    (RFC 9111, 4.3.4)."""
    tag, known = first(answer, "etag"), first(stored, "etag")
    if tag is not None and known is not None:
        return tag == known if is_strong(tag) else opaque(tag) == opaque(known)
    if tag is not None and is_strong(tag):
        return False
    changed, remembered = first(answer, "last-modified"), first(stored, "last-modified")
    return changed is None or remembered is None or changed == remembered


def updated(stored: Headers, answer: Headers) -> list[tuple[str, str]]:
    """The stored fields with those of a 304 in place of theirs; but whoever asked is the only one
    to whom its cookies are given, unless what is stored gives one to all."""
    left = UNCHANGED if first(stored, "set-cookie") is not None else {*UNCHANGED, "set-cookie"}
    fresh = [pair for pair in answer if pair[0] not in left]
    replaced = {name for name, _ in fresh}
    return [*(pair for pair in stored if pair[0] not in replaced), *fresh]
