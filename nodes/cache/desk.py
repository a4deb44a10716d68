"""What a cache node answers: hits at once; a miss to the one who fills it, others wait for that.

Bytes and time are the store's, tokens the leases'. Every fill that is void, or whose holder is
gone, wakes those who wait: one of them is next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import trio

from nodes.base import Context
from nodes.cache import arguments, reach
from nodes.cache.config import CacheConfig
from nodes.cache.follower import Follower
from nodes.cache.leases import TOKENS_PER_LIFE, Leases
from nodes.cache.listings import Listings
from nodes.cache.store import CacheStore, Entry
from nodes.parts.timing import move_on_after
from nodes.wire.answers import Ending
from nodes.wire.service import Call
from protocols import cache as words
from protocols.cache import MAX_KEY_BYTES, MAX_VALUE_BYTES
from protocols.errors import RpcError

PAGE_BYTES: Final = 512 << 10
SURELY_NOT_EARLY: Final = 20.0
"""So many times what it takes to fetch: so long before its end nobody fetches a value anew."""
MAX_WAITING: Final = 20_000
"""Readers that wait for fills; further ones are told that it is busy."""


class _Changed:
    """Set when what a key's readers wait for has come to an end."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.waiting = 0


class Desk:
    """One node's."""

    def __init__(self, ctx: Context, config: CacheConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.store = CacheStore(config.store(), ctx.rng("cache"))
        self.leases = Leases(ctx.generation, config.lease_time_s)
        self.follower: Follower | None = None
        """Without one, nobody tells how old values are."""
        self.newest_lsn = 0
        """Of the database: everything that was made old up to it is gone from here."""
        self.hits = self.misses = self.negative_hits = self.stale_served = 0
        self.lease_waits = self.busy = self.refused_fills = self.early = self.fills = 0
        self.deletes = self.not_fresh = self.waiting = 0
        self._now_s = ctx.clock.monotonic_s
        self._arrived_s = 0.0
        """When the requests came that are answered at once."""
        self._leased = self.leases.by_key
        self._listings = Listings()
        self._changed: dict[str, _Changed] = {}
        """By key, of those that somebody waits for."""
        self._holders: dict[int, tuple[Ending, Callable[[], object]]] = {}
        """Token → its holder's connection, and what to do when that ends."""

    def begin(self, now_s: float) -> None:
        """Requests have arrived (nodes.wire.answers.Batch)."""
        self._arrived_s = now_s

    def end(self) -> None:
        """Nothing is left to do for them."""

    # --- reading -------------------------------------------------------------------------

    def check_fresh(self, now_s: float) -> None:
        """Raises RpcError."""
        follower = self.follower
        if follower is not None and now_s >= follower.valid_until_s:
            self.not_fresh += 1
            self.ctx.reached(reach.NOT_FRESH)
            raise RpcError("unavailable", "the database's log was not heard of for too long")

    def get_at_once(self, params: list[Any], epoch: int | None) -> Any:
        """A hit that is nothing special; anything else takes a task."""
        if not params or len(params) > 2:
            return NotImplemented
        now_s, follower, key = self._arrived_s, self.follower, params[0]
        if follower is not None and now_s >= follower.valid_until_s:
            return NotImplemented
        entry = self.store.get(key, now_s) if type(key) is str else None
        if entry is None or entry.expires_s - now_s < entry.took_s * SURELY_NOT_EARLY:
            return NotImplemented
        self.count_hit(entry)
        return [words.HIT, entry.value]

    async def get(self, call: Call, key: Any, options: Any = None) -> list[Any]:
        """See protocols/cache.py."""
        arguments.check_key(key)
        until_s = self._now_s() + arguments.wait_s(options)
        waited = False
        while True:
            now_s = self._now_s()
            self.check_fresh(now_s)
            entry = self.store.get(key, now_s)
            if entry is not None:
                return self._shown(call, key, entry, now_s)
            if not self.config.leases:
                self.misses += 1
                return [words.MISS, None, self.newest_lsn]
            if self.leases.held(key, now_s) is None:
                self.misses += 1
                return [words.MISS, self._give(call, key, now_s), self.newest_lsn]
            stale = self.store.stale(key, now_s)
            if stale is not None:
                self.stale_served += 1
                return [words.STALE, stale.value]
            if now_s >= until_s or self.waiting >= MAX_WAITING:
                self.busy += 1
                return [words.BUSY]
            if not waited:
                waited = True
                self.lease_waits += 1
                self.ctx.reached(reach.WAITED)
            await self.wait_for(key, until_s)

    def _shown(self, call: Call, key: str, entry: Entry, now_s: float) -> list[Any]:
        self.count_hit(entry)
        may_fetch = self.config.leases and self.leases.held(key, now_s) is None
        if not (may_fetch and self.store.is_early(entry, now_s)):
            return [words.HIT, entry.value]
        self.early += 1
        self.ctx.reached(reach.EARLY)
        return [words.EARLY, entry.value, self._give(call, key, now_s), self.newest_lsn]

    def count_hit(self, entry: Entry) -> None:
        self.hits += 1
        if entry.value is None:
            self.negative_hits += 1
            self.ctx.reached(reach.ABSENT)

    async def wait_for(self, key: str, until_s: float) -> None:
        """Return when whoever fills it has come to an end, or its time has, or ours."""
        now_s = self._now_s()
        lease = self.leases.held(key, now_s)
        if lease is None:
            return
        changed = self._changed.get(key)
        if changed is None:
            changed = self._changed[key] = _Changed()
        self.waiting += 1
        changed.waiting += 1
        try:
            with move_on_after(self.ctx.clock, max(0.0, min(until_s, lease.until_s) - now_s)):
                await changed.event.wait()
        finally:
            self.waiting -= 1
            changed.waiting -= 1
            if not changed.waiting and self._changed.get(key) is changed:
                del self._changed[key]

    def _wake(self, key: str) -> None:
        changed = self._changed.pop(key, None)
        if changed is not None:
            changed.event.set()

    # --- tokens --------------------------------------------------------------------------

    def _give(self, call: Call, key: str, now_s: float) -> int:
        """A token that ends with its holder's connection at the latest."""
        token = self.give(key, now_s)
        if token:
            action = partial(self._holder_gone, key, token)
            call.ending.add(action)
            self._holders[token] = call.ending, action
        return token

    def give(self, key: str, now_s: float) -> int:
        self.end_overdue(now_s)
        return self.leases.give(key, now_s)

    def end_overdue(self, now_s: float) -> None:
        """Whoever was to fill a key has had its time."""
        for key, token in self.leases.end_overdue(now_s):
            self.ctx.reached(reach.OVERDUE)
            self._forget_holder(token)
            self._wake(key)

    def _holder_gone(self, key: str, token: int) -> None:
        self._holders.pop(token, None)
        if self.leases.redeem(key, token, self._now_s()):
            self.ctx.reached(reach.LEADER_GONE)
            self._wake(key)

    def _forget_holder(self, token: int) -> None:
        ending, action = self._holders.pop(token, (None, None))
        if ending is not None and action is not None:
            ending.discard(action)

    def redeem(self, key: str, token: int) -> bool:
        if self.leases.last_token(key) == token:
            self._forget_holder(token)
        taken = self.leases.redeem(key, token, self._now_s())
        if not taken:
            self.refused_fills += 1
            is_ours = token // TOKENS_PER_LIFE == self.ctx.generation
            self.ctx.reached(reach.VOIDED if is_ours else reach.OTHER_LIFE)
        return taken

    def release(self, call: Call, key: str, token: int) -> bool:
        """Whoever was to fill it cannot: the next one may."""
        freed = self.leases.last_token(key) == token
        self.drop(key, token)
        return freed

    def drop(self, key: str, token: int) -> None:
        """The node's own fill failed."""
        if self.leases.last_token(key) == token:
            self.void(key)

    # --- writing -------------------------------------------------------------------------

    def set_at_once(self, params: list[Any], epoch: int | None) -> Any:
        """A short text under a plain key, with no options, as any other value."""
        if len(params) == 2:
            key, value = params
            is_plain = type(key) is str and type(value) is str and key.isascii()
            if is_plain and 0 < len(key) <= MAX_KEY_BYTES and len(value) <= MAX_VALUE_BYTES:
                if self._leased:
                    self.void(key)
                self.fills += 1
                taken = self.store.put(key, value, len(value), self._arrived_s)
                if self._changed:
                    self._wake(key)
                return taken
        if not 2 <= len(params) <= 3:
            return NotImplemented  # refused as any other method's
        return self._set(*params)

    def set(self, call: Call, key: Any, value: Any, options: Any = None) -> bool:
        """See protocols/cache.py."""
        return self._set(key, value, options)

    def _set(self, key: Any, value: Any, options: Any = None) -> bool:
        arguments.check_key(key)
        size_bytes = arguments.size_of(value)
        given = arguments.set_options(options)
        if given.token is not None:
            if not self.redeem(key, given.token):
                return False
        else:
            self.void(key)
        return self.fill(key, value, size_bytes, given)

    def fill(self, key: str, value: Any, size_bytes: int, given: arguments.SetOptions) -> bool:
        self.fills += 1
        taken = self.store.put(
            key,
            value,
            size_bytes,
            self._now_s(),
            ttl_s=given.ttl_s,
            took_s=given.took_s,
            absent=given.absent,
        )
        self._wake(key)
        return taken

    def delete(self, call: Call, keys: Any, lsn: int = 0) -> int:
        """See protocols/cache.py."""
        return self.made_old(arguments.check_keys(keys), arguments.number(lsn, "lsn"))

    def made_old(self, keys: Sequence[str], lsn: int) -> int:
        """They are gone, and what is being fetched of them is void; how many were there."""
        now_s = self._now_s()
        self.newest_lsn = max(self.newest_lsn, lsn)
        gone = 0
        for key in keys:
            self.deletes += 1
            gone += self.store.delete(key, now_s)
            self.void(key)
        return gone

    def void(self, key: str) -> None:
        token = self.leases.last_token(key)
        if token:
            self._forget_holder(token)
            self.leases.void(key)
            self._wake(key)

    def forget_all(self, lsn: int, *, was_cut: bool = False) -> int:
        """Everything may be old. `was_cut`: the log ends at `lsn` though it had been longer, so no
        read can ever include what was told of the rest."""
        self.newest_lsn = lsn if was_cut else max(self.newest_lsn, lsn)
        self.leases.void_all()
        for token in list(self._holders):
            self._forget_holder(token)
        for key in list(self._changed):
            self._wake(key)
        return self.store.clear()

    # --- for others ----------------------------------------------------------------------

    def ready(self, call: Call, lsn: int = 0) -> dict[str, bool]:
        """See protocols/cache.py."""
        follower = self.follower
        if follower is None:
            return {"ready": True, "follows": False}
        fresh = follower.is_fresh(self._now_s())
        return {"ready": fresh and follower.lsn >= lsn, "follows": True}

    def keys(self, call: Call, place: Any = None) -> dict[str, Any]:
        """See protocols/cache.py."""
        asked = arguments.place(place) or self._listings.begin(self.store.keys())
        try:
            keys, following = self._listings.page(asked)
        except KeyError:
            raise RpcError("refused", "that listing is gone; begin anew") from None
        return {"keys": keys, "next": following}

    def values(self, call: Call, keys: Any) -> dict[str, Any]:
        """See protocols/cache.py."""
        now_s = self._now_s()
        self.check_fresh(now_s)
        rows: list[list[Any]] = []
        size_bytes = looked_at = 0
        for key in arguments.check_keys(keys):
            entry = self.store.peek(key, now_s)
            if entry is not None:
                size_bytes += entry.size_bytes
                if rows and size_bytes > PAGE_BYTES:
                    break
                rows.append([key, entry.value, int((entry.expires_s - now_s) * 1000)])
            looked_at += 1
        lsn = self.follower.lsn if self.follower is not None else self.newest_lsn
        return {"rows": rows, "looked_at": looked_at, "lsn": lsn}

    def stats(self) -> dict[str, Any]:
        config = self.config
        asked = self.hits + self.misses + self.busy + self.stale_served
        return {
            "max_age_s": config.max_age_s,
            "is_strict": config.leases and not config.serves_stale_s,
            "entries": len(self.store),
            "bytes": self.store.used_bytes,
            "capacity_bytes": self.config.capacity_bytes,
            "hits": self.hits,
            "misses": self.misses,
            "hit_ratio": round(self.hits / asked, 4) if asked else None,
            "negative_hits": self.negative_hits,
            "stale_served": self.stale_served,
            "evicted": self.store.evicted,
            "expired": self.store.expired,
            "deletes": self.deletes,
            "fills": self.fills,
            "refused_fills": self.refused_fills,
            "lease_waits": self.lease_waits,
            "leases": len(self.leases),
            "not_fresh": self.not_fresh,
        }
