"""The asking side of a kv tier: caches the slot map, follows MOVED and ASK, retries by request id.

Whoever names a kv tier in its edges uses this; the router is this behind a listener.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from nodes.base import Context
from nodes.kv.arguments import check_one_slot, key_slot
from nodes.parts.lives import life_name
from nodes.parts.timing import move_on_after
from nodes.replica.client import ELSEWHERE, LEAST_LEFT_S, GroupClients, earlier
from nodes.wire.answers import deadline_in
from nodes.wire.directory import Directory
from protocols.errors import RpcError
from protocols.hashing.slots import SLOTS
from protocols.kv import coordinator as map_words
from protocols.kv import words
from protocols.kv.coordinator import SlotMap, coordinator_tier

DEFAULT_TIMEOUT_S: Final = 5.0
PAUSE_S: Final = 0.01
MAP_WAIT_MS: Final = 200
MAP_TIMEOUT_S: Final = 1.0
TRY_S: Final = 1.0
"""After so long without an answer of a slot's owner the map is looked at again."""
ASK_S: Final = 2.5
"""How long one query waits where an `ask` sent it, before it goes back to the source."""
FREE_HOPS: Final = 3
"""Redirects that are followed at once; further ones after a pause each."""
MOVED: Final = "moved"
ASK: Final = "ask"
STALE: Final = "stale_epoch"


