"""Questions that many shards have a part in: mget, find, scan, each with a deadline per shard.

The fan-out is bounded, and an answer says whether it is whole. Nothing here is atomic across
slots: who wants that is refused with `crossslot` elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trio

from nodes.kv_client import DEFAULT_TIMEOUT_S, KvClient
from nodes.parts.kv_arguments import key_slot, parse_cursor
from protocols import kv as words
from protocols.errors import RpcError

MAX_FAN_OUT: Final = 16
"""Shards asked at the same time by one question."""
MAX_RESPLITS: Final = 8
"""How often keys are sorted again because slots moved meanwhile."""


class Scatter:
    """Many-shard questions over one client."""

    def __init__(self, client: KvClient) -> None:
        self.client = client

    async def mget(
        self, keys: Sequence[str], *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> dict[str, Any]:
        """{"values": in the keys' order, "missing": keys whose shard did not answer in time,
        "shards": how many were asked}. Raises RpcError for bad keys."""
        slots = {key: key_slot(key) for key in keys}
        deadline_s = self.client.deadline_s(timeout_s)
        found: dict[str, Any] = {}
        asked: dict[str, None] = {}
        limiter = trio.CapacityLimiter(MAX_FAN_OUT)
        for _ in range(MAX_RESPLITS):
            parts: dict[str, list[str]] = {}
            slot_map = await self.client.known_map(deadline_s)
            for key, slot in slots.items():
                if key not in found:
                    parts.setdefault(slot_map.owners[slot], []).append(key)
            if not parts or self.client.ctx.clock.monotonic_s() >= deadline_s:
                break
            asked |= dict.fromkeys(parts)
            async with trio.open_nursery() as nursery:
                for shard, part in parts.items():
                    nursery.start_soon(
                        self._mget_part, shard, part, slots, deadline_s, limiter, found
                    )
        return {
            "values": [found.get(key) for key in keys],
            "missing": [key for key in slots if key not in found],
            "shards": len(asked),
        }

    async def _mget_part(
        self,
        shard: str,
        keys: list[str],
        slots: dict[str, int],
        deadline_s: float,
        limiter: trio.CapacityLimiter,
        found: dict[str, Any],
    ) -> None:
        """Those of one shard; what has moved away meanwhile stays unfound for another round."""
        client = self.client
        async with limiter:
            for at in range(0, len(keys), words.MAX_KEYS):
                some = keys[at : at + words.MAX_KEYS]
                left_s = max(deadline_s - client.ctx.clock.monotonic_s(), 0.001)
                try:
                    values = await client.groups.of(shard).ask(words.MGET, some, timeout_s=left_s)
                    found.update(zip(some, values, strict=True))
                except RpcError as error:
                    client.ctx.log.debug("mget part failed", shard=shard, why=str(error))
                    if error.code == "moved":
                        await client.look_again()
                    elif error.code == "ask":
                        await self._one_by_one(some, slots, deadline_s, found)

    async def _one_by_one(
        self, keys: list[str], slots: dict[str, int], deadline_s: float, found: dict[str, Any]
    ) -> None:
        for key in keys:
            left_s = deadline_s - self.client.ctx.clock.monotonic_s()
            if left_s <= 0:
                return
            try:
                found[key] = await self.client.call_slot(slots[key], words.GET, [key], left_s)
            except RpcError:
                return

    async def scan(
        self, cursor: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S, **options: Any
    ) -> dict[str, Any]:
        """One page: {"keys", "cursor"}; the cursor is good for any shard at any time."""
        slot, _ = parse_cursor(cursor)
        page = await self.client.call_slot(slot, words.SCAN, [cursor or "0:", options], timeout_s)
        return dict(page)

    async def find(
        self, value: Any, *, limit: int = 100, after: str = "", timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> dict[str, Any]:
        """{"keys": the first `limit` in order, "more", "missing": shards that did not answer}."""
        deadline_s = self.client.deadline_s(timeout_s)
        slot_map = await self.client.known_map(deadline_s)
        limiter = trio.CapacityLimiter(MAX_FAN_OUT)
        keys: dict[str, None] = {}
        state = {"more": False}
        missing: list[str] = []

        async def ask(shard: str) -> None:
            async with limiter:
                left_s = deadline_s - self.client.ctx.clock.monotonic_s()
                options = {"limit": limit, "after": after}
                try:
                    answer = await self.client.groups.of(shard).ask(
                        words.FIND, value, options, timeout_s=max(left_s, 0.001)
                    )
                except RpcError as error:
                    if error.code in ("bad_request", "refused"):
                        raise
                    missing.append(shard)
                    return
            keys.update(dict.fromkeys(answer["keys"]))
            state["more"] = state["more"] or answer["more"]

        await _all(ask, [each for each in slot_map.shards if each in slot_map.owners])
        ordered = sorted(keys)
        return {
            "keys": ordered[:limit],
            "more": state["more"] or len(ordered) > limit,
            "missing": sorted(missing),
        }


async def _all(ask: Any, names: Sequence[str]) -> None:
    """`ask(name)` of all at once; the first refusal is raised as it is."""
    refusals: list[RpcError] = []

    async def one(name: str) -> None:
        try:
            await ask(name)
        except RpcError as error:
            refusals.append(error)

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(one, name)
    if refusals:
        raise refusals[0]
