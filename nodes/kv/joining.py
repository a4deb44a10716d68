"""A join over the shards: each gives the rows that it has, and what lies elsewhere is looked up.

Where a hash tag keeps left and right together, one request of one shard is all it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from nodes.kv.arguments import key_slot, parse_cursor
from nodes.kv.fanout import FanOut, take_off
from nodes.kv.join import JoinQuery
from protocols.hashing.partitioning import ranges_to_wire, to_ranges
from protocols.hashing.slots import SLOTS
from protocols.kv import words

MAX_PAGES: Final = 10_000
"""Of one shard for one join."""


class Joining:
    """The left side's rows as they come in, and the right side's values so far."""

    def __init__(self, fan_out: FanOut, query: JoinQuery) -> None:
        self.fan_out = fan_out
        self.query = query
        self.right: dict[str, Any] = {}
        self._rows: dict[str, tuple[Any, str | None]] = {}
        """Left key → (value, right key)"""
        self._more = False
        self._options = {"limit": query.limit, "atomic": query.atomic}
        self._to = {"to": query.to, "on": ".".join(query.on)} if query.on else {"to": query.to}

    # --- the left side -------------------------------------------------------------------

    async def gather_left(self) -> None:
        """Ask every shard that has a part of it. Raises RpcError."""
        query = self.query
        if query.atomic:
            await self._at_one_shard()
        elif query.find is not None:
            left = dict.fromkeys(range(SLOTS))
            await self.fan_out.share_out(left, partial(self._find, left))
        else:
            tagged = query.routing_keys()
            slots = [key_slot(tagged[0])] if tagged else range(SLOTS)
            left = dict.fromkeys(map(key_slot, query.keys) if query.keys else slots)
            await self.fan_out.share_out(left, partial(self._pages, left), lambda: self._enough)

    async def _at_one_shard(self) -> None:
        """All of it as of one moment."""
        fan_out = self.fan_out
        began_s = fan_out.clock.monotonic_s()
        params = [self.query.left, self._to, self._options]
        left_s = fan_out.deadline_s - began_s
        page = await fan_out.client.call(words.JOIN, *params, timeout_s=left_s)
        known = fan_out.client.map
        slot = key_slot(self.query.routing_keys()[0])
        shard = known.owners[slot] if known is not None else ""
        fan_out.cost.requests += 1
        fan_out.cost.seconds[shard] = fan_out.clock.monotonic_s() - began_s
        self._take(page)
        self._more = page["more"]

    async def _pages(self, left: dict[int, None], shard: str, slots: list[int]) -> None:
        """Page by page through one shard's slots; what it had is taken off `left`."""
        after = ""
        for _ in range(MAX_PAGES):
            options = {**self._options, "after": after}
            side = self.query.left
            if self.query.keys:
                wanted = dict.fromkeys(slots)
                keys = [key for key in self.query.keys if key_slot(key) in wanted]
                side = {"keys": [key for key in keys if key not in self._rows][: words.MAX_KEYS]}
            else:
                options["slots"] = ranges_to_wire(to_ranges(slots))
            page = await self.fan_out.ask(shard, words.JOIN, side, self._to, options)
            if page is None:
                return
            self._take(page)
            after = page["next"]
            if not after:
                take_off(left, slots, page["skipped"])
                return
            self._more = self._more or (page["more"] and len(self._rows) >= self.query.limit)
            if self._enough:
                return
            if not self.query.keys:  # the next page begins where this one ended
                at, _ = parse_cursor(after)
                take_off(left, [slot for slot in slots if slot < at], page["skipped"])
                slots = [slot for slot in slots if slot >= at]

    async def _find(self, left: dict[int, None], shard: str, slots: list[int]) -> None:
        options = {**self._options, "slots": ranges_to_wire(to_ranges(slots))}
        page = await self.fan_out.ask(shard, words.JOIN, self.query.left, self._to, options)
        if page is not None:
            self._take(page)
            self._more = self._more or page["more"]
            take_off(left, slots, page["skipped"])

    @property
    def _enough(self) -> bool:
        """There are more rows than are wanted: no need to look for others."""
        return self._more or len(self._rows) > self.query.limit

    def _take(self, page: dict[str, Any]) -> None:
        cost = self.fan_out.cost
        cost.keys += page["examined"]
        for key, value, reference in page["rows"]:
            self._rows[key] = (value, reference)
            cost.add(key, value)
        for key, value in page["right"].items():
            self.right[key] = value
            cost.add(key, value)

    # --- the right side ------------------------------------------------------------------

    def _kept(self) -> Sequence[str]:
        return sorted(self._rows)[: self.query.limit]

    def open_references(self) -> list[str]:
        """The right keys that no shard had beside the left ones."""
        wanted = dict.fromkeys(
            reference
            for key in self._kept()
            if (reference := self._rows[key][1]) is not None and reference not in self.right
        )
        return list(wanted)

    def answer(self) -> dict[str, Any]:
        """All that is known now."""
        kept = self._kept()
        rows = []
        missing: dict[str, None] = {}
        for key in kept:
            value, reference = self._rows[key]
            if reference is not None and reference not in self.right:
                missing[reference] = None
            rows.append([key, value, reference, self.right.get(reference) if reference else None])
        return {
            "rows": rows,
            "more": self._more or len(self._rows) > len(kept),
            "missing": list(missing),
        }