class KvClient:
    """Commands on a kv tier. Every write gets a request id, so that it happens at most once.

    `max_lag_s`: reads of single keys may be answered by replicas that are so far behind.
    """

    def __init__(
        self,
        ctx: Context,
        nursery: trio.Nursery,
        directory: Directory,
        group: str,
        *,
        max_lag_s: float = 0.0,
    ) -> None:
        self.ctx = ctx
        self.group = group
        self.map: SlotMap | None = None
        self._directory = directory
        self._max_lag_ms = int(max_lag_s * 1000)
        self.groups = GroupClients(ctx, nursery, directory)
        self._coordinators = self.groups.of(coordinator_tier(group))
        self.rng = ctx.rng(f"kv-client/{group}")
        self._run_id = life_name(ctx)
        self._next_request = 0
        self._refreshing: trio.Event | None = None
        metrics = ctx.metrics
        self.redirects = {
            kind: metrics.counter("redirects_total", "Redirects followed, by type.", type=kind)
            for kind in (MOVED, ASK, STALE)
        }
        self._refreshed = metrics.counter("map_refreshes_total", "Slot maps fetched.")

    @property
    def reads_replicas(self) -> bool:
        return self._max_lag_ms > 0

    # --- the map -------------------------------------------------------------------------

    async def refresh(self, min_version: int, timeout_s: float = MAP_TIMEOUT_S) -> None:
        """Fetch the whole map, once for all who want it just now: whoever finds another's fetch
        under way takes what that brings, and looks at the map again. Raises RpcError."""
        if self.map is not None and self.map.version >= min_version:
            return
        if self._refreshing is not None:
            with move_on_after(self.ctx.clock, timeout_s):
                await self._refreshing.wait()
            return
        self._refreshing = trio.Event()
        try:
            fresh = await self._fetch(min_version, timeout_s)
        except ValueError as error:
            raise RpcError("unavailable", f"the map of {self.group}: {error}") from error
        finally:
            done, self._refreshing = self._refreshing, None
            done.set()
        self._refreshed.value += 1
        if self.map is None or fresh.version > self.map.version:
            self.map = fresh

    async def _fetch(self, min_version: int, timeout_s: float) -> SlotMap:
        view = await self._directory.follow(self.group)
        if any(each.tier == self.group for each in view.members):
            return SlotMap(1, (self.group,), (self.group,) * SLOTS, (1,) * SLOTS)  # one shard alone
        answer = await self._coordinators.ask(
            map_words.MAP, min_version, MAP_WAIT_MS, timeout_s=timeout_s, anywhere=True
        )
        return SlotMap.from_wire(answer)

    async def look_again(self, timeout_s: float = MAP_TIMEOUT_S) -> None:
        """Something was not where the map says: fetch a later one, if there is one."""
        known = self.map.version if self.map is not None else 0
        try:
            await self.refresh(known + 1, min(MAP_TIMEOUT_S, timeout_s))
        except RpcError as error:
            self.ctx.log.debug("map not refreshed", why=str(error))

    async def known_map(self, deadline_s: float) -> SlotMap:
        """The map, fetched if need be. Raises RpcError when it cannot be had in time."""
        while self.map is None:
            left_s = deadline_s - self.ctx.clock.monotonic_s()
            if left_s <= LEAST_LEFT_S:
                raise RpcError("unavailable", f"no slot map of {self.group} could be had")
            try:
                await self.refresh(1, min(MAP_TIMEOUT_S, left_s))
            except RpcError as error:
                if error.code not in ELSEWHERE:
                    raise
                await self.ctx.clock.sleep(PAUSE_S)
        return self.map

    # --- one command ---------------------------------------------------------------------

    async def call(self, command: str, *params: Any, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        """Ask the owner of the keys' slot, wherever that goes. Raises RpcError."""
        keys = words.routing_keys(command, list(params))
        if not keys:
            raise RpcError("bad_request", f"{command} needs a key")
        if len(keys) > 1:
            check_one_slot(keys)
        plain = list(params)
        if command in words.WRITES:
            plain = words.with_request_id(command, plain, self._new_id())
        elif command == words.GET and self._max_lag_ms and len(plain) == 1:
            plain.append({"max_lag_ms": self._max_lag_ms})
        return await self.call_slot(key_slot(keys[0]), command, plain, timeout_s)

    def _new_id(self) -> str:
        self._next_request += 1
        return f"{self._run_id}-{self._next_request}"

    async def call_slot(self, slot: int, command: str, params: list[Any], timeout_s: float) -> Any:
        """The command at the owner of `slot`. Raises RpcError: an indefinite one if any attempt
        may have taken effect."""
        route = _Route(self, slot, command, params, deadline_in(self.ctx.clock, timeout_s))
        return await route.run()

    async def get(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        """The value, or None."""
        return await self.call(words.GET, key, timeout_s=timeout_s)

    async def set(
        self, key: str, value: Any, *, timeout_s: float = DEFAULT_TIMEOUT_S, **options: Any
    ) -> bool:
        """`options` as in protocols/kv/words.py, but `if_` for `if`."""
        if "if_" in options:
            options["if"] = options.pop("if_")
        return bool(await self.call(words.SET, key, value, options, timeout_s=timeout_s))


class _Route:
    """One command on its way to the owner of its slot."""

    def __init__(
        self, client: KvClient, slot: int, command: str, params: list[Any], deadline_s: float
    ) -> None:
        self._client = client
        self._slot = slot
        self._command = command
        self._params = params
        self._deadline_s = deadline_s
        self._unknown: RpcError | None = None
        """An attempt whose outcome nobody knows."""
        self._hint = ""
        """The owner that a redirect named, where the map does not say so yet."""
        self._asked = ""
        """Where an `ask` sent this one query."""
        self._last: RpcError | None = None
        self._anywhere = client.reads_replicas and command == words.GET
        self._hops = 0

    async def run(self) -> Any:
        client = self._client
        while True:
            slot_map = await client.known_map(self._deadline_s)
            if self._deadline_s - client.ctx.clock.monotonic_s() <= LEAST_LEFT_S:
                raise self._late()
            asked, hint, self._asked, self._hint = self._asked, self._hint, "", ""
            shard = asked or hint or slot_map.owners[self._slot]
            try:
                if asked:
                    return await self._ask(asked, ASK_S, words.ASKING, self._command, *self._params)
                epoch = None if hint else slot_map.epochs[self._slot]
                return await self._ask(shard, TRY_S, self._command, *self._params, epoch=epoch)
            except RpcError as error:
                self._last = error
                cause = earlier(error)
                if not cause.definite:
                    self._unknown = cause
                if error.code not in client.redirects and error.code not in ELSEWHERE:
                    raise self._final(error) from error
                await self._follow(error, shard, slot_map)

    async def _ask(
        self, shard: str, most_s: float, command: str, *params: Any, epoch: int | None = None
    ) -> Any:
        left_s = self._deadline_s - self._client.ctx.clock.monotonic_s()
        group = self._client.groups.of(shard)
        timeout_s = max(min(left_s, most_s), LEAST_LEFT_S)
        return await group.ask(
            command,
            *params,
            timeout_s=timeout_s,
            epoch=epoch,
            anywhere=self._anywhere,
            patient=False,
        )

    def _late(self) -> RpcError:
        if self._unknown is not None:
            return self._unknown
        why = f"; last: {self._last}" if self._last is not None else ""
        return RpcError(
            "unavailable", f"{self._command}: slot {self._slot} not served in time{why}"
        )

    def _final(self, error: RpcError) -> RpcError:
        """A refusal is final, but it does not say what became of an attempt before it."""
        if self._unknown is None or not error.definite:
            return error
        return RpcError("unknown_outcome", f"{self._unknown}; then {error}")

    async def _follow(self, error: RpcError, shard: str, slot_map: SlotMap) -> None:
        """Go where the redirect says; not in circles without a pause."""
        client = self._client
        if error.code in client.redirects:
            client.redirects[error.code].value += 1
        self._hops += 1
        match error.code, error.details:
            case "ask", [int(), str(target), *_]:
                self._asked = target
            case "moved", [int(), str(owner), int(version), *_]:
                if version > slot_map.version:
                    await self._refresh(version)
                elif owner and owner != shard and self._hops <= FREE_HOPS:
                    self._hint = owner
                else:
                    await self._refresh(slot_map.version + 1)
            case code, _ if code in ELSEWHERE:  # its nodes may be gone for good
                await self._refresh(slot_map.version + 1)
        if self._hops > FREE_HOPS or error.code == STALE or not error.details:
            await client.ctx.clock.sleep(PAUSE_S * (0.5 + client.rng.random()))

    async def _refresh(self, version: int) -> None:
        left_s = self._deadline_s - self._client.ctx.clock.monotonic_s()
        try:
            await self._client.refresh(version, min(MAP_TIMEOUT_S, max(left_s, LEAST_LEFT_S)))
        except RpcError as error:
            self._client.ctx.log.debug("map not refreshed", why=str(error))
