"""What a shard allows in a move, and that a copy with its stream ends equal to the source."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.kv.machine import KvMachine
from nodes.kv.mover import PAGE_BYTES
from nodes.kv.moves import ShardMoves, changes_for
from nodes.kv.state import FENCE
from protocols.errors import RpcError
from protocols.hashing.partitioning import from_ranges
from protocols.hashing.slots import SLOTS, slot_of
from protocols.kv.coordinator import MoveOrder
from tests.nodes.kv.rig import Shard

KEYS = ("a", "b", "{t}c", "{t}d", "{t}e")
RANGES = [(slot, slot) for slot in sorted({slot_of(key) for key in KEYS})]
ORDER = MoveOrder("m/1", RANGES, "source", "target")
SLOTS_MOVED = frozenset(from_ranges(RANGES))


class Ends:
    """A source that has the slots, and a target that has none; LSNs count the source's facts."""

    def __init__(self, page_bytes: int = PAGE_BYTES) -> None:
        self.page_bytes = page_bytes
        self.source = Shard(ranges=[list(each) for each in RANGES], index="a")
        self.target = Shard(ranges=[[SLOTS - 1, SLOTS - 1]], index="a")
        self.giving = ShardMoves(self.source.state)
        self.taking = ShardMoves(self.target.state)

    @property
    def incoming(self) -> Any:
        return self.target.state.incoming[ORDER.move]

    def take(self, facts: list[Any]) -> None:
        for fact in facts:
            self.target.do(fact)

    def begin(self) -> None:
        self.take(self.taking.begin_import(ORDER, len(self.source.log)))

    def copy_page(self) -> bool:
        """Whether there is more."""
        cursor = self.incoming.cursor
        page = self.giving.page(ORDER.ranges, cursor, self.page_bytes)
        self.take(self.taking.take_chunk(ORDER.move, cursor, page))
        return self.incoming.cursor is not None

    def stream(self, most: int = 1000) -> None:
        from_lsn = self.incoming.through_lsn
        records = [
            (lsn + 1, [fact]) for lsn, fact in enumerate(self.source.log)
        ][from_lsn : from_lsn + most]  # fmt: skip
        facts = changes_for(ORDER.move, SLOTS_MOVED, records)
        through_lsn = from_lsn + len(records)
        self.take(self.taking.take_stream(ORDER.move, from_lsn, through_lsn, facts))

    def fence(self) -> None:
        for fact in self.giving.fence(ORDER):
            self.source.do(fact)

    def drain(self) -> None:
        while self.incoming.cursor is not None:
            self.copy_page()
        self.stream()

    def content(self) -> dict[str, Any]:
        return self.target.state.content(sorted(SLOTS_MOVED))


def refused(what: Any, *arguments: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        what(*arguments)
    assert caught.value.code == "refused"
    return caught.value


steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from(KEYS), st.integers(0, 9)),
        st.tuples(st.just("ttl"), st.sampled_from(KEYS), st.integers(1, 50)),
        st.tuples(st.just("append"), st.sampled_from(KEYS), st.text(max_size=2)),
        st.tuples(st.just("delete"), st.sampled_from(KEYS), st.none()),
        st.tuples(st.just("doc"), st.sampled_from(KEYS), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.none(), st.integers(1, 40)),
        st.tuples(st.sampled_from(["copy", "stream", "restart"]), st.none(), st.none()),
    ),
    max_size=40,
)


def do(ends: Ends, number: int, name: str, key: Any, value: Any) -> None:
    source, options = ends.source, {"request_id": f"r{number}"}
    match name:
        case "set":
            source.call("set", key, value, options)
        case "ttl":
            source.call("set", key, value, {**options, "ttl_ms": value})
        case "append":
            if type(source.call("get", key)) in (str, type(None)):
                source.call("append", key, value, options)
        case "delete":
            source.call("delete", key, options)
        case "doc":
            source.call("set", key, {"a": value}, options)
        case "wait":
            source.now_ms += value
        case "copy":
            if ends.incoming.cursor is not None:
                ends.copy_page()
        case "stream":
            if ends.incoming.cursor is None:
                ends.stream(most=3)
        case "restart":
            ends.begin()


