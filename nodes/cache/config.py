"""What cache tiers may be told. Times are seconds, sizes bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from nodes.cache.store import StoreConfig
from nodes.parts.eviction import EvictionName

LEAST_BYTES: Final = 256
LEAST_STALE_S: Final = 0.1
"""A node asks its database several times in so long."""
WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """A cache: each key has one of its nodes."""

    capacity_bytes: int = 64 << 20
    """Of each node; when it is full, somebody leaves."""
    eviction: EvictionName = "sieve"
    """Who leaves: lru, fifo, sieve or s3fifo."""
    ttl_s: float = 60.0
    """The longest that a value is kept, whatever its client says."""
    ttl_jitter_ratio: float = 0.1
    """Up to this share of it less, at random, so that what was filled together does not end
    together."""
    negative_ttl_s: float = 5.0
    """How long it is remembered that there is nothing."""
    serves_stale_s: float = 0.0
    """Above 0: who would wait for another's fill gets a value that was deleted or expired for no
    longer than this."""
    leases: bool = True
    """Whether one caller at a time fills a key, with a token that a delete voids. Without, all who
    miss ask the database, and one of them may set what was just deleted."""
    lease_time_s: float = 10.0
    """How long a token is good, if its holder does not come back and its connection stands."""
    early_refresh: bool = True
    """Whether a reader fetches a value anew shortly before its time is over, by chance (XFetch)."""
    fills_from: str = ""
    """The database whose values it keeps: it follows that one's log, and deletes what transactions
    made old: `fills_from: db`. Without, only clients delete, and a value may be as old as `ttl`."""
    max_stale_s: float = 5.0
    """With `fills_from`: a node that has not heard of the log for so long shows nothing, and
    replays it, or forgets all, before it does again."""
    rows: dict[str, str] = field(default_factory=dict)
    """Read-through: the column by which rows of a table are read, `rows: {users: name}`; then
    `read users/ada` is that row, filled by the cache itself."""

    def __post_init__(self) -> None:
        if self.capacity_bytes < LEAST_BYTES:
            raise ValueError(f"`capacity` is at least {LEAST_BYTES} bytes")
        if min(self.ttl_s, self.negative_ttl_s, self.lease_time_s, self.max_stale_s) <= 0:
            raise ValueError("`ttl`, `negative_ttl`, `lease_time` and `max_stale` are above 0")
        if self.fills_from and self.max_stale_s < LEAST_STALE_S:
            raise ValueError(f"`max_stale` is at least {LEAST_STALE_S * 1000:g}ms")
        if not 0 <= self.ttl_jitter_ratio < 1 or self.serves_stale_s < 0:
            raise ValueError("`ttl_jitter` is from 0 to below 1, `serves_stale` not below 0")
        if self.rows and not self.fills_from:
            raise ValueError("`rows` needs `fills_from`: the database that has them")
        for each in (*self.rows, *self.rows.values()):
            if not WORD.fullmatch(each):
                raise ValueError(f"`rows`: {each[:40]!r} is no name of a table or column")

    @property
    def max_age_s(self) -> float:
        """How old a value is at most that it shows: since it was true in the database."""
        heard_s = self.max_stale_s if self.fills_from else self.ttl_s
        return heard_s + self.serves_stale_s

    def store(self) -> StoreConfig:
        return StoreConfig(
            capacity_bytes=self.capacity_bytes,
            eviction=self.eviction,
            ttl_s=self.ttl_s,
            ttl_jitter_ratio=self.ttl_jitter_ratio,
            negative_ttl_s=self.negative_ttl_s,
            stale_s=self.serves_stale_s,
            early=self.early_refresh,
        )


@dataclass(frozen=True, slots=True)
class CacheGutterConfig(CacheConfig):
    """A few nodes that stand in for dead ones of the cache: what they have is short-lived."""

    capacity_bytes: int = 16 << 20
    """Of each node."""
    ttl_s: float = 2.0
    """Short: nobody takes care of what is left here when the dead node is back."""
    negative_ttl_s: float = 1.0
    """How long it is remembered that there is nothing."""
