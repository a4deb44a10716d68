"""The asking side of a cache: look-aside with leases, a gutter for keys of dead nodes, and deletes
after a commit. Web servers use it, and an `app:` of your own as `services.cache`.

What the cache cannot answer, the caller's own `load` does: a cache that is away costs time, never
an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import trio

from nodes.base import Context
from nodes.cache.members import AWAY, CacheMembers
from nodes.parts.flights import Flights
from nodes.wire.answers import as_rpc_error, current_call, deadline_in, outlive_caller
from nodes.wire.directory import Directory
from protocols import cache as words
from protocols.errors import RpcError

WAIT_S: Final = 0.5
"""So long a reader waits for another's fill, before it asks the database itself."""
TIMEOUT_S: Final = 0.25
"""Beside that: a node that does not answer within this is taken for dead."""
READ_TIMEOUT_S: Final = 1.0
"""For a row that the cache itself fetches."""
LONG_S: Final = 60.0
"""What a reader has left whose caller named no limit."""
MAX_REFRESHES: Final = 32
"""Values that are fetched anew before their time is over, at a time."""

Load = Callable[[int], Awaitable[Any]]
"""`await load(lsn)`: the value as the database has it, None if it has none; what is read there must
include the write `lsn` (`token=lsn`; 0: any)."""


class _Fill(NamedTuple):
    """What a miss asks for."""

    key: str
    load: Load
    ttl_s: float | None
    absent: bool


