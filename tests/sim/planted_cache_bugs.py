"""Bugs of the cache, as somebody might have written them.

Each is a function whose docstring says what is wrong, under the topology (tests/sim/planted/) whose
ordinary load, faults and verdict must find it. How they are hunted is test_cache_planted.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from nodes.cache import client, desk, follower, members, rows, store
from nodes.cache.arguments import SetOptions, size_of
from nodes.parts.flights import Flights
from nodes.sql import feed
from nodes.wire.answers import current_call
from protocols.cache import ring_of
from protocols.errors import RpcError
from tests.planting import Plant, Swap, listed

LEASES = "cache"
LOG = "cache-log"


class CacheBug(NamedTuple):
    sentence: str
    plant: Plant
    topology: str


BUGS: list[CacheBug] = []


def bug(topology: str) -> Callable[[Plant], Plant]:
    """List the function under its docstring."""
    return listed(BUGS, CacheBug, topology)


# --- who may fill --------------------------------------------------------------------------------


@bug(LEASES)
def _token_not_voided(swap: Swap) -> None:
    """a delete does not void the token of who fetches the key"""
    swap.setattr(desk.Desk, "void", lambda self, key: None)


@bug(LEASES)
def _any_token(swap: Swap) -> None:
    """a fill needs a token, but any will do"""
    swap.setattr(desk.Desk, "redeem", lambda self, key, token: True)


@bug(LEASES)
def _void_token_kept(swap: Swap) -> None:
    """a fill whose token is void is taken, if the key is not there"""
    sound = desk.Desk.redeem

    def redeem(self: Any, key: str, token: int) -> bool:
        return sound(self, key, token) or key not in self.store

    swap.setattr(desk.Desk, "redeem", redeem)


@bug(LEASES)
def _same_flight(swap: Swap) -> None:
    """a reader takes what another's fetch brings that began before a delete"""
    sound = client.CacheClient.fetch

    async def fetch(self: Any, key: str, load: Any, **options: Any) -> Any:
        flights = self.__dict__.setdefault("shared", Flights())
        found, _ = await flights.run(key, lambda: sound(self, key, load, **options))
        return found

    swap.setattr(client.CacheClient, "fetch", fetch)


@bug(LEASES)
def _early_without_token(swap: Swap) -> None:
    """who fetches a value anew before its time is over sets it without a token"""
    sound = client.CacheClient._refresh_soon

    def refresh_soon(self: Any, members: Any, fill: Any, token: int, lsn: int) -> None:
        sound(self, members, fill, None, lsn)  # type: ignore[arg-type]

    swap.setattr(client.CacheClient, "_refresh_soon", refresh_soon)
    swap.setattr(store.CacheStore, "is_early", lambda self, entry, now_s: bool(entry.took_s))


@bug(LEASES)
def _old_fill(swap: Swap) -> None:
    """who fills is not told how new its read of a replica must be"""
    sound = desk.Desk.made_old

    def made_old(self: Any, keys: Sequence[str], lsn: int) -> int:
        return sound(self, keys, 1)

    swap.setattr(desk.Desk, "made_old", made_old)


# --- deletes -------------------------------------------------------------------------------------


@bug(LEASES)
def _value_kept(swap: Swap) -> None:
    """a delete voids the token, and leaves the value"""
    swap.setattr(store.CacheStore, "delete", lambda self, key, now_s: False)


@bug(LEASES)
def _gutter_not_told(swap: Swap) -> None:
    """what was made old is deleted at its owner alone, not in the gutter"""

    async def delete(self: Any, *keys: str, lsn: int = 0) -> bool:
        return await self._main.delete(list(keys), lsn)

    swap.setattr(client.CacheClient, "delete", delete)


@bug(LEASES)
def _suspect_not_told(swap: Swap) -> None:
    """a node that does not answer its reader just now is not told of deletes"""
    sound = members.CacheMembers._delete_at

    async def delete_at(
        self: Any, member: Any, keys: list[str], lsn: int, done: list[bool]
    ) -> None:
        if member.suspect:
            done.append(True)
        else:
            await sound(self, member, keys, lsn, done)

    swap.setattr(members.CacheMembers, "_delete_at", delete_at)


