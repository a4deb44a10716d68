"""What the records of a shard mean: data, time limits, request ids, and who serves which slot.

A record is a batch of facts, lists that begin with an op below. Facts are absolute (what is so
from now on), need no clock, and may be repeated in order from an earlier one: the state ends up
the same. That is what lets a slot be copied while it changes. What a command decides is in
keys.py and commands.py, what a move may do in moves.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappush
from typing import Any, Final

import msgpack

from nodes.kv.documents import Index
from protocols.hashing.partitioning import Range, from_ranges
from protocols.hashing.slots import SLOTS

SET: Final = 1
"""[SET, slot, key, value, expire_ms]; expire_ms is absolute wall time, 0 for no limit."""
DELETE: Final = 2
"""[DELETE, slot, key]"""
APPEND: Final = 3
"""[APPEND, slot, key, suffix, length before]"""
EXPIRE: Final = 4
"""[EXPIRE, slot, key, expire_ms]"""
DONE: Final = 5
"""[DONE, slot, request id, result]"""
LAST_DATA_OP: Final = DONE

ADOPT: Final = 10
"""[ADOPT, move, ranges, epoch]: these slots are served here; move "" at the founding."""
FENCE: Final = 11
"""[FENCE, move, ranges, target]: not served any more, wherever they go."""
RESUME: Final = 12
"""[RESUME, move, epoch, ranges]: the move is off: served here again, or still (the map has the new
epoch in either case)."""
RELEASE: Final = 13
"""[RELEASE, move, map version]: the target owns them: forget the data."""
IMPORT: Final = 14
"""[IMPORT, move, ranges, source, LSN to stream from]: begin (again) to copy, from nothing."""
CHUNK: Final = 15
"""[CHUNK, move, cursor, [[slot, key, value, expire_ms], ...], [[slot, request id, result], ...]]"""
STREAM: Final = 16
"""[STREAM, move, through LSN, facts]: what changed at the source since."""
DROP: Final = 17
"""[DROP, move]: give up an import."""

MAX_FINISHED: Final = 4096
DEFAULT_REQUEST_IDS: Final = 100_000
MISSING: Final = object()
Fact = Sequence[Any]
Touched = tuple[list[int], list[tuple[int, str]]]
"""Slots, and requests as (slot, request id)."""


def facts_of(payload: bytes) -> list[Fact]:
    """What a record says."""
    facts: list[Fact] = msgpack.unpackb(payload, strict_map_key=False)
    return facts


def size_of(value: Any) -> int:
    """What a value counts in the memory limit: its bytes without Python's overhead."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value)
    if kind is dict or kind is list:
        return len(msgpack.packb(value))
    return 8


