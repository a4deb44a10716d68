"""The coordinators' records: a map that only grows in version, and moves that end one way."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from nodes.kv import coordination as c
from nodes.kv.coordination import Coordination, found_fact, moves_between
from protocols.hashing.partitioning import assign, from_ranges

SHARDS = ["kv-shard-1", "kv-shard-2"]
GROWN = [*SHARDS, "kv-shard-3"]


class Group:
    """A coordinator that keeps its log, so that another can be made from it."""

    def __init__(self) -> None:
        self.state = Coordination()
        self.log: list[Any] = []
        self.do(found_fact("slots", SHARDS, assign("slots", SHARDS)))

    def do(self, *facts: Any) -> None:
        for fact in facts:
            self.state.apply_fact(fact)
            self.log.append(fact)

    def plan(self, slots_per_move: int = 16384) -> list[str]:
        after = assign("slots", GROWN, self.state.owners)
        moves = moves_between("p", self.state.owners, after, slots_per_move)
        self.do([c.PLAN, "p", "slots", GROWN, moves, 0])
        return [each[0] for each in moves]

    def phases(self, move: str, *phases: str) -> None:
        for phase in phases:
            self.do([c.PHASE, move, phase, {}])


def test_a_map_begins_with_version_one_and_no_shard_adopted() -> None:
    state = Group().state
    assert state.version == 1 and set(state.epochs) == {1}
    assert state.adopted == {"kv-shard-1": False, "kv-shard-2": False}


def test_a_published_move_gives_its_slots_a_new_owner_and_epoch() -> None:
    group = Group()
    first, *_ = group.plan()
    move = group.state.moves[first]
    before = group.state.version
    group.phases(first, c.COPYING, c.FENCING)
    assert group.state.version == before
    group.phases(first, c.PUBLISHED)
    slots = from_ranges(move.ranges)
    assert {group.state.owners[slot] for slot in slots} == {"kv-shard-3"}
    assert {group.state.epochs[slot] for slot in slots} == {group.state.version} == {move.epoch}
    assert group.state.version == before + 1


def test_an_aborted_move_keeps_the_owner_in_a_new_epoch_and_is_queued_again() -> None:
    group = Group()
    first, *_ = group.plan()
    move = group.state.moves[first]
    group.phases(first, c.COPYING, c.FENCING, c.ABORTING)
    assert {group.state.owners[slot] for slot in from_ranges(move.ranges)} == {move.source}
    assert {group.state.epochs[slot] for slot in from_ranges(move.ranges)} == {move.epoch}
    group.phases(first, c.ABORTED)
    again = group.state.moves[f"{first}'"]
    assert (again.phase, again.attempt, again.ranges) == (c.QUEUED, 2, move.ranges)


def test_a_move_is_tried_a_few_times_only() -> None:
    group = Group()
    name, *_ = group.plan()
    while name in group.state.moves:
        group.phases(name, c.COPYING, c.ABORTING, c.ABORTED)
        last, name = name, f"{name}'"
    assert group.state.moves[last].attempt == c.MAX_ATTEMPTS
    assert group.state.outcome() == "incomplete"


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ((), c.FENCING),
        ((c.COPYING,), c.PUBLISHED),
        ((c.COPYING, c.FENCING, c.PUBLISHED), c.ABORTING),
        ((c.COPYING, c.FENCING, c.ABORTING), c.PUBLISHED),
        ((c.COPYING, c.FENCING, c.PUBLISHED, c.DONE), c.ABORTED),
    ],
)
def test_what_is_decided_is_never_decided_otherwise(path: tuple[str, ...], wrong: str) -> None:
    group = Group()
    first, *_ = group.plan()
    group.phases(first, *path)
    with pytest.raises(AssertionError):
        group.phases(first, wrong)


def test_a_plan_ends_with_its_shards_and_how_it_went() -> None:
    group = Group()
    for move in group.plan():
        assert group.state.next_queued() is not None
        group.phases(move, c.COPYING, c.FENCING, c.PUBLISHED, c.DONE)
    assert group.state.next_queued() is None and group.state.outcome() == "done"
    group.do([c.ENDED, "done"])
    assert group.state.shards == GROWN and group.state.plan == ""
    shrunk = assign("slots", SHARDS, group.state.owners)
    moves = moves_between("q", group.state.owners, shrunk, 16384)
    group.do([c.PLAN, "q", "slots", SHARDS, moves, 0])
    for move in moves:
        group.phases(move[0], c.COPYING, c.FENCING, c.PUBLISHED, c.DONE)
    group.do([c.ENDED, group.state.outcome()])
    assert group.state.shards == SHARDS


def test_a_cancelled_plan_queues_nothing_again_and_keeps_shards_that_own_slots() -> None:
    group = Group()
    first, second, *_ = group.plan(slots_per_move=2000)
    group.phases(first, c.COPYING, c.FENCING, c.PUBLISHED, c.DONE)
    group.do([c.CANCEL])
    group.phases(second, c.COPYING, c.ABORTING, c.ABORTED)
    assert f"{second}'" not in group.state.moves
    assert group.state.outcome() == "cancelled"
    group.do([c.ENDED, "cancelled"])
    assert "kv-shard-3" in group.state.shards


def test_moves_are_no_larger_than_asked_and_sources_take_turns() -> None:
    before = assign("slots", SHARDS)
    moves = moves_between("p", before, assign("slots", GROWN, before), 500)
    assert max(sum(last - first + 1 for first, last in each[1]) for each in moves) <= 500
    assert [each[2] for each in moves[:4]] == ["kv-shard-1", "kv-shard-2"] * 2
    slots = [slot for each in moves for slot in from_ranges(each[1])]
    assert len(slots) == len(dict.fromkeys(slots)) == 16384 // 3


def test_a_replica_that_applies_the_log_is_equal_and_so_is_a_restored_dump() -> None:
    group = Group()
    first, second, *_ = group.plan(slots_per_move=1000)
    group.do([c.ADOPTED, "kv-shard-1"])
    group.phases(first, c.COPYING, c.FENCING, c.PUBLISHED, c.DONE)
    group.phases(second, c.COPYING, c.FENCING, c.ABORTING, c.ABORTED)
    replica = Coordination()
    replica.apply(msgpack.packb(group.log), 1)
    assert replica.dump() == group.state.dump()
    again = Coordination()
    again.restore(replica.dump())
    assert again.dump() == replica.dump()
    assert again.map == group.state.map
    again.restore(None)
    assert again.version == 0 and again.owners == []
