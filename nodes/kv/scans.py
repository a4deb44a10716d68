"""The commands that look for keys on one shard: scan by prefix, find by index, and its part of a
join. Pure, by the rules of keys.py; what many shards say together is nodes/kv/scatter.py's.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from heapq import nsmallest
from typing import Any, Final

from nodes.kv.arguments import (
    check_one_slot,
    checked_count,
    key_slot,
    only_options,
    params_of,
    parse_cursor,
)
from nodes.kv.join import JoinQuery, Page
from nodes.kv.keys import KvKeys
from nodes.kv.state import size_of
from protocols.errors import RpcError
from protocols.hashing.partitioning import from_ranges, ranges_from_wire, ranges_to_wire, to_ranges
from protocols.hashing.slots import SLOTS, slot_of

SCAN_EXAMINES: Final = 10_000
"""Keys looked at for one page, at most."""
PAGE_BYTES: Final = 256 * 1024
DEFAULT_COUNT: Final = 100


class KvScans(KvKeys):
    """Looking for keys in one state."""

    # --- by index ------------------------------------------------------------------------

    def find(self, params: list[Any], epoch: int | None = None) -> dict[str, Any]:
        """The keys here whose documents have that value in the indexed field; where a router asks
        for `slots`, only theirs, and which of those are not here."""
        value, options = params_of(params, 1)
        only_options(options, "limit", "after", "slots")
        limit = checked_count(options.get("limit", DEFAULT_COUNT))
        if "slots" not in options:
            return self._find(value, limit, options.get("after", ""))
        slots = _asked_for(options)
        found = self._find(value, limit, options.get("after", ""), slots)
        return {**found, "skipped": ranges_to_wire(to_ranges(self._not_here(slots)))}

    def _not_here(self, slots: Iterable[int]) -> list[int]:
        serving = self.state.serving
        return [slot for slot in slots if serving[slot] is None]

    def _find(
        self, value: Any, limit: int, after: Any, slots: Container[int] | None = None
    ) -> dict[str, Any]:
        if type(after) is not str:
            raise RpcError("bad_request", "`after` is the last key of the page before")
        if self.no_reads is not None:
            raise self.no_reads
        state = self.state
        if state.index is None:
            raise RpcError("refused", "this store has no index: give the tier `index: FIELD`")
        if type(value) in (dict, list, type(None)):
            raise RpcError("bad_request", "an index is asked for text, a number or a boolean")
        found = [key for key in state.index.find(value)
                 if key > after and (slots is None or slot_of(key) in slots)
                 and self._is_live(key)]  # fmt: skip
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
        found = _Found(count, with_values)
        cursor = self._scan(found, first, after, prefix)
        page: dict[str, Any] = {"keys": found.keys, "cursor": cursor}
        return {**page, "values": found.values} if with_values else page

    def _scan(self, found: _Found, slot: int, after: str, prefix: str) -> str:
        """Fill the page; the cursor after it."""
        serving = self.state.serving
        examined = 0
        while slot < SLOTS:
            data = serving[slot]
            if data is None:
                return f"{slot}:"
            if data:
                keys, rest = self._matching(slot, data, after, prefix)
                last = found.add(keys, data)
                examined += len(data)
                if last or rest:
                    return f"{slot}:{last or rest}"
                if examined >= SCAN_EXAMINES and slot + 1 < SLOTS:
                    return f"{slot + 1}:"
            slot, after = slot + 1, ""
        return ""

    def _matching(
        self, slot: int, data: dict[str, Any], after: str, prefix: str
    ) -> tuple[list[str], str]:
        """The slot's keys with that prefix, beyond `after` and in order, without those whose time
        is over; and where to go on if there are very many."""
        keys = keys_after(data, after, prefix)
        rest = keys[-1] if len(keys) >= SCAN_EXAMINES else ""
        expiry = self.state.expiry
        if expiry:
            for key in keys:
                if key in expiry:
                    self._drop_expired(slot, data, key)
            keys = [key for key in keys if key in data]
        return keys, rest

    # --- a join's part -------------------------------------------------------------------

    def join(self, params: list[Any], epoch: int | None = None) -> dict[str, Any]:
        """The rows whose left keys are here, with those of their right keys that are here too.

        For clients of one slot this is the whole join; a router asks shard by shard, for `slots`
        and from `after` on (see join.py).
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
            slots = _asked_for(options)
            found = self._find(query.find, query.limit, options.get("after", ""), slots)
            page.skipped += self._not_here(slots)
            page.more = found["more"]
            rows = self._of_keys(found["keys"], page)
        elif query.keys:
            rows = self._of_keys(query.keys, page)
        else:
            after_slot, after = parse_cursor(options.get("after", ""))
            rows = self._of_ranges(_wanted(query, options), after_slot, after, page)
        last = ""
        for slot, key, value in rows:
            if page.is_full:
                page.next, page.more = last, True
                return
            page.take(key, value)
            last = f"{slot}:{key}"

    def _of_keys(self, keys: Sequence[str], page: Page) -> Iterator[tuple[int, str, Any]]:
        for key in keys:
            slot = key_slot(key)
            data = self.state.serving[slot]
            if data is None:
                page.skipped.append(slot)
                continue
            page.examined += 1
            self._drop_if_over(slot, data, key)
            if key in data:
                yield slot, key, data[key]

    def _of_ranges(
        self, ranges: Sequence[tuple[int, int]], after_slot: int, after: str, page: Page
    ) -> Iterator[tuple[int, str, Any]]:
        """Until there are no more, or enough was looked at: then `page.next` says so."""
        serving, prefix = self.state.serving, page.query.prefix
        for first, last in ranges:
            for slot in range(max(first, after_slot), last + 1):
                data = serving[slot]
                if data is None:
                    page.skipped.append(slot)
                if not data:
                    continue
                if page.examined >= SCAN_EXAMINES:
                    page.next = f"{slot}:"
                    return
                page.examined += len(data)
                from_key = after if slot == after_slot else ""
                keys, rest = self._matching(slot, data, from_key, prefix)
                for key in keys:
                    yield slot, key, data[key]
                if rest:
                    page.next = f"{slot}:{rest}"
                    return

    def _drop_if_over(self, slot: int, data: dict[str, Any], key: str) -> None:
        if key in self.state.expiry:
            self._drop_expired(slot, data, key)