class RequestIds:
    """The outcome of each recent request, by slot; the oldest of all make room."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._by_slot: dict[int, dict[str, Any]] = {}
        self._order: OrderedDict[tuple[int, str], None] = OrderedDict()

    def find(self, slot: int, request_id: str) -> Any:
        """The first outcome, or MISSING."""
        known = self._by_slot.get(slot)
        return MISSING if known is None else known.get(request_id, MISSING)

    def add(self, slot: int, request_id: str, result: Any) -> None:
        known = self._by_slot.setdefault(slot, {})
        if request_id not in known:
            self._order[slot, request_id] = None
        known[request_id] = result
        while len(self._order) > self.most:
            (oldest_slot, oldest), _ = self._order.popitem(last=False)
            del self._by_slot[oldest_slot][oldest]

    def of_slot(self, slot: int) -> list[list[Any]]:
        """[[slot, request id, result], ...], the oldest first."""
        return [[slot, each, result] for each, result in self._by_slot.get(slot, {}).items()]

    def drop(self, slots: Iterable[int]) -> None:
        for slot in slots:
            for request_id in self._by_slot.pop(slot, ()):
                del self._order[slot, request_id]

    def keys(self) -> Iterable[tuple[int, str]]:
        """(slot, request id), the oldest first."""
        return self._order

    def knows(self, slot: int, request_id: str) -> bool:
        return (slot, request_id) in self._order

    def __len__(self) -> int:
        return len(self._order)


class Outgoing:
    """Slots that are fenced here until their move ends."""

    __slots__ = ("ranges", "target")

    def __init__(self, ranges: Sequence[Range], target: str) -> None:
        self.ranges = [(first, last) for first, last in ranges]
        self.target = target


class Incoming:
    """Slots that are being copied here."""

    __slots__ = ("copied_bytes", "copied_keys", "cursor", "drained", "from_lsn", "ranges",
                 "source", "streamed", "through_lsn")  # fmt: skip

    def __init__(self, ranges: Sequence[Range], source: str, from_lsn: int) -> None:
        self.ranges = [(first, last) for first, last in ranges]
        self.source = source
        self.from_lsn = self.through_lsn = from_lsn
        """The source's LSN up to which its changes are in."""
        self.cursor = ""
        """Where the snapshot goes on; None once it is whole."""
        self.drained = False
        """The source's fence was in the stream: nothing can come after it."""
        self.copied_keys = self.copied_bytes = self.streamed = 0

    def to_list(self) -> list[Any]:
        return [self.ranges, self.source, self.from_lsn, self.through_lsn, self.cursor,
                self.drained, self.copied_keys, self.copied_bytes, self.streamed]  # fmt: skip

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> Incoming:
        made = cls(values[0], values[1], values[2])
        (made.through_lsn, made.cursor, made.drained, made.copied_keys, made.copied_bytes,
         made.streamed) = values[3:]  # fmt: skip
        return made


