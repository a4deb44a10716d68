"""A shard's state as bytes and back in steps, while it changes: always the state at one moment."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest

from nodes.kv import copy as kv_copy
from nodes.kv.machine import KvMachine
from nodes.kv.state import FENCE, RELEASE, KvState
from protocols.hashing.slots import SLOTS
from protocols.replication.pieces import Pieces
from protocols.stepping import at_once
from tests.nodes.kv.rig import Shard

KEYS = 300


class Watched:
    """A shard, and what a dump asks about the records since it began."""

    def __init__(self, **options: Any) -> None:
        self.shard = Shard(**options)
        self.seen = len(self.shard.log)

    def applied(self) -> list[bytes]:
        facts = self.shard.log[self.seen :]
        self.seen = len(self.shard.log)
        return [msgpack.packb([fact]) for fact in facts]

    def change(self, rng: random.Random, serial: int) -> None:
        key, request = f"k{rng.randrange(KEYS)}", {"request_id": f"r{serial}"}
        match rng.randrange(5):
            case 0:
                self.shard.call("delete", key, request)
            case 1:
                self.shard.call("set", key, serial, {"ttl_ms": 5000 + serial})
            case 2:
                self.shard.call("set", key, {"a": serial % 7})
            case _:
                self.shard.call("set", key, "x" * rng.randrange(50), request)


def loaded(data: Any, **options: Any) -> KvState:
    state = KvState(**options)
    at_once(KvMachine(state).restore_in_steps(data))()
    return state


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_copy, "STEP_KEYS", 500)
    monkeypatch.setattr(kv_copy, "LOOK_RECORDS", 20)


@pytest.mark.parametrize("seed", range(5))
def test_a_dump_in_steps_is_the_state_at_its_last_look(seed: int, small_steps: None) -> None:
    rng, options = random.Random(seed), {"index": "a", "request_ids": 150}
    watched = Watched(**options)
    for serial in range(400):
        watched.change(rng, serial)
    steps, serial = KvMachine(watched.shard.state).dump_in_steps(watched.applied), 1000
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            data = ended.value
            break
        for _ in range(rng.randrange(8)):
            watched.change(rng, serial)
            serial += 1
    assert serial > 1050
    then = KvState(**options)
    KvMachine(then).apply(msgpack.packb(watched.shard.log[: watched.seen]), 1)
    copy = loaded(data, **options)
    assert KvMachine(copy).dump() == KvMachine(then).dump()
    assert (copy.keys, copy.bytes) == (then.keys, then.bytes)
    assert sorted(copy.due) == sorted((when_ms, key) for key, when_ms in then.expiry.items())
    assert copy.index is not None and then.index is not None
    assert sorted(copy.index.find(3)) == sorted(then.index.find(3))


@pytest.mark.parametrize("first", [0, SLOTS - 200], ids=["after", "before"])
@pytest.mark.parametrize("times", [1, 100])
def test_slots_that_go_after_or_before_their_turn_are_not_in_a_dump(
    times: int, first: int, small_steps: None
) -> None:
    watched, moved = Watched(), 0
    for number in range(KEYS):
        watched.shard.call("set", f"k{number}", number)
    steps = KvMachine(watched.shard.state).dump_in_steps(watched.applied)
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            data = ended.value
            break
        if moved < times:  # its end is soon, and nothing else can end it
            slot = first + moved
            watched.shard.do([FENCE, f"m/{moved}", [[slot, slot]], "other"])
            watched.shard.do([RELEASE, f"m/{moved}", 7])
            moved += 1
    then = KvState()
    KvMachine(then).apply(msgpack.packb(watched.shard.log[: watched.seen]), 1)
    assert KvMachine(loaded(data)).dump() == KvMachine(then).dump()


def test_a_dump_as_it_was_once_written_can_be_read() -> None:
    now = Watched()
    now.shard.call("set", "a", 1, {"ttl_ms": 5000})
    old = msgpack.unpackb(KvMachine(now.shard.state).dump(), strict_map_key=False)
    old["expiry"] = {}
    for slot in old["slots"]:
        old["expiry"] |= slot.pop()
    data = Pieces()
    data.append(msgpack.packb(old))
    assert loaded(data).content() == now.shard.state.content() != {}