def _wanted(query: JoinQuery, options: dict[str, Any]) -> list[tuple[int, int]]:
    """The slots to look through: those of the tag, those that were asked for, or all."""
    if query.routing_keys():
        slot = key_slot(query.prefix)
        return [(slot, slot)]
    return _ranges_in(options)


def _asked_for(options: dict[str, Any]) -> dict[int, None]:
    """The slots that were asked for, or all."""
    return dict.fromkeys(from_ranges(_ranges_in(options)))


def _ranges_in(options: dict[str, Any]) -> list[tuple[int, int]]:
    try:
        return ranges_from_wire(options.get("slots", [[0, SLOTS - 1]]))
    except ValueError as error:
        raise RpcError("bad_request", str(error)) from error


def keys_after(data: dict[str, Any], after: str, prefix: str = "") -> list[str]:
    """The slot's keys with that prefix beyond `after`, in order; of very many a part."""
    keys = [key for key in data if key.startswith(prefix)] if prefix else list(data)
    if after:
        keys = [key for key in keys if key > after]
    if len(keys) <= SCAN_EXAMINES:
        keys.sort()
        return keys
    return nsmallest(SCAN_EXAMINES, keys)


class _Found:
    """The page of a scan, as it fills up."""

    def __init__(self, count: int, with_values: bool) -> None:
        self.keys: list[str] = []
        self.values: list[Any] = []
        self._count = count
        self._with_values = with_values
        self._room_bytes = PAGE_BYTES

    def add(self, keys: list[str], data: dict[str, Any]) -> str:
        """Take these keys, in order; the last one that fits if the page is full now, else ""."""
        for key in keys:
            self.keys.append(key)
            self._room_bytes -= len(key)
            if self._with_values:
                self.values.append(data[key])
                self._room_bytes -= size_of(data[key])
            if len(self.keys) >= self._count or self._room_bytes <= 0:
                return key
        return ""
