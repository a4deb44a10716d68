"""How slots are shared out, and how many move when a shard comes or goes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.hashing.partitioning import (
    PARTITIONERS,
    assign,
    from_ranges,
    moved_slots,
    ranges_from_wire,
    rebalanced,
    shares,
    to_ranges,
)
from protocols.hashing.slots import SLOTS
from protocols.kv.coordinator import MoveOrder, SlotMap, shard_number


def names(count: int) -> list[str]:
    return [f"kv-shard-{number}" for number in range(1, count + 1)]


def moved_ratio(partitioner: str, before: int, after: int) -> float:
    old = assign(partitioner, names(before))
    new = assign(partitioner, names(after), old)
    return sum(map(len, moved_slots(old, new).values())) / SLOTS


@pytest.mark.parametrize(("before", "expected"), [(3, 0.75), (4, 0.80), (8, 0.889)])
def test_modulo_moves_nearly_everything(before: int, expected: float) -> None:
    assert moved_ratio("modulo", before, before + 1) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize(("before", "expected"), [(3, 0.245), (4, 0.22), (8, 0.089)])
def test_the_ring_moves_about_one_part_in_n_plus_one(before: int, expected: float) -> None:
    assert moved_ratio("ring", before, before + 1) == pytest.approx(expected, rel=0.35)


@pytest.mark.parametrize("before", [3, 4, 8])
def test_maglev_moves_a_little_more_than_it_must(before: int) -> None:
    ideal = 1 / (before + 1)
    assert ideal * 0.9 < moved_ratio("maglev", before, before + 1) < ideal * 2


@pytest.mark.parametrize("before", [1, 3, 4, 8])
def test_slots_move_exactly_what_they_must_both_ways(before: int) -> None:
    old = assign("slots", names(before))
    grown = assign("slots", names(before + 1), old)
    assert sum(map(len, moved_slots(old, grown).values())) == SLOTS // (before + 1)
    shrunk = assign("slots", names(before), grown)
    assert sum(map(len, moved_slots(grown, shrunk).values())) == SLOTS // (before + 1)
    assert {source for source, _ in moved_slots(grown, shrunk)} == {names(before + 1)[-1]}


@pytest.mark.parametrize("partitioner", PARTITIONERS)
def test_every_slot_has_an_owner_among_the_shards(partitioner: str) -> None:
    owners = assign(partitioner, names(5))
    assert len(owners) == SLOTS
    assert list(shares(owners)) == names(5)
    assert max(shares(owners).values()) < 1.5 * SLOTS / 5


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 1000))
def test_any_row_of_changes_stays_even_and_moves_the_fewest(counts: list[int], seed: int) -> None:
    rng = random.Random(seed)
    current = assign("slots", names(counts[0]))
    for count in counts:
        wanted = rng.sample(names(9), count)
        after = rebalanced(current, wanted)
        sizes = [shares(after).get(name, 0) for name in wanted]
        assert sum(sizes) == SLOTS and max(sizes) - min(sizes) <= 1
        moved = sum(map(len, moved_slots(current, after).values()))
        before = shares(current)
        least = sum(max(0, size - before.get(name, 0)) for name, size in zip(wanted, sizes,
                    strict=True))  # fmt: skip
        assert moved == least
        current = after


def test_ranges_go_there_and_back() -> None:
    slots = [0, 1, 2, 7, 9, 10, SLOTS - 1]
    assert to_ranges(slots) == [(0, 2), (7, 7), (9, 10), (SLOTS - 1, SLOTS - 1)]
    assert from_ranges(to_ranges(slots)) == slots
    assert ranges_from_wire([[0, 2], [7, 7]]) == [(0, 2), (7, 7)]


@pytest.mark.parametrize(
    "bad", [None, 5, [[5, 1]], [[0, SLOTS]], [[-1, 3]], [[0, 5], [5, 9]], [[3]], [["a", 1]]]
)
def test_ranges_that_are_none_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="range"):
        ranges_from_wire(bad)


@pytest.mark.parametrize("partitioner", PARTITIONERS)
def test_a_map_goes_over_the_wire(partitioner: str) -> None:
    owners = tuple(assign(partitioner, names(3)))
    epochs = tuple(slot % 5 for slot in range(SLOTS))
    sent = SlotMap(7, tuple(names(3)), owners, epochs)
    assert SlotMap.from_wire(sent.to_wire()) == sent
    assert sum(last - first + 1 for first, last in sent.ranges_of("kv-shard-2")) == owners.count(
        "kv-shard-2"
    )


def test_what_is_no_map_and_no_move_is_refused() -> None:
    whole = SlotMap(1, ("a",), ("a",) * SLOTS, (1,) * SLOTS).to_wire()
    for bad in (
        None,
        {},
        {**whole, "version": "1"},
        {**whole, "ranges": []},
        {**whole, "ranges": [[0, 5, 0, 1], [7, SLOTS - 1, 0, 1]]},
        {**whole, "ranges": [[0, SLOTS - 1, 3, 1]]},
    ):
        with pytest.raises(ValueError, match="map"):
            SlotMap.from_wire(bad)
    order = MoveOrder("m/1", [(0, 5)], "a", "b")
    assert MoveOrder.from_wire(order.to_wire()) == order
    with pytest.raises(ValueError, match="move"):
        MoveOrder.from_wire(["m", [[0, 1]], "a"])


def test_a_shards_number_is_at_the_end_of_its_tiers_name() -> None:
    assert shard_number("kv-shard-12") == 12
    assert shard_number("kv") == 0