@settings(max_examples=150, deadline=None)
@given(steps, st.integers(20, 200))
def test_a_copy_that_was_taken_while_it_changed_ends_equal_with_its_request_ids(
    plan: list[Any], page_bytes: int
) -> None:
    ends = Ends(page_bytes)
    for number, key in enumerate(KEYS):
        ends.source.call("set", key, "first", {"request_id": f"first-{number}"})
    ends.begin()
    for number, step in enumerate(plan):
        do(ends, number, *step)
    ends.fence()
    ends.drain()
    for fact in ends.taking.adopt(ORDER, 7):
        ends.target.do(fact)
    source = ends.source
    for slot in SLOTS_MOVED:
        source.state.serving[slot] = source.state.held[slot]  # to compare what is fenced
    assert ends.content() == source.state.content(sorted(SLOTS_MOVED))
    for slot in SLOTS_MOVED:
        known = {each[1]: each[2] for each in source.state.requests.of_slot(slot)}
        moved = {each[1]: each[2] for each in ends.target.state.requests.of_slot(slot)}
        assert moved == known
    assert ends.target.state.index is not None and source.state.index is not None
    for value in range(3):
        there = sorted(ends.target.state.index.find(value))
        assert there == sorted(source.state.index.find(value))
    assert KvMachine(ends.target.copy()).dump() == KvMachine(ends.target.state).dump()


def test_nothing_is_adopted_before_the_sources_fence_is_in() -> None:
    ends = Ends()
    ends.begin()
    refused(ends.taking.adopt, ORDER, 7)
    ends.drain()
    refused(ends.taking.adopt, ORDER, 7)
    ends.fence()
    refused(ends.taking.adopt, ORDER, 7)
    ends.stream()
    assert ends.taking.adopt(ORDER, 7)


def test_a_fenced_source_neither_reads_nor_writes_and_serves_again_in_a_new_epoch() -> None:
    ends = Ends()
    ends.source.call("set", "a", 1)
    ends.fence()
    for name, *params in (["get", "a"], ["set", "a", 2]):
        with pytest.raises(RpcError) as caught:
            ends.source.call(name, *params)
        assert caught.value.code == "moved"
    for fact in ends.giving.resume(ORDER, 9):
        ends.source.do(fact)
    assert ends.source.call("get", "a", epoch=9) == 1
    refused(ends.giving.fence, ORDER)


def test_every_step_may_be_asked_twice_and_none_of_a_move_that_is_over() -> None:
    ends = Ends()
    ends.begin()
    ends.fence()
    assert ends.giving.fence(ORDER) == []
    ends.drain()
    for fact in ends.taking.adopt(ORDER, 7):
        ends.target.do(fact)
    assert ends.taking.adopt(ORDER, 7) == []
    assert "adopted" in refused(ends.taking.drop, ORDER).details
    assert "adopted" in refused(ends.taking.begin_import, ORDER, 0).details
    for fact in ends.giving.release(ORDER, 8):
        ends.source.do(fact)
    assert ends.giving.release(ORDER, 8) == []
    refused(ends.giving.resume, ORDER, 9)
    refused(ends.giving.fence, ORDER)
    assert ends.source.state.keys == 0 and ends.source.state.content() == {}
    assert ends.source.state.moved_to[RANGES[0][0]] == ("target", 8)


def test_an_abort_that_comes_before_its_fence_excludes_it() -> None:
    ends = Ends()
    for fact in ends.giving.resume(ORDER, 9):
        ends.source.do(fact)
    refused(ends.giving.fence, ORDER)
    for fact in ends.taking.drop(ORDER):
        ends.target.do(fact)
    refused(ends.taking.begin_import, ORDER, 0)


def test_what_is_drained_is_never_copied_again() -> None:
    ends = Ends()
    ends.begin()
    ends.fence()
    ends.drain()
    refused(ends.taking.begin_import, ORDER, 0)


