"""Questions that many shards have a part in: mget, find, scan and join, each shard with a deadline.

The fan-out is bounded, and an answer says whether it is whole and what it cost. Nothing here is
atomic across slots: who asks for that is refused with `crossslot`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nodes.kv.arguments import check_one_slot, key_slot, parse_cursor
from nodes.kv.client import DEFAULT_TIMEOUT_S, KvClient
from nodes.kv.fanout import FanOut, FanOutSeries, take_off
from nodes.kv.join import JoinQuery
from nodes.kv.joining import Joining
from protocols.hashing.partitioning import ranges_to_wire, to_ranges
from protocols.hashing.slots import SLOTS
from protocols.kv import words


class Scatter:
    """Many-shard questions over one client.

    `shard_timeout_s` bounds each request to a shard; `partial`: what some shard did not answer is
    left out, and said, else it is an error.
    """

    def __init__(self, client: KvClient) -> None:
        self.client = client
        self._series = FanOutSeries(client.ctx)
        for command in (words.MGET, words.FIND, words.JOIN):
            self._series.of(command)

    def begin(
        self,
        command: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        shard_timeout_s: float | None = None,
    ) -> FanOut:
        """A question that may take several rounds, counted as one `command`."""
        return FanOut(
            self.client,
            self._series,
            command,
            timeout_s=timeout_s,
            shard_timeout_s=shard_timeout_s,
        )

    # --- mget ----------------------------------------------------------------------------

    async def mget(
        self,
        keys: Sequence[str],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        shard_timeout_s: float | None = None,
        partial: bool = False,
    ) -> dict[str, Any]:
        """{"values": in the keys' order, "missing": keys that could not be read, and what
        FanOut.finish says}. Raises RpcError."""
        fan_out = self.begin(words.MGET, timeout_s, shard_timeout_s)
        found = await gather(fan_out, keys)
        said = fan_out.finish(partial=partial)
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        return {"values": [found.get(key) for key in keys], "missing": missing, **said}

    async def mget_atomic(self, keys: Sequence[str], timeout_s: float) -> list[Any]:
        """All as of one moment, at one shard. Raises RpcError, `crossslot` if that cannot be."""
        check_one_slot(list(keys))
        options = {"atomic": True}
        return list(await self.client.call(words.MGET, list(keys), options, timeout_s=timeout_s))

    # --- looking for keys ----------------------------------------------------------------

    async def scan(
        self,
        cursor: Any = "",
        options: dict[str, Any] | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> dict[str, Any]:
        """One page: {"keys", "cursor"}; the cursor is good for any shard at any time."""
        slot, _ = parse_cursor(cursor)
        params = [cursor or "0:", options or {}]
        return dict(await self.client.call_slot(slot, words.SCAN, params, timeout_s))

    async def find(
        self,
        value: Any,
        *,
        limit: int = 100,
        after: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        shard_timeout_s: float | None = None,
        partial: bool = False,
    ) -> dict[str, Any]:
        """{"keys": the first `limit` in order, "more", and what FanOut.finish says}."""
        fan_out = self.begin(words.FIND, timeout_s, shard_timeout_s)
        keys: dict[str, None] = {}
        more = False
        left = dict.fromkeys(range(SLOTS))

        async def ask(shard: str, slots: list[int]) -> None:
            nonlocal more
            wanted = ranges_to_wire(to_ranges(slots))
            options = {"limit": limit, "after": after, "slots": wanted}
            answer = await fan_out.ask(shard, words.FIND, value, options)
            if answer is not None:
                keys.update(dict.fromkeys(answer["keys"]))
                more = more or answer["more"]
                take_off(left, slots, answer["skipped"])

        await fan_out.share_out(left, ask)
        fan_out.cost.keys += len(keys)
        for key in keys:
            fan_out.cost.add(key, None)
        said = fan_out.finish(partial=partial)
        ordered = sorted(keys)
        return {"keys": ordered[:limit], "more": more or len(ordered) > limit, **said}

    async def join(
        self,
        query: JoinQuery,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        shard_timeout_s: float | None = None,
        partial: bool = False,
    ) -> dict[str, Any]:
        """{"rows", "more", "missing": right keys that could not be read, and what FanOut.finish
        says}. Raises RpcError."""
        fan_out = self.begin(words.JOIN, timeout_s, shard_timeout_s)
        answer = await self.join_in(fan_out, query)
        return {**answer, **fan_out.finish(partial=partial)}

    async def join_in(self, fan_out: FanOut, query: JoinQuery) -> dict[str, Any]:
        """The same as a part of a larger question."""
        joining = Joining(fan_out, query)
        await joining.gather_left()
        looked_up = await gather(fan_out, joining.open_references())
        joining.right.update(looked_up)
        return joining.answer()


async def gather(fan_out: FanOut, keys: Sequence[str]) -> dict[str, Any]:
    """Key → value of all that could be read in time. Raises RpcError for bad keys."""
    by_slot: dict[int, dict[str, None]] = {}
    for key in keys:
        by_slot.setdefault(key_slot(key), {})[key] = None
    found: dict[str, Any] = {}
    left = dict.fromkeys(by_slot)

    async def ask(shard: str, slots: list[int]) -> None:
        part = [key for slot in slots for key in by_slot[slot] if key not in found]
        for at in range(0, len(part), words.MAX_KEYS):
            some = part[at : at + words.MAX_KEYS]
            values = await fan_out.ask(shard, words.MGET, some)
            if values is None:
                return
            fan_out.cost.keys += len(some)
            for key, value in zip(some, values, strict=True):
                found[key] = value
                fan_out.cost.add(key, value)
        take_off(left, slots)

    await fan_out.share_out(left, ask)
    return found