class CacheClient:
    """Requests to a cache tier, and to its gutter while one of its nodes is away."""

    def __init__(
        self,
        ctx: Context,
        nursery: trio.Nursery,
        directory: Directory,
        tier: str,
        gutter: str = "",
        *,
        wait_s: float = WAIT_S,
    ) -> None:
        self.ctx = ctx
        self._nursery = nursery
        self._wait_s = wait_s
        self._main = CacheMembers(ctx, nursery, directory, tier)
        self._gutter = CacheMembers(ctx, nursery, directory, gutter) if gutter else None
        self._flights: Flights[Any] = Flights()
        self._refreshes = 0
        metrics = ctx.metrics
        self._loads = metrics.counter("cache_loads_total", "Values fetched from the database.")
        self._gutter_reads = metrics.counter(
            "cache_gutter_reads_total", "Reads of keys of dead cache nodes, asked of the gutter."
        )
        self._failures = metrics.counter(
            "cache_unanswered_total", "Reads that no cache node answered."
        )

    async def start(self) -> None:
        """Learn the nodes; later calls follow them."""
        await self._main.start()
        if self._gutter is not None:
            await self._gutter.start()

    # --- look-aside ------------------------------------------------------------------------

    async def fetch(
        self, key: str, load: Load, *, ttl_s: float | None = None, absent: bool = True
    ) -> Any:
        """The value from the cache, or from `load`, and then it is in the cache. Raises what `load`
        raises. `absent`: whether to remember, too, that there is nothing."""
        fill = _Fill(key, load, ttl_s, absent)
        try:
            members, found = await self._get(key)
        except RpcError:
            self._failures.value += 1
            return await self._load(load, 0)
        match found:
            case [words.HIT | words.STALE, value]:
                return value
            case [words.EARLY, value, token, lsn]:
                self._refresh_soon(members, fill, token, lsn)
                return value
            case [words.MISS, None, lsn]:
                fetched, _ = await self._flights.run(
                    key, lambda: self._fetch_and_set(members, fill, None, lsn)
                )
                return fetched
            case [words.MISS, token, lsn] if token:
                return await self._fetch_and_set(members, fill, token, lsn)
            case [words.MISS, _, lsn]:
                return await self._load(load, lsn)
        return await self._load(load, 0)

    async def _get(self, key: str) -> tuple[CacheMembers, list[Any]]:
        """Who answered, and what. Raises RpcError."""
        clock = self.ctx.clock
        left_s = deadline_in(clock, LONG_S) - clock.monotonic_s()
        wait_s = max(0.0, min(self._wait_s, left_s / 2))  # the rest is for asking the database
        options = {"wait_ms": int(wait_s * 1000)}
        timeout_s = wait_s + TIMEOUT_S
        try:
            found = await self._main.ask(key, words.GET, key, options, timeout_s=timeout_s)
            return self._main, found
        except RpcError as error:
            if self._gutter is None or error.code not in AWAY:
                raise
        self._gutter_reads.value += 1
        found = await self._gutter.ask(key, words.GET, key, options, timeout_s=timeout_s)
        return self._gutter, found

    async def _load(self, load: Load, lsn: int) -> Any:
        self._loads.value += 1
        return await load(lsn)

    async def _fetch_and_set(
        self, members: CacheMembers, fill: _Fill, token: int | None, lsn: int
    ) -> Any:
        """Whatever ends this early gives the token back."""
        clock = self.ctx.clock
        began_s = clock.monotonic_s()
        held = token
        try:
            value = await self._load(fill.load, lsn)
            if value is not None or fill.absent:
                held = None
        finally:
            if held:
                members.notify(fill.key, words.RELEASE, fill.key, held)
        if value is None and not fill.absent:
            return None
        options: dict[str, Any] = {"took_ms": int((clock.monotonic_s() - began_s) * 1000)}
        if token is not None:
            options["token"] = token
        if fill.ttl_s is not None:
            options["ttl_ms"] = int(fill.ttl_s * 1000)
        if value is None:
            options["absent"] = True
        try:
            await members.ask(fill.key, words.SET, fill.key, value, options, timeout_s=TIMEOUT_S)
        except RpcError as error:
            self.ctx.log.debug("cache not filled", why=str(error))
            if token:  # what cannot be kept must not keep others waiting
                members.notify(fill.key, words.RELEASE, fill.key, token)
        return value

    def _refresh_soon(self, members: CacheMembers, fill: _Fill, token: int, lsn: int) -> None:
        if self._refreshes >= MAX_REFRESHES:
            members.notify(fill.key, words.RELEASE, fill.key, token)
            return
        self._refreshes += 1
        self._nursery.start_soon(self._refresh, members, fill, token, lsn)

    async def _refresh(self, members: CacheMembers, fill: _Fill, token: int, lsn: int) -> None:
        current_call.set(None)  # its reader has its answer
        try:
            await self._fetch_and_set(members, fill, token, lsn)
        except Exception as problem:  # of an app's own loader: nobody waits for it
            why = as_rpc_error(self.ctx, problem, route="refresh")
            self.ctx.log.debug("cache not filled", why=str(why))
        finally:
            self._refreshes -= 1

    # --- plain words -----------------------------------------------------------------------

    async def get(self, key: str) -> Any:
        """The value, or None. (Nobody is asked to fill it.) Raises RpcError."""
        members, found = await self._get(key)
        match found:
            case [words.MISS, token, _] if token:
                members.notify(key, words.RELEASE, key, token)
            case [words.EARLY, value, token, _]:
                members.notify(key, words.RELEASE, key, token)
                return value
            case [words.HIT | words.STALE, value]:
                return value
        return None

    async def set(self, key: str, value: Any, *, ttl_s: float | None = None) -> bool:
        """Keep it: no copy of anything, so nobody's token is needed. Raises RpcError."""
        options = {"ttl_ms": int(ttl_s * 1000)} if ttl_s is not None else {}
        return await self._done(lambda: self._set(key, value, options))

    async def _set(self, key: str, value: Any, options: dict[str, Any]) -> bool:
        given = (key, value, options)
        try:
            return bool(await self._main.ask(key, words.SET, *given, timeout_s=TIMEOUT_S))
        except RpcError as error:
            if self._gutter is None or error.code not in AWAY:
                raise
            self._main.set_elsewhere(key, str(error))
        return bool(await self._gutter.ask(key, words.SET, *given, timeout_s=TIMEOUT_S))

    async def read(self, key: str) -> Any:
        """A row through the cache, which fills it itself (`rows`). Raises RpcError."""
        timeout_s = READ_TIMEOUT_S
        try:
            return await self._main.ask(key, words.READ, key, timeout_s=timeout_s)
        except RpcError as error:
            if self._gutter is None or error.code not in AWAY:
                raise
        return await self._gutter.ask(key, words.READ, key, timeout_s=timeout_s)

    async def promised(self) -> tuple[float, bool]:
        """How old a value may be at most, seconds; and whether what was deleted before a read began
        never shows. Raises RpcError."""
        tiers = [self._main] if self._gutter is None else [self._main, self._gutter]
        told = [await each.ask("any", words.STATS, timeout_s=TIMEOUT_S) for each in tiers]
        return max(each["max_age_s"] for each in told), all(each["is_strict"] for each in told)

    async def delete(self, *keys: str, lsn: int = 0) -> bool:
        """They were made old by the commit `lsn`: say so to their owners, and to who stands in for
        them. Whether all have heard it; whoever has not, hears it of the database's log."""
        return await self._done(lambda: self._delete(list(keys), lsn))

    async def _delete(self, keys: list[str], lsn: int) -> bool:
        if self._gutter is None:
            return await self._main.delete(keys, lsn)
        done: list[bool] = []

        async def at(members: CacheMembers) -> None:
            done.append(await members.delete(keys, lsn))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(at, self._main)
            nursery.start_soon(at, self._gutter)
        return all(done)

    async def _done(self, change: Callable[[], Awaitable[bool]]) -> bool:
        """What is in the cache is old by now: it is told so though our caller leaves meanwhile, or
        has no time left. Raises RpcError."""
        outcome: list[bool | RpcError] = []
        ended = trio.Event()

        async def run() -> None:
            outlive_caller()
            try:
                outcome.append(await change())
            except RpcError as error:
                outcome.append(error)
            ended.set()

        self._nursery.start_soon(run)
        await ended.wait()
        if isinstance(outcome[0], RpcError):
            raise outcome[0]
        return outcome[0]
