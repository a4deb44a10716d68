"""What the commands about one key decide, on the shard's primary: pure, the time passed in.

A command that changes something makes facts (state.py), applies them and leaves them in
`facts` for the log. Who waits for the log, and whether this node may serve at all, is the
engine's business. Commands about several keys are in commands.py.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from heapq import heappop
from typing import Any, Final

from nodes.kv.arguments import (
    LAST_SLOT,
    NO_OPTIONS,
    checked_count,
    checked_key,
    checked_request_id,
    checked_ttl,
    checked_value,
    condition_holds,
    key_slot,
    only_key,
    only_options,
    params_of,
)
from nodes.kv.documents import parts_of, read_path, with_field
from nodes.kv.state import (
    APPEND,
    DELETE,
    DONE,
    EXPIRE,
    MISSING,
    SET,
    Fact,
    KvState,
    size_of,
)
from protocols.errors import RpcError
from protocols.hashing.slots import hash_tag
from protocols.kv.words import MAX_KEY_BYTES, MAX_KEYS, MAX_VALUE_BYTES, REQUEST_ID

MAX_INTEGER: Final = 2**63 - 1
FACT_BYTES: Final = 64
"""What a fact takes beside its value, about."""
LENGTHY: Final = (str, bytes, list)

Handler = Callable[[list[Any], int | None], Any]
"""`handler(params, epoch)`: the caller's slot epoch is None if it named none."""


