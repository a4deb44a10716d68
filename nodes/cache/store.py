"""A cache node's values: how many bytes, for how long, and who leaves. Pure: it is told the time.

Time is the node's monotonic clock: a step of the wall clock ends nothing early or late. Who may
fill a key is leases.py's business.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import log
from typing import Any, Final

from nodes.parts.eviction import EvictionName, eviction_named

ENTRY_BYTES: Final = 64
"""What an entry takes beside its key and value, about."""
SWEPT_AT_ONCE: Final = 200
BETA: Final = 1.0


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """What the tier's Config says of it."""

    capacity_bytes: int
    eviction: EvictionName
    ttl_s: float
    ttl_jitter_ratio: float
    negative_ttl_s: float
    stale_s: float
    early: bool


class Entry:
    """A value, and until when it may be shown."""

    __slots__ = ("dead_s", "expires_s", "noted_s", "size_bytes", "took_s", "value")

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.value: Any = None
        self.expires_s = 0.0
        self.took_s = 0.0
        """How long it took to fetch."""
        self.dead_s: float | None = None
        """When it was deleted, or expired; it is kept to be shown as stale."""
        self.noted_s = float("inf")
        """When to look at it next."""


class CacheStore:
    """Values by key."""

    def __init__(self, config: StoreConfig, rng: random.Random) -> None:
        self.config = config
        self._random = rng.random
        self._entries: dict[str, Entry] = {}
        self._order = eviction_named(config.eviction, config.capacity_bytes)
        self._ends: list[tuple[float, str]] = []
        """When to look at entries; some are gone by then, or end later."""
        self.evicted = 0
        self.expired = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    @property
    def used_bytes(self) -> int:
        return self._order.used_bytes

    # --- reading -------------------------------------------------------------------------

    def get(self, key: str, now_s: float) -> Entry | None:
        """The entry, if it may be shown."""
        entry = self._entries.get(key)
        if entry is None or entry.dead_s is not None:
            return None
        if now_s >= entry.expires_s:
            self._expire(key, entry)
            return None
        self._order.touch(key)
        return entry

    def is_early(self, entry: Entry, now_s: float) -> bool:
        """Whether this reader shall fetch it anew: the likelier, the nearer its end is and the
        longer it takes to fetch (XFetch; Vattani and others, VLDB 2015)."""
        if not (self.config.early and entry.took_s):
            return False
        ahead_s = -entry.took_s * BETA * log(1.0 - self._random())
        return now_s + ahead_s >= entry.expires_s

    def stale(self, key: str, now_s: float) -> Entry | None:
        """One that is dead for no longer than it may be shown."""
        entry = self._entries.get(key)
        if entry is None or entry.dead_s is None or now_s - entry.dead_s > self.config.stale_s:
            return None
        return entry

    def peek(self, key: str, now_s: float) -> Entry | None:
        """The entry, if it may be shown; that is no reading."""
        entry = self._entries.get(key)
        dead = entry is None or entry.dead_s is not None or now_s >= entry.expires_s
        return None if dead else entry

    def keys(self) -> list[str]:
        """All of them, those too that are shown as stale only."""
        return list(self._entries)

    # --- writing -------------------------------------------------------------------------

    def put(
        self,
        key: str,
        value: Any,
        size_bytes: int,
        now_s: float,
        *,
        ttl_s: float | None = None,
        took_s: float = 0.0,
        absent: bool = False,
    ) -> bool:
        """Keep it for `ttl_s` (else the tier's own), less a random part. False: it is larger than
        the whole cache."""
        size_bytes += len(key) + ENTRY_BYTES
        config, entry = self.config, self._entries.get(key)
        if entry is not None and entry.size_bytes == size_bytes:
            self._order.touch(key)  # all that putting it would do
        elif size_bytes <= config.capacity_bytes:
            entry = self._make_room(key, size_bytes)
        else:
            self.remove(key)
            return False
        limit_s = config.negative_ttl_s if absent else config.ttl_s
        lives_s = limit_s if ttl_s is None or ttl_s > limit_s else ttl_s
        expires_s = now_s + lives_s * (1.0 - config.ttl_jitter_ratio * self._random())
        entry.value, entry.expires_s, entry.took_s, entry.dead_s = value, expires_s, took_s, None
        if entry.noted_s > expires_s:
            self._look_at(expires_s, key, entry)
        return True

    def _make_room(self, key: str, size_bytes: int) -> Entry:
        """For what is to be put there; its entry."""
        entries = self._entries
        for each in self._order.put(key, size_bytes):
            del entries[each]
            self.evicted += 1
        entry = entries.get(key)
        if entry is None:
            entry = entries[key] = Entry(size_bytes)
        entry.size_bytes = size_bytes
        return entry

    def delete(self, key: str, now_s: float) -> bool:
        """It is old; whether it was there to be shown."""
        entry = self._entries.get(key)
        if entry is None or entry.dead_s is not None:
            return False
        if self.config.stale_s:
            entry.dead_s = now_s
            self._look_at(now_s + self.config.stale_s, key, entry)
        else:
            self.remove(key)
        return True

    def remove(self, key: str) -> bool:
        if self._entries.pop(key, None) is None:
            return False
        self._order.remove(key)
        return True

    def clear(self) -> int:
        """All of it; how many there were."""
        number = len(self._entries)
        self._entries.clear()
        self._ends.clear()
        self._order = eviction_named(self.config.eviction, self.config.capacity_bytes)
        return number

    # --- time ----------------------------------------------------------------------------

    def sweep(self, now_s: float) -> bool:
        """Let those go whose time is over though nobody reads them, some at a time; whether there
        are more."""
        ends = self._ends
        for _ in range(SWEPT_AT_ONCE):
            if not ends or ends[0][0] > now_s:
                return False
            noted_s, key = heappop(ends)
            entry = self._entries.get(key)
            if entry is None or entry.noted_s != noted_s:
                continue
            end_s = self._end_of(entry)
            if now_s < end_s:
                self._look_at(end_s, key, entry)
            elif entry.dead_s is None:
                self._expire(key, entry)
            else:
                self.remove(key)
        return True

    def _end_of(self, entry: Entry) -> float:
        if entry.dead_s is None:
            return entry.expires_s
        return entry.dead_s + self.config.stale_s

    def _expire(self, key: str, entry: Entry) -> None:
        self.expired += 1
        if self.config.stale_s:
            entry.dead_s = entry.expires_s
            self._look_at(entry.expires_s + self.config.stale_s, key, entry)
        else:
            self.remove(key)

    def _look_at(self, end_s: float, key: str, entry: Entry) -> None:
        """At that time."""
        ends = self._ends
        entry.noted_s = end_s
        if len(ends) <= 2 * len(self._entries) + SWEPT_AT_ONCE:
            heappush(ends, (end_s, key))
            return
        for each in self._entries.values():
            each.noted_s = self._end_of(each)
        ends[:] = [(each.noted_s, name) for name, each in self._entries.items()]
        heapify(ends)
