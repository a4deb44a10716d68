"""The commands that look for keys on one shard: scan by prefix, find by index, and its part of a
join. Pure, by the rules of kv_keys.py; what many shards say together is nodes/kv_scatter.py's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import nsmallest
from typing import Any, Final

from nodes.parts.kv_arguments import (
    check_one_slot,
    checked_count,
    key_slot,
    only_options,
    params_of,
    parse_cursor,
)
from nodes.parts.kv_join import JoinQuery, Page
from nodes.parts.kv_keys import KvKeys
from nodes.parts.kv_state import size_of
from protocols.errors import RpcError
from protocols.partitioning import ranges_from_wire
from protocols.slots import SLOTS, slot_of

SCAN_EXAMINES: Final = 10_000
"""Keys looked at for one page, at most."""
PAGE_BYTES: Final = 256 * 1024
DEFAULT_COUNT: Final = 100


class KvScans(KvKeys):
    """Looking for keys in one state."""

    # --- by index ------------------------------------------------------------------------

    def find(self, params: list[Any], epoch: int | None = None) -> dict[str, Any]:
        """The keys here whose documents have that value in the indexed field."""
        value, options = params_of(params, 1)
        only_options(options, "limit", "after")
        limit = checked_count(options.get("limit", DEFAULT_COUNT))
        return self._find(value, limit, options.get("after", ""))

    def _find(self, value: Any, limit: int, after: Any) -> dict[str, Any]:
        if type(after) is not str:
            raise RpcError("bad_request", "`after` is the last key of the page before")
        if self.no_reads is not None:
            raise self.no_reads
        state = self.state
        if state.index is None:
            raise RpcError("refused", "this store has no index: give the tier `index: FIELD`")
        if type(value) in (dict, list, type(None)):
            raise RpcError("bad_request", "an index is asked for text, a number or a boolean")
        found = [key for key in state.index.find(value) if key > after and self._is_live(key)]
        page = nsmallest(limit + 1, found)
        return {"keys": page[:limit], "more": len(page) > limit}

    def _is_live(self, key: str) -> bool:
        slot = slot_of(key)
        data = self.state.serving[slot]
        if data is None:
            return False
        if key in self.state.expiry:
            self._drop_expired(slot, data, key)
        return key in data

    # --- by prefix -----------------------------------------------------------------------

    def scan(self, params: list[Any], epoch: int | None = None) -> dict[str, Any]:
        """One page, slot by slot and in key order within a slot, until a slot that is not here."""
        cursor, options = params_of(params, 1)
        only_options(options, "prefix", "count", "values")
        prefix, with_values = options.get("prefix", ""), bool(options.get("values"))
        if type(prefix) is not str:
            raise RpcError("bad_request", "`prefix` is text")
        count = checked_count(options.get("count", DEFAULT_COUNT))
        first, after = parse_cursor(cursor)
        self._may(first, None, self.no_reads)
        keys: list[str] = []
        values: list[Any] = []
        room_bytes, cursor = PAGE_BYTES, self._end_from(first)
        for examined, (slot, key, value) in enumerate(self.walk(first, after), 1):
            if key.startswith(prefix):
                keys.append(key)
                room_bytes -= len(key)
                if with_values:
                    values.append(value)
                    room_bytes -= size_of(value)
            if len(keys) >= count or room_bytes <= 0 or examined >= SCAN_EXAMINES:
                cursor = f"{slot}:{key}"
                break
        page: dict[str, Any] = {"keys": keys, "cursor": cursor}
        return {**page, "values": values} if with_values else page

    def _end_from(self, slot: int) -> str:
        """The cursor at the next slot that is not served here: a page of another shard's."""
        serving = self.state.serving
        while slot < SLOTS and serving[slot] is not None:
            slot += 1
        return f"{slot}:" if slot < SLOTS else ""

    def walk(self, slot: int, after: str) -> Iterator[tuple[int, str, Any]]:
        """(slot, key, value) from there to the first slot that is not served here."""
        while slot < SLOTS:
            data = self.state.serving[slot]
            if data is None:
                return
            if data:
                yield from self._walk_slot(slot, data, after)
            slot, after = slot + 1, ""

    def _walk_slot(
        self, slot: int, data: dict[str, Any], after: str
    ) -> Iterator[tuple[int, str, Any]]:
        state = self.state
        while True:
            keys = keys_after(data, after)
            for key in keys:
                if key in state.expiry:
                    self._drop_expired(slot, data, key)
                if key in data:
                    yield slot, key, data[key]
            if len(keys) < SCAN_EXAMINES:
                return
            after = keys[-1]

    # --- a join's part -------------------------------------------------------------------

    def join(self, params: list[Any], epoch: int | None = None) -> dict[str, Any]:
        """The rows whose left keys are here, with those of their right keys that are here too.

        For clients of one slot this is the whole join; a router asks shard by shard, for `slots`
        and from `after` on (see nodes/kv_join.py).
        """
        query, options = JoinQuery.of(params, "slots", "after")
        if self.no_reads is not None:
            raise self.no_reads
        page = Page(query, PAGE_BYTES)
        self._fill(page, options)
        for key in page.references:
            slot = key_slot(key)
            if query.atomic:
                check_one_slot([query.routing_keys()[0], key])
            data = self.state.serving[slot]
            if data is not None:
                self._drop_if_over(slot, data, key)
                page.join(key, data.get(key))
        return page.to_wire()

    def _fill(self, page: Page, options: dict[str, Any]) -> None:
        """Take the left side's rows until the page is full."""
        query = page.query
        if query.find is not None:
            found = self._find(query.find, query.limit, options.get("after", ""))
            page.more = found["more"]
            rows = self._of_keys(found["keys"], page)
        elif query.keys:
            rows = self._of_keys(query.keys, page)
        else:
            after_slot, after = parse_cursor(options.get("after", ""))
            rows = self._of_ranges(_wanted(query, options), after_slot, after, page)
        last = ""
        for slot, key, value in rows:
            page.examined += 1
            if key.startswith(query.prefix):
                if page.is_full:
                    page.next, page.more = last, True
                    return
                page.take(key, value)
            last = f"{slot}:{key}"
            if page.examined >= SCAN_EXAMINES:
                page.next = last
                return

    def _of_keys(self, keys: Sequence[str], page: Page) -> Iterator[tuple[int, str, Any]]:
        for key in keys:
            slot = key_slot(key)
            data = self.state.serving[slot]
            if data is None:
                page.skipped.append(slot)
                continue
            self._drop_if_over(slot, data, key)
            if key in data:
                yield slot, key, data[key]

    def _of_ranges(
        self, ranges: Sequence[tuple[int, int]], after_slot: int, after: str, page: Page
    ) -> Iterator[tuple[int, str, Any]]:
        for first, last in ranges:
            for slot in range(max(first, after_slot), last + 1):
                data = self.state.serving[slot]
                if data is None:
                    page.skipped.append(slot)
                elif data:
                    yield from self._walk_slot(slot, data, after if slot == after_slot else "")

    def _drop_if_over(self, slot: int, data: dict[str, Any], key: str) -> None:
        if key in self.state.expiry:
            self._drop_expired(slot, data, key)


def _wanted(query: JoinQuery, options: dict[str, Any]) -> list[tuple[int, int]]:
    """The slots to look through: those of the tag, those that were asked for, or all."""
    if query.routing_keys():
        slot = key_slot(query.prefix)
        return [(slot, slot)]
    try:
        return ranges_from_wire(options.get("slots", [[0, SLOTS - 1]]))
    except ValueError as error:
        raise RpcError("bad_request", str(error)) from error


def keys_after(data: dict[str, Any], after: str) -> list[str]:
    """The slot's keys beyond `after`, in order; a slot with very many gives a part of them."""
    keys = [key for key in data if key > after] if after else list(data)
    if len(keys) <= SCAN_EXAMINES:
        keys.sort()
        return keys
    return nsmallest(SCAN_EXAMINES, keys)
