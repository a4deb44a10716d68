"""The commands about several keys: mget, transact, scan and find, beside those about one.

The rules of kv_keys.py hold here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import nsmallest
from typing import Any, Final

from nodes.parts.kv_arguments import (
    check_one_slot,
    checked_count,
    only_options,
    params_of,
    parse_cursor,
)
from nodes.parts.kv_keys import Handler, KvKeys
from nodes.parts.kv_state import MISSING, KvState, size_of
from protocols import kv as words
from protocols.errors import RpcError
from protocols.kv import MAX_KEYS, MAX_VALUE_BYTES, REQUEST_ID
from protocols.slots import SLOTS, slot_of

SCAN_EXAMINES: Final = 10_000
"""Keys looked at for one page of a scan, at most."""
PAGE_BYTES: Final = 256 * 1024
DEFAULT_COUNT: Final = 100
TRANSACTABLE: Final = (
    words.GET, words.SET, words.DELETE, words.INCR, words.APPEND, words.COMPARE_AND_SET,
    words.EXPIRE, words.READ, words.UPDATE,
)  # fmt: skip


class KvCommands(KvKeys):
    """All commands over one state."""

    def __init__(
        self, state: KvState, now_ms: Callable[[], int], *, capacity_bytes: int = 1 << 30
    ) -> None:
        super().__init__(state, now_ms, capacity_bytes=capacity_bytes)
        self.handlers: dict[str, Handler] = {
            words.GET: self.get,
            words.MGET: self.mget,
            words.SET: self.set,
            words.DELETE: self.delete,
            words.INCR: self.incr,
            words.APPEND: self.append,
            words.COMPARE_AND_SET: self.compare_and_set,
            words.EXPIRE: self.expire,
            words.TTL: self.ttl,
            words.SCAN: self.scan,
            words.READ: self.read,
            words.UPDATE: self.update,
            words.FIND: self.find,
            words.TRANSACT: self.transact,
        }

    def find(self, params: list[Any], epoch: int | None = None) -> dict[str, Any]:
        """The keys here whose documents have that value in the indexed field."""
        value, options = params_of(params, 1)
        only_options(options, "limit", "after")
        limit = checked_count(options.get("limit", DEFAULT_COUNT))
        if self.no_reads is not None:
            raise self.no_reads
        state = self.state
        if state.index is None:
            raise RpcError("refused", "this store has no index: give the tier `index: FIELD`")
        if type(value) in (dict, list, type(None)):
            raise RpcError("bad_request", "an index is asked for text, a number or a boolean")
        after = options.get("after", "")
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

    # --- several keys --------------------------------------------------------------------

    def mget(self, params: list[Any], epoch: int | None = None) -> list[Any]:
        keys, options = params_of(params, 1)
        only_options(options, "atomic")
        if type(keys) is not list or not 0 < len(keys) <= MAX_KEYS:
            raise RpcError("bad_request", f"mget takes a list of 1 to {MAX_KEYS} keys")
        if options.get("atomic"):
            check_one_slot(keys)
        return [self._at(key, None, write=False)[1].get(key) for key in keys]

    def transact(self, params: list[Any], epoch: int | None = None) -> list[Any]:
        """All of these commands or none; a condition that does not hold refuses them all."""
        operations, options = params_of(params, 1)
        if type(operations) is not list or not 0 < len(operations) <= MAX_KEYS:
            raise RpcError("bad_request", f"transact takes a list of 1 to {MAX_KEYS} operations")
        for each in operations:
            known_name = type(each) is list and len(each) > 1 and each[0] in TRANSACTABLE
            if not known_name:
                names = ", ".join(TRANSACTABLE)
                raise RpcError("bad_request", f"an operation is [name, key, ...]; names: {names}")
        check_one_slot([each[1] for each in operations])
        slot, data = self._at(operations[0][1], epoch, write=True)
        request_id, known = self._repeated(slot, options)
        if known is not MISSING:
            return list(known)
        before = {each[1]: (data.get(each[1]), self.state.expiry.get(each[1], 0))
                  for each in operations}  # fmt: skip
        mark, mark_bytes = len(self.facts), self.fact_bytes
        try:
            results = [self._operate(each, epoch) for each in operations]
            if self.fact_bytes - mark_bytes > MAX_VALUE_BYTES:
                raise RpcError("too_large", f"a transaction has at most {MAX_VALUE_BYTES} bytes")
        except RpcError:
            del self.facts[mark:]
            self.fact_bytes = mark_bytes
            for key, (value, expire_ms) in before.items():
                if value is None:
                    self.state.remove(data, key)
                else:
                    self.state.put(data, key, value, expire_ms)
            raise
        return list(self._finish(slot, request_id, results))

    def _operate(self, operation: list[Any], epoch: int | None) -> Any:
        name, *params = operation
        if any(type(each) is dict and REQUEST_ID in each for each in params[1:]):
            raise RpcError("bad_request", "a transaction has one request_id, in its own options")
        result = self.handlers[name](params, epoch)
        conditional = name == words.COMPARE_AND_SET or (
            name == words.SET and type(params[-1]) is dict and "if" in params[-1]
        )
        if conditional and not result:
            raise RpcError("refused", f"the condition of `{name}` on `{params[0]}` does not hold")
        return result

    # --- scanning ------------------------------------------------------------------------

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
        state = self.state
        while slot < SLOTS:
            data = state.serving[slot]
            if data is None:
                return
            keys = keys_after(data, after)
            for key in keys:
                if key in state.expiry:
                    self._drop_expired(slot, data, key)
                if key in data:
                    yield slot, key, data[key]
            if len(keys) == SCAN_EXAMINES:
                after = keys[-1]
            else:
                slot, after = slot + 1, ""


def keys_after(data: dict[str, Any], after: str) -> list[str]:
    """The slot's keys beyond `after`, in order; a slot with very many gives a part of them."""
    keys = [key for key in data if key > after] if after else list(data)
    if len(keys) <= SCAN_EXAMINES:
        keys.sort()
        return keys
    return nsmallest(SCAN_EXAMINES, keys)
