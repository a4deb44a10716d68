"""What a cache tier is asked, and what it answers; which of its nodes has a key.

`get(key, options)` → one of
    `["hit", value]`: nil where it is known that there is nothing.
    `["early", value, token, lsn]`: a hit that this caller shall fetch anew before its time is over.
    `["miss", token, lsn]`: this caller shall fill it, with its token. Nil: this tier has no leases,
        and anybody may; 0: nobody may now. `lsn`: what it reads of the database must be as new.
    `["stale", value]`: deleted or expired a moment ago, and somebody fills it (`serves_stale`).
    `["busy"]`: somebody was filling it as long as the caller could wait.
    options: `wait_ms` (how long to wait for whoever fills it).
`set(key, value, options)` → whether it was taken. options: `ttl_ms`, `token` (of the miss: without
    its being still valid, nothing is set), `took_ms` (to fetch it), `absent` (there is nothing: for
    `negative_ttl`). Without `token` it is nobody's copy, and simply kept.
`delete(keys, lsn)` → how many were there. Fills that are under way are void. `lsn`: of the commit
    that made them old, 0 if nobody knows.
`release(key, token)` → whether it was valid: whoever was to fill it cannot.
`read(key)` → the value, or nil: a miss is filled by the cache itself (`rows`).
`ready(lsn)` → `{"ready", "follows"}`: whether it knows of all that was made old up to `lsn`;
    whether it can ever know by itself, by the database's log.
`flush()` → how many there were. `stats()` → a map.
`keys(place)` → `{"keys", "next"}`: a page of the keys that there were when the first page was asked
    for (nil), and the place of the next one, nil after the last.
`values(keys)` → `{"rows": [[key, value, ttl_ms], ...], "looked_at", "lsn"}`: what is there of the
    first so many of these keys (an answer has its bound), and up to where of the log that is good.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from protocols.hashing.slots import Ring

GET: Final = "get"
SET: Final = "set"
DELETE: Final = "delete"
RELEASE: Final = "release"
READ: Final = "read"
READY: Final = "ready"
FLUSH: Final = "flush"
STATS: Final = "stats"
KEYS: Final = "keys"
VALUES: Final = "values"
WARM: Final = "warm"
WARMED: Final = "warmed"
"""Of the admin listener: begin to take over from the other nodes what is one's own by now, and how
far that is."""

HIT: Final = "hit"
EARLY: Final = "early"
MISS: Final = "miss"
STALE: Final = "stale"
BUSY: Final = "busy"

MAX_KEY_BYTES: Final = 250
MAX_VALUE_BYTES: Final = 900_000
MAX_KEYS: Final = 1000
MAX_TTL_MS: Final = 30 * 86_400_000
MAX_WAIT_MS: Final = 10_000


def is_key(key: str) -> bool:
    """Whether a value may be kept under it: text, not empty, and no longer than a key may be."""
    if not key or len(key) > MAX_KEY_BYTES:
        return False
    return key.isascii() or len(key.encode(errors="replace")) <= MAX_KEY_BYTES


def ring_of(names: Iterable[str]) -> Ring:
    """Which of these nodes has a key: `.owner(key)`. A node that goes or comes moves its own keys
    only."""
    return Ring(sorted(names))
