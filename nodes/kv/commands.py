"""All commands in one table; here are those about several keys that are named: mget, transact.

The rules of keys.py hold here too.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from typing import Any, Final

from nodes.kv import reach
from nodes.kv.arguments import LAST_SLOT, check_one_slot, checked_key, only_options, params_of
from nodes.kv.keys import Handler
from nodes.kv.scans import KvScans
from nodes.kv.state import MISSING, KvState
from protocols.errors import RpcError
from protocols.hashing.slots import hash_tag
from protocols.kv import words
from protocols.kv.words import MAX_KEY_BYTES, MAX_KEYS, MAX_VALUE_BYTES, REQUEST_ID

TRANSACTABLE: Final = (
    words.GET, words.SET, words.DELETE, words.INCR, words.APPEND, words.COMPARE_AND_SET,
    words.EXPIRE, words.READ, words.UPDATE,
)  # fmt: skip


class KvCommands(KvScans):
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
            words.JOIN: self.join,
            words.TRANSACT: self.transact,
        }

    # --- several keys --------------------------------------------------------------------

    def mget(self, params: list[Any], epoch: int | None = None) -> list[Any]:
        keys, options = params_of(params, 1)
        only_options(options, "atomic")
        if type(keys) is not list or not 0 < len(keys) <= MAX_KEYS:
            raise RpcError("bad_request", f"mget takes a list of 1 to {MAX_KEYS} keys")
        if options.get("atomic"):
            check_one_slot(keys)
        return self._get_all(keys)

    def _get_all(self, keys: list[Any]) -> list[Any]:
        """`_at` for each, in line: a hundred keys should not cost a hundred calls."""
        if self.no_reads is not None:
            raise self.no_reads
        serving, expiry = self.state.serving, self.state.expiry
        values = []
        for key in keys:
            if type(key) is not str or not key.isascii() or not 0 < len(key) <= MAX_KEY_BYTES:
                checked_key(key)
            raw = key.encode()
            slot = crc_hqx(hash_tag(raw) if b"{" in raw else raw, 0) & LAST_SLOT
            data = serving[slot]
            if data is None:
                raise self.elsewhere(slot)
            if expiry and key in expiry:
                self._drop_expired(slot, data, key)
            values.append(data.get(key))
        until_sample = self._until_sample - len(keys)
        if until_sample <= 0:
            until_sample = self.sample(keys[until_sample - 1])
        self._until_sample = until_sample
        return values

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
            if len(self.facts) > mark:
                self.reached(reach.TAKEN_BACK)
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
