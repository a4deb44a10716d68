"""The objects that an edge keeps, in memory, within a bound on their bytes. Pure.

By URL, then by what `Vary` says of the request; which one goes when there is no room is the
policy's to say (nodes/parts/eviction.py). After a restart there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from nodes.parts.eviction import Eviction
from protocols.caching.keys import Key
from protocols.caching.ranges import Wanted, covers
from protocols.caching.reuse import Stored
from protocols.caching.selecting import matches
from protocols.http.message import Response

OVERHEAD_BYTES: Final = 512
"""What an object takes beside its body and its headers."""


@dataclass(slots=True, eq=False)
class Kept:
    """A stored response in its place: there is one for each URL, `Vary` and part."""

    place: str
    key: Key
    stored: Stored
    doublings: int = 0
    """Of the pause: the origin failed in a row when it was asked about this; bounded."""
    rests_until_s: float = 0.0
    answer: Response | None = None
    """The ordinary one to a hit, as it was when this was so many seconds old."""
    answered_s: int = -1


class Store:
    """`eviction` says who goes."""

    def __init__(self, eviction: Eviction[str], max_variants: int) -> None:
        self.eviction = eviction
        self.max_variants = max_variants
        self.evicted = 0
        self._urls: dict[Key, list[Kept]] = {}
        """The newest last."""
        self._kept: dict[str, Kept] = {}
        self._tags: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        return self.eviction.used_bytes

    def find(
        self, key: Key, request: Mapping[str, str], wanted: Wanted | None = None
    ) -> Kept | None:
        """The newest response that answers the request: the whole one, or a part that has all of
        the range that is wanted."""
        for kept in reversed(self._urls.get(key, ())):
            stored = kept.stored
            if stored.selecting and not matches(stored.selecting, request):
                continue
            if stored.part is None or (wanted is not None and covers(stored.part, wanted)):
                self.eviction.touch(kept.place)
                return kept
        return None

    def of_url(self, key: Key) -> list[Stored]:
        """All variants and parts, the newest first."""
        return [kept.stored for kept in reversed(self._urls.get(key, ()))]

    def has(self, kept: Kept) -> bool:
        """Whether it is still here."""
        return self._kept.get(kept.place) is kept

    def add(self, key: Key, stored: Stored) -> None:
        """In place of what answered the same request; what is too large for the whole store is not
        kept."""
        place = f"{key} {stored.selecting} {stored.part}"
        self._drop_same(key, stored)
        size = _size_bytes(key, stored)
        if size > self.eviction.limit_bytes:
            return
        while len(self._urls.get(key, ())) >= self.max_variants:
            self.drop(self._urls[key][0])
            self.evicted += 1
        for gone in self.eviction.put(place, size):
            self._forget(self._kept[gone])
            self.evicted += 1
        kept = self._kept[place] = Kept(place, key, stored)
        self._urls.setdefault(key, []).append(kept)
        for tag in stored.tags:
            self._tags.setdefault(tag, {})[place] = None

    def renew(self, kept: Kept, stored: Stored) -> None:
        """Its fields were confirmed. It must be here; where it is chosen or purged by other ones
        now, or takes more room, it is taken in anew."""
        old = kept.stored
        same = (old.selecting, old.tags) == (stored.selecting, stored.tags)
        if not same or _size_bytes(kept.key, stored) > _size_bytes(kept.key, old):
            self.drop(kept)
            self.add(kept.key, stored)
            return
        kept.stored = stored
        kept.doublings, kept.rests_until_s, kept.answer = 0, 0.0, None

    def drop_url(self, key: Key) -> int:
        """All of its variants; how many that were."""
        gone = list(self._urls.get(key, ()))
        for kept in gone:
            self.drop(kept)
        return len(gone)

    def drop_where(self, goes: Callable[[Key], bool]) -> int:
        """All URLs of which that is true; how many objects that were."""
        return sum(self.drop_url(key) for key in [each for each in self._urls if goes(each)])

    def drop_tag(self, tag: str) -> int:
        gone = [self._kept[place] for place in self._tags.get(tag, ())]
        for kept in gone:
            self.drop(kept)
        return len(gone)

    def all(self) -> list[Kept]:
        return list(self._kept.values())

    def _drop_same(self, key: Key, stored: Stored) -> None:
        """A whole takes the place of its parts, too."""
        for kept in list(self._urls.get(key, ())):
            same = kept.stored.selecting == stored.selecting
            if same and (stored.part is None or kept.stored.part == stored.part):
                self.drop(kept)

    def drop(self, kept: Kept) -> None:
        """It must be here."""
        self.eviction.remove(kept.place)
        self._forget(kept)

    def _forget(self, kept: Kept) -> None:
        del self._kept[kept.place]
        key = kept.key
        variants = self._urls[key]
        variants.remove(kept)
        if not variants:
            del self._urls[key]
        for tag in kept.stored.tags:
            places = self._tags[tag]
            places.pop(kept.place, None)
            if not places:
                del self._tags[tag]


def _size_bytes(key: Key, stored: Stored) -> int:
    headers = sum(len(name) + len(value) for name, value in stored.headers)
    return OVERHEAD_BYTES + len(key.target) + headers + len(stored.body)