def test_slots_that_are_served_are_not_imported_but_a_forgotten_import_makes_room() -> None:
    ends = Ends()
    back = MoveOrder("m/2", RANGES, "target", "source")
    refused(ShardMoves(ends.source.state).begin_import, back, 0)
    ends.begin()
    again = MoveOrder("m/3", RANGES, "source", "target")
    ends.take(ends.taking.begin_import(again, 5))
    assert list(ends.target.state.incoming) == ["m/3"]
    assert ends.target.state.finished["m/1"] == "dropped"


def test_pages_and_changes_that_do_not_continue_are_refused() -> None:
    ends = Ends()
    refused(ends.taking.take_chunk, ORDER.move, "", {"entries": [], "outcomes": [], "cursor": None})
    ends.begin()
    refused(ends.taking.take_stream, ORDER.move, 99, 100, [])
    page = ends.giving.page(ORDER.ranges, "", PAGE_BYTES)
    refused(ends.taking.take_chunk, ORDER.move, "5:x", page)
    ends.take(ends.taking.take_chunk(ORDER.move, "", page))
    refused(ends.taking.take_chunk, ORDER.move, "", page)


def test_a_page_is_bounded_even_for_a_slot_with_very_many_request_ids() -> None:
    ends = Ends(page_bytes=500)
    for number in range(200):
        ends.source.call("set", "a", number, {"request_id": f"id-{number:04}"})
    ends.begin()
    pages = 0
    while ends.copy_page():
        pages += 1
    assert pages > 10
    assert len(ends.target.state.requests) == 200


def test_only_what_concerns_the_moved_slots_is_streamed() -> None:
    other = next(name for name in map(str, range(99)) if slot_of(name) not in SLOTS_MOVED)
    shard = Shard()
    for key in ("a", other, "b"):
        shard.call("set", key, 1)
    fences = [(FENCE, "m/1", [], "t"), (FENCE, "m/2", [], "t")]
    records = [(lsn, [fact]) for lsn, fact in enumerate([*shard.log, *fences])]
    found = changes_for("m/1", SLOTS_MOVED, records)
    assert [fact[2] for fact in found if fact[0] == 1] == ["a", "b"]
    assert [fact[1] for fact in found if fact[0] == FENCE] == ["m/1"]


def test_a_shuffled_delivery_of_late_messages_never_makes_two_owners() -> None:
    """Whatever arrives, in any order, as often as it likes: a slot is served by one end at most,
    once the coordinator's word (adopt or resume, never both) is among it."""
    for seed in range(200):
        rng = random.Random(seed)
        ends, publish = Ends(), rng.random() < 0.5
        for number in range(30):
            _any_message(rng, ends, publish, number)
            here = any(ends.source.state.serving[slot] is not None for slot in SLOTS_MOVED)
            there = any(ends.target.state.serving[slot] is not None for slot in SLOTS_MOVED)
            assert not (here and there), seed


def _any_message(rng: random.Random, ends: Ends, publish: bool, number: int) -> None:
    decided = ends.target.state.incoming.get(ORDER.move)
    may_publish = publish and decided is not None and decided.drained
    source_moves = [lambda: ends.giving.fence(ORDER)]
    target_moves = [lambda: ends.taking.begin_import(ORDER, len(ends.source.log))]
    if publish:
        target_moves.append(lambda: ends.taking.adopt(ORDER, 7))
        if may_publish or ORDER.move in ends.target.state.finished:
            source_moves.append(lambda: ends.giving.release(ORDER, 7))
    else:
        source_moves.append(lambda: ends.giving.resume(ORDER, 7))
        target_moves.append(lambda: ends.taking.drop(ORDER))
    shard, moves = rng.choice([(ends.source, source_moves), (ends.target, target_moves)])
    try:
        if rng.random() < 0.3:
            ends.source.call("incr", "a")
        elif rng.random() < 0.4 and decided is not None:
            ends.stream() if decided.cursor is None else ends.copy_page()
        else:
            for fact in rng.choice(moves)():
                shard.do(fact)
    except RpcError as error:
        assert error.code in ("refused", "moved")
