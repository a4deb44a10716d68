"""A shard's state as bytes and back, in steps, while records change it. What they mean is
state.py's.

A slot is packed as it is when its turn comes, and again if a record touched it since: what the dump
stands for is the state at its last look at the records, when few are left to be packed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from heapq import heappush
from typing import Any, Final

import msgpack

from nodes.kv.state import KvState, Touched, facts_of
from nodes.replica.state_machine import Applied
from protocols.replication.pieces import Content, Pieces
from protocols.stepping import Steps, at_once

STEP_KEYS: Final = 2000
"""Packed or unpacked at once: a millisecond or two."""
LOOK_RECORDS: Final = 200
"""What so many touched may be packed again without a pause."""
MAX_LOOKS: Final = 10_000
MAX_ATTEMPTS: Final = 5
"""If slots come and go in all but the last, that is done without a pause."""


def dump_in_steps(state: KvState, applied: Applied) -> Steps[Pieces]:
    """See state_machine.CopiesInSteps."""
    for attempt in range(MAX_ATTEMPTS):
        applied()
        dump = _Dump(state, applied)
        if attempt == MAX_ATTEMPTS - 1:
            at_once(dump.first_steps())
            dump.end()
        elif not (yield from dump.steps()):
            continue
        break
    return (yield from dump.joined())


class _Dump:
    """One attempt."""

    def __init__(self, state: KvState, applied: Applied) -> None:
        self._state = state
        self._applied = applied
        self._slots: dict[int, bytes] = {}
        self._order: dict[tuple[int, str], None] = {}
        """All requests, the oldest first; it may have some that were forgotten meanwhile."""
        self._outcomes: dict[tuple[int, str], bytes] = {}
        self._others: dict[str, bytes] = {}
        self._packer = msgpack.Packer()

    def first_steps(self) -> Steps[None]:
        held = [slot for slot, data in enumerate(self._state.held) if data is not None]
        requests = list(self._state.requests.keys())
        yield from self._pack(held, requests)
        for begin in range(0, len(requests), STEP_KEYS):
            self._order.update(dict.fromkeys(requests[begin : begin + STEP_KEYS]))
            yield

    def steps(self) -> Steps[bool]:
        """Whether it came to an end: False if slots came or went meanwhile."""
        yield from self.first_steps()
        backlog: list[bytes] = []
        for _ in range(MAX_LOOKS):
            yield
            backlog += self._applied()
            touched = self._look(backlog[:LOOK_RECORDS])
            del backlog[:LOOK_RECORDS]
            if touched is None:
                return False
            if not backlog:
                at_once(self._pack(*touched))
                self.end()
                return True
            yield from self._pack(*touched)
        return False

    def _look(self, payloads: list[bytes]) -> Touched | None:
        """What records touched; None if it cannot be told."""
        slots: dict[int, None] = {}
        requests: dict[tuple[int, str], None] = {}
        for payload in payloads:
            for fact in facts_of(payload):
                touched = self._state.touched_by(fact)
                if touched is None:
                    return None
                slots.update(dict.fromkeys(touched[0]))
                requests.update(dict.fromkeys(touched[1]))
        self._order.update(requests)
        return list(slots), list(requests)

    def end(self) -> None:
        """What is packed now is the state as it is now."""
        for name, value in self._state.others().items():
            self._others[name] = self._packer.pack(value)

    def _pack(self, slots: Iterable[int], requests: Iterable[tuple[int, str]]) -> Steps[None]:
        state, pack, expiry = self._state, self._packer.pack, self._state.expiry
        count = 0
        for slot in slots:
            data = state.held[slot]
            if data is None:
                continue  # it went before its turn: the record that says so will end the attempt
            limits = {key: expiry[key] for key in data if key in expiry} if expiry else {}
            is_serving = state.serving[slot] is not None
            self._slots[slot] = pack([slot, is_serving, state.epochs[slot], data, limits])
            count += 1 + len(data)
            if count > STEP_KEYS:
                count = 0
                yield
        for slot, request_id in requests:
            result = state.requests.find(slot, request_id)
            if state.requests.knows(slot, request_id):
                self._outcomes[slot, request_id] = pack([slot, request_id, result])
            count += 1
            if count > STEP_KEYS:
                count = 0
                yield

    def joined(self) -> Steps[Pieces]:
        """The same for equal states: by slot, and requests by age."""
        pack, header, whole = self._packer.pack, self._packer.pack_array_header, Pieces()
        yield
        known = [each for each in self._order if each in self._outcomes]
        known = known[max(0, len(known) - self._state.requests.most) :]
        whole.append(self._packer.pack_map_header(2 + len(self._others)))
        whole.append(pack("slots") + header(len(self._slots)))
        yield from _append(whole, self._slots, sorted(self._slots))
        whole.append(pack("requests") + header(len(known)))
        yield from _append(whole, self._outcomes, known)
        for name, value in self._others.items():
            whole.append(pack(name) + value)
        return whole


def _append(whole: Pieces, parts: dict[Any, bytes], keys: list[Any]) -> Steps[None]:
    for begin in range(0, len(keys), STEP_KEYS):
        yield
        whole.append(b"".join([parts.pop(key) for key in keys[begin : begin + STEP_KEYS]]))


def restore_in_steps(state: KvState, data: Content) -> Steps[Callable[[], None]]:
    """See state_machine.CopiesInSteps."""
    fresh = state.emptied()
    unpacker = msgpack.Unpacker(_Reader(data), strict_map_key=False, max_buffer_size=1 << 30)
    others: dict[str, Any] = {}
    for _ in range(unpacker.read_map_header()):
        name = unpacker.unpack()
        if name == "slots":
            yield from _take_slots(fresh, unpacker)
        elif name == "requests":
            for count in range(unpacker.read_array_header()):
                fresh.requests.add(*unpacker.unpack())
                if count % STEP_KEYS == STEP_KEYS - 1:
                    yield
        else:
            others[name] = unpacker.unpack()
    for key, when_ms in others.pop("expiry", {}).items():  # as it was once written
        _limit(fresh, key, when_ms)
    fresh.take_others(others)
    return partial(state.become, fresh)


def _take_slots(fresh: KvState, unpacker: Any) -> Steps[None]:
    count = 0
    for _ in range(unpacker.read_array_header()):
        slot, is_serving, epoch, content, *limits = unpacker.unpack()
        fresh.take_slot(slot, content, epoch, is_serving=is_serving)
        for key, when_ms in limits[0].items() if limits else ():
            _limit(fresh, key, when_ms)
        count += 1 + len(content)
        if count > STEP_KEYS:
            count = 0
            yield


def _limit(fresh: KvState, key: str, when_ms: int) -> None:
    fresh.expiry[key] = when_ms
    heappush(fresh.due, (when_ms, key))


class _Reader:
    """A dump as a file that is read from its begin to its end."""

    def __init__(self, data: Content) -> None:
        self._data = data
        self._offset = 0

    def read(self, size_bytes: int) -> bytes:
        part = self._data[self._offset : self._offset + size_bytes]
        self._offset += len(part)
        return part