class KvKeys:
    """The commands over one state. `now_ms()` is the wall time in whole milliseconds."""

    def __init__(
        self, state: KvState, now_ms: Callable[[], int], *, capacity_bytes: int = 1 << 30
    ) -> None:
        self.state = state
        self.now_ms = now_ms
        self.capacity_bytes = capacity_bytes
        self.facts: list[Fact] = []
        """What changed and is not in the log yet."""
        self.fact_bytes = 0
        """About how long they are."""
        self.no_reads: RpcError | None = None
        """Why nothing may be read here just now."""
        self.no_writes: RpcError | None = None
        self.age_s: Callable[[], float | None] = lambda: None
        """How old the state of a replica may be, at most; None if nobody knows."""
        self.elsewhere: Callable[[int], RpcError] = _not_here
        """What to answer about a slot that is not served here."""
        self.sample: Callable[[str], int] = lambda key: 1 << 62
        """Is called with a key that was asked for; says after how many further ones again."""
        self._until_sample = 1
        self.reached: Callable[[str], object] = lambda state: None
        """Is told of states that a campaign of seeds has to meet."""

    # --- finding -------------------------------------------------------------------------

    def get(self, params: list[Any], epoch: int | None = None) -> Any:
        """The hot path: everything is in line here, `_at` is the same in slow."""
        try:
            (key,) = params
            raw = key.encode()
        except (ValueError, AttributeError, UnicodeEncodeError):
            return self._get_in_slow(params, epoch)
        if not 0 < len(raw) <= MAX_KEY_BYTES:
            checked_key(key)
        if b"{" in raw:
            raw = hash_tag(raw)
        slot = crc_hqx(raw, 0) & LAST_SLOT
        state = self.state
        data = state.serving[slot]
        if data is None or self.no_reads is not None or epoch is not None:
            data = self._may(slot, epoch, self.no_reads)
        self._until_sample -= 1
        if not self._until_sample:
            self._until_sample = self.sample(key)
        if state.expiry and key in state.expiry:
            self._drop_expired(slot, data, key)
        return data.get(key)

    def _get_in_slow(self, params: list[Any], epoch: int | None) -> Any:
        """With options, or to be refused. A replica answers only within `max_lag_ms`."""
        key, options = params_of(params, 1)
        only_options(options, "max_lag_ms")
        max_lag_ms = options.get("max_lag_ms")
        if max_lag_ms is None or self.no_reads is None:
            return self._at(key, epoch, write=False)[1].get(key)
        slot, age_s = key_slot(key), self.age_s()
        if type(max_lag_ms) is not int or age_s is None or age_s * 1000 > max_lag_ms:
            raise self.no_reads
        data = self._may(slot, epoch, None)
        expire_ms = self.state.expiry.get(key)
        over = expire_ms is not None and expire_ms <= self.now_ms()
        return None if over else data.get(key)

    def _at(self, key: Any, epoch: int | None, *, write: bool) -> tuple[int, dict[str, Any]]:
        """The key's slot and its data, without the key if its time is over. Raises RpcError."""
        slot = key_slot(key)
        data = self._may(slot, epoch, self.no_writes if write else self.no_reads)
        self._until_sample -= 1
        if not self._until_sample:
            self._until_sample = self.sample(key)
        if self.state.expiry and key in self.state.expiry:
            self._drop_expired(slot, data, key)
        return slot, data

    def _may(self, slot: int, epoch: int | None, refusal: RpcError | None) -> dict[str, Any]:
        if refusal is not None:
            raise refusal
        data = self.state.serving[slot]
        if data is None:
            raise self.elsewhere(slot)
        known = self.state.epochs[slot]
        if epoch is not None and epoch > known:
            raise RpcError(
                "stale_epoch", f"slot {slot}: you know epoch {epoch}, we have {known}", known
            )
        return data

    def _drop_expired(self, slot: int, data: dict[str, Any], key: str) -> None:
        """Whoever sees that a key's time is over makes it a fact: it never comes back."""
        if self.state.expiry[key] <= self.now_ms():
            self._do((DELETE, slot, key))

    def _do(self, fact: Fact) -> None:
        self.state.apply_fact(fact)
        self.facts.append(fact)
        self.fact_bytes += FACT_BYTES

    # --- one key -------------------------------------------------------------------------

    def set(self, params: list[Any], epoch: int | None = None) -> bool:
        """The hot path of text without options is in line here, as in `get`."""
        try:
            key, value = params
            raw = key.encode()
            size = len(value) if type(value) is str else -1
        except (ValueError, AttributeError, UnicodeEncodeError):
            return self._set_in_slow(params, epoch)
        if not 0 < len(raw) <= MAX_KEY_BYTES or not 0 <= size <= MAX_VALUE_BYTES:
            return self._set_in_slow(params, epoch)
        if b"{" in raw:
            raw = hash_tag(raw)
        slot = crc_hqx(raw, 0) & LAST_SLOT
        state = self.state
        data = state.serving[slot]
        if data is None or self.no_writes is not None or epoch is not None:
            data = self._may(slot, epoch, self.no_writes)
        self._until_sample -= 1
        if not self._until_sample:
            self._until_sample = self.sample(key)
        if state.expiry and key in state.expiry:
            self._drop_expired(slot, data, key)
        if state.bytes + len(key) + size > self.capacity_bytes:
            raise self._no_room()
        state.put(data, key, value, 0)
        self.facts.append((SET, slot, key, value, 0))
        self.fact_bytes += size + FACT_BYTES
        return True

    def _set_in_slow(self, params: list[Any], epoch: int | None) -> bool:
        key, value, options = params_of(params, 2)
        slot, data = self._at(key, epoch, write=True)
        request_id = None
        if options is NO_OPTIONS:
            expire_ms = 0
        else:
            only_options(options, REQUEST_ID, "ttl_ms", "keep_ttl", "if")
            request_id = options.get(REQUEST_ID)
            known = self._known(slot, request_id)
            if known is not MISSING:
                return bool(known)
            expire_ms = self._expire_ms(key, options)
            if not condition_holds(options.get("if"), key in data):
                return bool(self._finish(slot, request_id, False))
        self._check_room(key, value)
        self.state.put(data, key, value, expire_ms)
        self.facts.append((SET, slot, key, value, expire_ms))
        if request_id is not None:
            self._do((DONE, slot, request_id, True))
        return True

    def delete(self, params: list[Any], epoch: int | None = None) -> bool:
        key, options = params_of(params, 1)
        slot, data = self._at(key, epoch, write=True)
        request_id, known = self._repeated(slot, options)
        if known is not MISSING:
            return bool(known)
        if key not in data:
            return bool(self._finish(slot, request_id, False))
        self._do((DELETE, slot, key))
        return bool(self._finish(slot, request_id, True))

    def incr(self, params: list[Any], epoch: int | None = None) -> int:
        if len(params) == 1 or (len(params) == 2 and type(params[1]) is dict):
            params = [params[0], 1, *params[1:]]
        key, by, options = params_of(params, 2)
        if type(by) is not int:
            raise RpcError("bad_request", "incr adds an integer")
        slot, data = self._at(key, epoch, write=True)
        request_id, known = self._repeated(slot, options)
        if known is not MISSING:
            return int(known)
        old = data.get(key, 0)
        if type(old) is not int:
            raise RpcError("wrong_type", f"`{key}` holds no integer")
        new = old + by
        if not -MAX_INTEGER <= new <= MAX_INTEGER:
            raise RpcError("refused", f"`{key}` would pass 64 bits")
        self._check_room(key, new)
        self._do((SET, slot, key, new, self.state.expiry.get(key, 0)))
        return int(self._finish(slot, request_id, new))

    def append(self, params: list[Any], epoch: int | None = None) -> int:
        key, suffix, options = params_of(params, 2)
        if type(suffix) not in LENGTHY:
            raise RpcError("bad_request", "append takes text, bytes or a list")
        keep = checked_count(options["keep"]) if "keep" in options else None
        slot, data = self._at(key, epoch, write=True)
        request_id, known = self._repeated(slot, options, "keep")
        if known is not MISSING:
            return int(known)
        old = data.get(key, suffix[:0])
        if type(old) is not type(suffix):
            raise RpcError("wrong_type", f"`{key}` does not hold what can be appended to so")
        self._check_room(key, suffix)
        if size_of(old) + size_of(suffix) > MAX_VALUE_BYTES:
            raise RpcError("too_large", f"`{key}` would pass {MAX_VALUE_BYTES} bytes")
        if keep is not None and len(old) + len(suffix) > keep:
            kept = (old + suffix)[-keep:]
            self._do((SET, slot, key, kept, self.state.expiry.get(key, 0)))
            return int(self._finish(slot, request_id, len(kept)))
        self._do((APPEND, slot, key, suffix, len(old)))
        return int(self._finish(slot, request_id, len(old) + len(suffix)))

    def compare_and_set(self, params: list[Any], epoch: int | None = None) -> bool:
        key, expected, value, options = params_of(params, 3)
        slot, data = self._at(key, epoch, write=True)
        only_options(options, REQUEST_ID, "ttl_ms", "keep_ttl")
        known = self._known(slot, options.get(REQUEST_ID))
        if known is not MISSING:
            return bool(known)
        expire_ms = self._expire_ms(key, options)
        current = data.get(key)
        if type(current) is not type(expected) or current != expected:
            return bool(self._finish(slot, options.get(REQUEST_ID), False))
        self._check_room(key, value)
        self._do((SET, slot, key, value, expire_ms))
        return bool(self._finish(slot, options.get(REQUEST_ID), True))

    def expire(self, params: list[Any], epoch: int | None = None) -> bool:
        key, ttl_ms, options = params_of(params, 2)
        slot, data = self._at(key, epoch, write=True)
        expire_ms = self.now_ms() + checked_ttl(ttl_ms) if ttl_ms is not None else 0
        request_id, known = self._repeated(slot, options)
        if known is not MISSING:
            return bool(known)
        if key not in data:
            return bool(self._finish(slot, request_id, False))
        self._do((EXPIRE, slot, key, expire_ms))
        return bool(self._finish(slot, request_id, True))

    def ttl(self, params: list[Any], epoch: int | None = None) -> int | None:
        key = only_key(params)
        _, data = self._at(key, epoch, write=False)
        if key not in data:
            return None
        expire_ms = self.state.expiry.get(key)
        return -1 if expire_ms is None else max(1, expire_ms - self.now_ms())

    # --- documents -----------------------------------------------------------------------

    def read(self, params: list[Any], epoch: int | None = None) -> Any:
        if len(params) != 2:
            raise RpcError("bad_request", "read takes a key and a path")
        key, path = params
        parts = parts_of(path)
        _, data = self._at(key, epoch, write=False)
        document = data.get(key)
        if document is not None and type(document) is not dict:
            raise RpcError("wrong_type", f"`{key}` holds no document")
        return read_path(document, parts)

    def update(self, params: list[Any], epoch: int | None = None) -> bool:
        key, fields, options = params_of(params, 2)
        if type(fields) is not dict or not fields or len(fields) > MAX_KEYS:
            raise RpcError("bad_request", f"update takes a map of 1 to {MAX_KEYS} paths to values")
        slot, data = self._at(key, epoch, write=True)
        request_id, known = self._repeated(slot, options)
        if known is not MISSING:
            return bool(known)
        document = data.get(key)
        if document is None:
            return bool(self._finish(slot, request_id, False))
        if type(document) is not dict:
            raise RpcError("wrong_type", f"`{key}` holds no document")
        for path, value in fields.items():
            document = with_field(document, parts_of(path), value)
        self._check_room(key, document)
        self._do((SET, slot, key, document, self.state.expiry.get(key, 0)))
        return bool(self._finish(slot, request_id, True))

    # --- time limits ---------------------------------------------------------------------

    def drop_due(self, most: int) -> int:
        """Make facts of the keys whose time is over; how many were looked at."""
        state, now_ms = self.state, self.now_ms()
        for count in range(most):
            if not state.due or state.due[0][0] > now_ms:
                return count
            when_ms, key = state.due[0]
            raw = key.encode()
            slot = crc_hqx(hash_tag(raw) if b"{" in raw else raw, 0) & LAST_SLOT
            data = state.serving[slot]
            heappop(state.due)
            if state.expiry.get(key) == when_ms and data is not None:
                self._do((DELETE, slot, key))
        return most

    # --- what they share -----------------------------------------------------------------

    def _known(self, slot: int, request_id: Any) -> Any:
        """The outcome of an earlier request with that id, or MISSING."""
        if request_id is None:
            return MISSING
        return self.state.requests.find(slot, checked_request_id(request_id))

    def _repeated(self, slot: int, options: dict[str, Any], *others: str) -> tuple[str | None, Any]:
        if options is NO_OPTIONS:
            return None, MISSING
        only_options(options, REQUEST_ID, *others)
        request_id = options.get(REQUEST_ID)
        return request_id, self._known(slot, request_id)

    def _finish(self, slot: int, request_id: str | None, result: Any) -> Any:
        """Remember what the request came to, also that it changed nothing: another attempt of it
        may still be on its way, and must not do later what its caller was told is not done."""
        if request_id is not None:
            self._do((DONE, slot, request_id, result))
        return result

    def _expire_ms(self, key: str, options: dict[str, Any]) -> int:
        ttl_ms = options.get("ttl_ms")
        if options.get("keep_ttl"):
            if ttl_ms is not None:
                raise RpcError("bad_request", "`ttl_ms` or `keep_ttl`, not both")
            return self.state.expiry.get(key, 0)
        return self.now_ms() + checked_ttl(ttl_ms) if ttl_ms is not None else 0

    def _check_room(self, key: str, value: Any) -> None:
        size = checked_value(value)
        self.fact_bytes += size + FACT_BYTES
        if self.state.bytes + len(key) + size > self.capacity_bytes:
            raise self._no_room()

    def _no_room(self) -> RpcError:
        return RpcError("no_space", f"this shard holds {self.capacity_bytes} bytes at most")


def _not_here(slot: int) -> RpcError:
    return RpcError("moved", f"slot {slot} is not here", slot, "", 0)