@bug(LEASES)
def _lost_delete_counted(swap: Swap) -> None:
    """a delete that nobody answered counts as done"""
    sound = members.CacheMembers._delete_at

    async def delete_at(
        self: Any, member: Any, keys: list[str], lsn: int, done: list[bool]
    ) -> None:
        before = len(done)
        await sound(self, member, keys, lsn, done)
        if len(done) == before:
            done.append(True)

    swap.setattr(members.CacheMembers, "_delete_at", delete_at)


@bug(LEASES)
def _keys_move(swap: Swap) -> None:
    """the keys of a node that is down are shared out among the others"""

    sound = members.CacheMembers.owner

    def owner(self: Any, key: str) -> Any:
        whole = self._ring
        away = [name for name, each in self._members.items() if each.suspect]
        there = [name for name in whole.names if name not in away] if whole is not None else []
        if there:
            self._ring = ring_of(there)
        try:
            return sound(self, key)
        finally:
            self._ring = whole

    swap.setattr(members.CacheMembers, "owner", owner)


# --- time ----------------------------------------------------------------------------------------


@bug(LEASES)
def _never_over(swap: Swap) -> None:
    """no value's time is ever over"""

    def get(self: Any, key: str, now_s: float) -> Any:
        entry = self._entries.get(key)
        return entry if entry is not None and entry.dead_s is None else None

    swap.setattr(store.CacheStore, "get", get)
    swap.setattr(store.CacheStore, "sweep", lambda self, now_s: 0)


@bug(LEASES)
def _renewed_by_reading(swap: Swap) -> None:
    """a value's time begins anew when it is read"""
    sound = store.CacheStore.get

    def get(self: Any, key: str, now_s: float) -> Any:
        entry = sound(self, key, now_s)
        if entry is not None:
            entry.expires_s = now_s + self.config.ttl_s
        return entry

    swap.setattr(store.CacheStore, "get", get)


@bug(LEASES)
def _by_wall_clock(swap: Swap) -> None:
    """times of values are counted by the wall clock"""
    sound = desk.Desk.__init__

    def init(self: Any, ctx: Any, config: Any) -> None:
        sound(self, ctx, config)
        self._now_s = ctx.clock.wall_s

    swap.setattr(desk.Desk, "__init__", init)
    swap.setattr(store.CacheStore, "sweep", lambda self, now_s: 0)


# --- the log -------------------------------------------------------------------------------------


@bug(LOG)
def _fresh_for_ever(swap: Swap) -> None:
    """a node that was away shows what it has before it hears what became old"""
    sound = follower.Follower._ask

    async def ask(self: Any) -> None:
        await sound(self)
        self.valid_until_s = float("inf")

    swap.setattr(follower.Follower, "_ask", ask)


@bug(LOG)
def _not_replayed(swap: Swap) -> None:
    """a node that was away goes on from where the log is now"""
    sound = follower.Follower._ask

    async def ask(self: Any) -> None:
        if not self.is_fresh(self._ctx.clock.monotonic_s()):
            self._epoch = None
        await sound(self)

    swap.setattr(follower.Follower, "_ask", ask)


@bug(LOG)
def _record_skipped(swap: Swap) -> None:
    """the first record after those that a node knows is not read"""
    sound = feed.old_keys_of

    def old_keys_of(entries: Sequence[Any]) -> Any:
        return sound(entries[1:])

    swap.setattr(feed, "old_keys_of", old_keys_of)


@bug(LOG)
def _row_without_token(swap: Swap) -> None:
    """a row that the cache fetched is kept, though its key was deleted meanwhile"""

    async def fill(self: Any, filling: Any, key: str, token: int, *place: Any) -> None:
        current_call.set(None)
        try:
            row = await self._fetch(*place)
        except RpcError:
            self._desk.drop(key, token)
            return
        self._desk.redeem(key, token)
        given = SetOptions(None, None, 0.0, row is None)
        self._desk.fill(key, row, size_of(row), given)

    swap.setattr(rows.RowReader, "_fill", fill)


@bug(LOG)
def _deaf_clients(swap: Swap) -> None:
    """the log is not followed at all, and nobody minds"""

    async def ask(self: Any) -> None:
        self.valid_until_s = float("inf")
        await self._ctx.clock.sleep(1.0)

    swap.setattr(follower.Follower, "_ask", ask)
