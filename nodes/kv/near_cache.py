"""Values kept close to who asks, for a bounded time: what is read is never older than that.

Bounded in entries; the oldest makes room. Time is passed in.
"""

from __future__ import annotations

from typing import Any, Final

from nodes.parts.eviction import Lru

ENTRIES: Final = 1000
MISSING: Final = object()


class NearCache:
    """What was read in the last `keep_s` seconds."""

    def __init__(self, keep_s: float, *, entries: int = ENTRIES) -> None:
        self._keep_s = keep_s
        self._order: Lru[str] = Lru(entries)
        self._entries: dict[str, tuple[float, Any]] = {}
        self.hits = 0

    def get(self, key: str, now_s: float) -> Any:
        """The value, or MISSING."""
        found = self._entries.get(key)
        if found is None or now_s >= found[0]:
            return MISSING
        self.hits += 1
        return found[1]

    def put(self, key: str, value: Any, asked_s: float) -> None:
        """The value as of some time after `asked_s`: that is when its time begins."""
        for each in self._order.put(key, 1):
            del self._entries[each]
        self._entries[key] = (asked_s + self._keep_s, value)

    def forget(self, key: str) -> None:
        """It is being written through here."""
        if self._order.remove(key):
            del self._entries[key]