class KvState:
    """The state of one shard. It changes by `apply_fact`, or on the hot path by what that calls."""

    def __init__(self, *, index: str = "", request_ids: int = DEFAULT_REQUEST_IDS) -> None:
        self._index_path = index
        self._max_request_ids = request_ids
        self.serving: list[dict[str, Any] | None] = [None] * SLOTS
        """The data of each slot that commands may touch; None: not served here."""
        self.held: list[dict[str, Any] | None] = [None] * SLOTS
        """The same and, beyond, slots that are fenced or being copied here."""
        self.epochs = [0] * SLOTS
        """The epoch in which each slot was last adopted."""
        self.expiry: dict[str, int] = {}
        self.due: list[tuple[int, str]] = []
        """A heap over `expiry`, with left-overs; for whoever is primary."""
        self.requests = RequestIds(self._max_request_ids)
        self.outgoing: dict[str, Outgoing] = {}
        self.incoming: dict[str, Incoming] = {}
        self.finished: dict[str, str] = {}
        """How the latest moves ended here: a late message of theirs must not act."""
        self.moved_to: dict[int, tuple[str, int]] = {}
        """(shard, map version) of slots that were given away."""
        self.founded = False
        self.index = Index(self._index_path) if self._index_path else None
        self.keys = 0
        self.bytes = 0

    # --- records -------------------------------------------------------------------------

    def apply_fact(self, fact: Fact) -> None:
        _APPLY[fact[0]](self, fact)

    # --- data ----------------------------------------------------------------------------

    def put(self, data: dict[str, Any], key: str, value: Any, expire_ms: int) -> None:
        """Set a key of a held slot; no time limit is left over from before."""
        old = data.get(key)
        data[key] = value
        if old is None:
            self.keys += 1
            self.bytes += len(key) + size_of(value)
        else:
            self.bytes += size_of(value) - size_of(old)
        if expire_ms:
            self._limit(key, expire_ms)
        elif self.expiry:
            self.expiry.pop(key, None)
        if self.index is not None and (type(value) is dict or type(old) is dict):
            self.index.replace(key, old, value)

    def remove(self, data: dict[str, Any], key: str) -> None:
        """Delete a key of a held slot, if it is there."""
        old = data.pop(key, None)
        if old is None:
            return
        self.keys -= 1
        self.bytes -= len(key) + size_of(old)
        self.expiry.pop(key, None)
        if self.index is not None and type(old) is dict:
            self.index.replace(key, old, None)

    def _limit(self, key: str, expire_ms: int) -> None:
        self.expiry[key] = expire_ms
        heappush(self.due, (expire_ms, key))
        if len(self.due) > 2 * len(self.expiry) + 1024:
            self.due = [(when_ms, each) for each, when_ms in self.expiry.items()]
            heapify(self.due)

    def _data(self, slot: int) -> dict[str, Any]:
        data = self.held[slot]
        assert data is not None, f"slot {slot} is not held here"
        return data

    def _set(self, fact: Fact) -> None:
        self.put(self._data(fact[1]), fact[2], fact[3], fact[4])

    def _delete(self, fact: Fact) -> None:
        self.remove(self._data(fact[1]), fact[2])

    def _append(self, fact: Fact) -> None:
        """Cut to the length before, then extend: so that a repetition changes nothing."""
        _, slot, key, suffix, length = fact
        data = self._data(slot)
        old = data.get(key)
        base = old[:length] if old is not None and type(old) is type(suffix) else suffix[:0]
        self.put(data, key, base + suffix, self.expiry.get(key, 0))

    def _expire(self, fact: Fact) -> None:
        _, slot, key, expire_ms = fact
        if key in self._data(slot):
            if expire_ms:
                self._limit(key, expire_ms)
            else:
                self.expiry.pop(key, None)

    def _done(self, fact: Fact) -> None:
        self.requests.add(fact[1], fact[2], fact[3])

    # --- ownership -----------------------------------------------------------------------

    def _adopt(self, fact: Fact) -> None:
        _, move, ranges, epoch = fact
        for slot in from_ranges(ranges):
            data = self.held[slot]
            if data is None:
                data = self.held[slot] = {}
            self.serving[slot], self.epochs[slot] = data, epoch
            self.moved_to.pop(slot, None)
        self.founded = True
        if move:
            self.incoming.pop(move)
            self._finish(move, "adopted")

    def _fence(self, fact: Fact) -> None:
        _, move, ranges, target = fact
        self.outgoing[move] = Outgoing(ranges, target)
        for slot in from_ranges(ranges):
            self.serving[slot] = None

    def _resume(self, fact: Fact) -> None:
        _, move, epoch, *told = fact
        outgoing = self.outgoing.pop(move, None)
        fenced = () if outgoing is None else outgoing.ranges
        for slot in from_ranges(told[0] if told else fenced):  # older logs have no ranges
            if self.held[slot] is not None:
                self.serving[slot], self.epochs[slot] = self.held[slot], epoch
        self._finish(move, "resumed")

    def _release(self, fact: Fact) -> None:
        _, move, version = fact
        outgoing = self.outgoing.pop(move)
        slots = from_ranges(outgoing.ranges)
        self._forget(slots)
        for slot in slots:
            self.moved_to[slot] = (outgoing.target, version)
        self._finish(move, "released")

    def _forget(self, slots: Sequence[int]) -> None:
        for slot in slots:
            data, self.held[slot], self.serving[slot] = self.held[slot], None, None
            if not data:
                continue
            self.keys -= len(data)
            for key, value in data.items():
                self.bytes -= len(key) + size_of(value)
                if self.index is not None and type(value) is dict:
                    self.index.replace(key, value, None)
                if self.expiry:
                    self.expiry.pop(key, None)
        self.requests.drop(slots)

    def _finish(self, move: str, how: str) -> None:
        self.finished[move] = how
        while len(self.finished) > MAX_FINISHED:
            del self.finished[next(iter(self.finished))]

    # --- imports -------------------------------------------------------------------------

    def _import(self, fact: Fact) -> None:
        _, move, ranges, source, from_lsn = fact
        self.incoming[move] = Incoming(ranges, source, from_lsn)
        slots = from_ranges(ranges)
        self._forget(slots)
        for slot in slots:
            self.held[slot] = {}

    def _chunk(self, fact: Fact) -> None:
        _, move, cursor, entries, outcomes = fact
        incoming = self.incoming[move]
        incoming.cursor = cursor
        incoming.copied_keys += len(entries)
        before = self.bytes
        for slot, key, value, expire_ms in entries:
            self.put(self._data(slot), key, value, expire_ms)
        for slot, request_id, result in outcomes:
            self.requests.add(slot, request_id, result)
        incoming.copied_bytes += max(0, self.bytes - before)

    def _stream(self, fact: Fact) -> None:
        _, move, through_lsn, facts = fact
        incoming = self.incoming[move]
        for each in facts:
            if each[0] <= LAST_DATA_OP:
                self.apply_fact(each)
                incoming.streamed += 1
            else:  # the source's own fence, or its end
                incoming.drained = each[0] == FENCE
        incoming.through_lsn = through_lsn

    def _drop(self, fact: Fact) -> None:
        incoming = self.incoming.pop(fact[1], None)
        if incoming is not None:
            self._forget(from_ranges(incoming.ranges))
        self._finish(fact[1], "dropped")

    # --- the whole -----------------------------------------------------------------------

    def touched_by(self, fact: Fact) -> Touched | None:
        """Slots and requests that a fact changed; None: it changed whose slots they are."""
        op = fact[0]
        if op < DONE:
            return [fact[1]], []
        if op == DONE:
            return [], [(fact[1], fact[2])]
        if op == CHUNK:
            return [each[0] for each in fact[3]], [(each[0], each[1]) for each in fact[4]]
        if op != STREAM:
            return None
        data = [self.touched_by(each) for each in fact[3] if each[0] <= LAST_DATA_OP]
        known = [each for each in data if each is not None]
        return [slot for each, _ in known for slot in each], [r for _, each in known for r in each]

    def others(self) -> dict[str, Any]:
        """What is neither data nor request ids, for a dump."""
        return {
            "outgoing": {m: [each.ranges, each.target] for m, each in self.outgoing.items()},
            "incoming": {m: each.to_list() for m, each in self.incoming.items()},
            "finished": self.finished,
            "moved_to": [[slot, *where] for slot, where in self.moved_to.items()],
            "founded": self.founded,
        }

    def take_others(self, others: dict[str, Any]) -> None:
        """What `others` gave."""
        self.outgoing = {move: Outgoing(*each) for move, each in others["outgoing"].items()}
        self.incoming = {m: Incoming.from_list(each) for m, each in others["incoming"].items()}
        self.finished = others["finished"]
        self.moved_to = {slot: (shard, version) for slot, shard, version in others["moved_to"]}
        self.founded = others["founded"]

    def take_slot(self, slot: int, data: dict[str, Any], epoch: int, *, is_serving: bool) -> None:
        """A slot of a dump, into a state that lacks it."""
        self.held[slot], self.epochs[slot] = data, epoch
        self.serving[slot] = data if is_serving else None
        self.keys += len(data)
        self.bytes += sum(len(key) + size_of(value) for key, value in data.items())
        if self.index is not None:
            for key, value in data.items():
                self.index.replace(key, None, value)

    def emptied(self) -> KvState:
        """An empty one of this kind."""
        return KvState(index=self._index_path, request_ids=self._max_request_ids)

    def become(self, other: KvState) -> None:
        """Be what the other is, which is of no use any more."""
        self.__dict__.update(other.__dict__)

    def content(self, slots: Iterable[int] = range(SLOTS)) -> dict[str, Any]:
        """key -> [value, expire_ms] of what is served, by slot and key, to compare replicas."""
        return {
            key: [data[key], self.expiry.get(key, 0)]
            for slot in slots
            if (data := self.serving[slot])
            for key in sorted(data)
        }

    def slots_served(self) -> int:
        return sum(data is not None for data in self.serving)


_APPLY: Final[dict[int, Callable[[KvState, Fact], None]]] = {
    SET: KvState._set,
    DELETE: KvState._delete,
    APPEND: KvState._append,
    EXPIRE: KvState._expire,
    DONE: KvState._done,
    ADOPT: KvState._adopt,
    FENCE: KvState._fence,
    RESUME: KvState._resume,
    RELEASE: KvState._release,
    IMPORT: KvState._import,
    CHUNK: KvState._chunk,
    STREAM: KvState._stream,
    DROP: KvState._drop,
}
"""Op -> what it does. A fact of a newer version than this code is a KeyError: better down than
wrong."""
