"""What was purged, so that nothing brings it back: not an answer that was on its way, nor a shield
that missed it. Pure; that it is on disk before it is told is node.py's business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from nodes.parts.jsons import dumps
from protocols.caching.keys import Key, key

PurgeKind = Literal["url", "prefix", "tag"]
KINDS: Final[tuple[str, ...]] = get_args(PurgeKind)
MOST_CHARS: Final = 2048
HOST: Final = re.compile(r"[\w.~-]+(:[0-9]+)?|\[[0-9a-f:.]+\](:[0-9]+)?", re.ASCII)
MOST_KEPT: Final = 1024
"""The oldest is forgotten then: what this edge itself had is gone since it was told."""


@lru_cache(MOST_KEPT)
def _place_of(value: str) -> Key:
    """Each is compared with many URLs. Raises ValueError."""
    urlsplit(value)
    return key("", value)


class Purge(NamedTuple):
    """`value`: a URL or its beginning, `/path` at any host or `http://host/path`; or a tag."""

    name: str
    """Unique, wherever it goes."""
    kind: PurgeKind
    value: str

    @property
    def place(self) -> Key:
        """Of a URL or a prefix; host "": any."""
        return _place_of(self.value)

    def touches(self, where: Key, tags: Iterable[str]) -> bool:
        if self.kind == "tag":
            return self.value in tags
        host, target = self.place
        if host and host != where.host:
            return False
        return where.target == target if self.kind == "url" else where.target.startswith(target)

    def encoded(self) -> str:
        return dumps(list(self), separators=(",", ":"))


def decoded(text: str | bytes) -> Purge:
    """Raises ValueError."""
    match json.loads(text):
        case [str(name), "url" | "prefix" | "tag" as kind, str(value)]:
            return checked(name, kind, value)
    raise ValueError("no purge")


def checked(name: str, kind: Any, value: Any) -> Purge:
    """Raises ValueError that says what is wrong."""
    if kind not in KINDS:
        raise ValueError(f"what is purged is a {', '.join(KINDS)}")
    if not isinstance(value, str) or not 0 < len(value) <= MOST_CHARS or not value.isascii():
        raise ValueError(f"a {kind}: an ASCII text of 1 to {MOST_CHARS} characters")
    if kind != "tag" and not value.startswith(("/", "http://")):
        raise ValueError(f"a {kind} begins with `/`, for any host, or with http://")
    if not name or len(name) > MOST_CHARS:
        raise ValueError("a purge has a name")
    found = Purge(name, kind, value)
    if kind != "tag":
        try:
            _ = found.place
        except ValueError as error:
            raise ValueError(f"`{value[:80]}` is no address: {error}") from None
    return found


def wanted(name: str, kind: Any, value: Any) -> Purge:
    """What an operator asks for: nothing that no object could ever be. Raises ValueError."""
    found = checked(name, kind, value)
    if not all(" " <= each <= "~" for each in value):
        raise ValueError(f"a {kind} has no control characters")
    if kind == "tag":
        if value != value.strip() or "," in value:
            raise ValueError("one tag, without commas, and without blanks around it")
        return found
    if " " in value or "#" in value:
        raise ValueError(f"a {kind} has no blanks (write %20), and no part behind a `#`")
    if value.startswith("http://") and not HOST.fullmatch(found.place.host):
        raise ValueError(f"a {kind} that begins with http:// goes on with a host and its path")
    return found


class Purges:
    """Those that are remembered, in their order here."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept: dict[str, tuple[int, Purge]] = {}
        self.place = 0
        """How many there were."""

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def add(self, purge: Purge) -> None:
        self.place += 1
        self._kept[purge.name] = (self.place, purge)
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]

    def all(self) -> list[Purge]:
        return [purge for _, purge in self._kept.values()]

    def since(self, place: int, where: Key, tags: Iterable[str]) -> bool:
        """Whether something was purged after that place which this is, or which nobody knows."""
        if self.place - place > len(self._kept):
            return True
        tags = tuple(tags)
        return any(
            number > place and purge.touches(where, tags) for number, purge in self._kept.values()
        )

    def newer(self, one: Purge | None, other: Purge | None) -> Purge | None:
        """Of two of these."""
        if one is None or other is None:
            return one or other
        return max(one, other, key=lambda each: self._kept.get(each.name, (0,))[0])

    def last(self, where: Key, tags: Iterable[str] = ()) -> Purge | None:
        """The newest that this is."""
        tags = tuple(tags)
        for _, purge in reversed(self._kept.values()):
            if purge.touches(where, tags):
                return purge
        return None
