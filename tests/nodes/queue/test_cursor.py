"""A work group's cursor: random workers, a model beside it."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.queue.cursor import ACQUIRED, AVAILABLE, DYING, MAX_WINDOW, RESTING, Cursor

MAX_DELIVER = 3


def take(cursor: Cursor, end: int, most: int = 1, keys: Any = None, base: int = 0) -> list[int]:
    """Acquire as a broker does: what is passed over and what is taken, in order."""
    found = cursor.find(end, most, keys, base)
    rows = [*((*each, True) for each in zip(found.taken, found.keys, strict=True)),
            *((*each, False) for each in found.passed)]  # fmt: skip
    for offset, key, taken in sorted(rows, key=lambda row: row[0]):
        if taken:
            cursor.acquire(offset, key, "w", 1, 1000)
        else:
            cursor.pass_over(offset, key)
    return found.taken


def fail(cursor: Cursor, offset: int, delay_ms: int = 0) -> None:
    cursor.give_back(offset, failed=True, delay_ms=delay_ms, max_deliver=MAX_DELIVER)


def test_records_are_handed_out_in_order_and_what_failed_comes_first():
    cursor = Cursor()
    assert take(cursor, 5, 3) == [0, 1, 2]
    fail(cursor, 1)
    assert take(cursor, 5, 2) == [1, 3]
    assert cursor.entries[1].delivered == 2


def test_the_floor_crosses_only_what_is_done():
    cursor = Cursor()
    take(cursor, 3, 3)
    cursor.settle(2)
    cursor.settle(1)
    assert cursor.floor == 0 and cursor.lag(0, 3) == 1
    cursor.settle(0)
    assert cursor.floor == 3 and cursor.lag(0, 3) == 0 and not cursor.done


def test_what_rests_is_not_in_flight():
    cursor = Cursor()
    take(cursor, 2, 2)
    fail(cursor, 0, delay_ms=500)
    assert cursor.in_flight == 1 and cursor.entries[0].state == RESTING
    assert take(cursor, 2, 5) == []
    cursor.rested(0)
    assert take(cursor, 2, 5) == [0]


def test_after_so_many_failures_it_dies_and_a_release_is_none():
    cursor = Cursor()
    for number in range(MAX_DELIVER):
        assert take(cursor, 1) == [0]
        cursor.give_back(0, failed=False, delay_ms=0, max_deliver=MAX_DELIVER)
        assert take(cursor, 1) == [0]
        assert cursor.entries[0].failed == number
        fail(cursor, 0)
    assert cursor.entries[0].state == DYING and take(cursor, 1) == []
    cursor.rested(0)
    assert take(cursor, 1) == [0] and cursor.entries[0].failed == 0


def test_a_key_waits_for_its_head():
    keys = [7, 7, 8, None, 7]
    cursor = Cursor()
    assert take(cursor, 5, 5, keys) == [0, 2, 3], "one of each key; what has none is free"
    assert take(cursor, 5, 5, keys[4:], 4) == []
    fail(cursor, 0, delay_ms=100)
    assert take(cursor, 5, 5, [], 4) == [], "its head rests"
    cursor.rested(0)
    assert take(cursor, 5, 5, [], 4) == [0]
    cursor.settle(0)
    assert take(cursor, 5, 5, [], 4) == [1]


def test_a_trim_counts_what_was_not_done_as_lost():
    cursor = Cursor()
    take(cursor, 4, 3)
    cursor.settle(1)
    assert cursor.trim(5) == 4, "0 and 2 were out, 3 and 4 untouched"
    assert (cursor.floor, cursor.next, cursor.in_flight) == (5, 5, 0)
    assert cursor.lag(5, 9) == 4
    assert cursor.trim(5) == 0


def test_a_hole_does_not_let_the_window_grow_without_bound():
    cursor = Cursor()
    take(cursor, 1, 1)
    for _ in range(MAX_WINDOW):
        for offset in take(cursor, 1 << 40, 100):
            cursor.settle(offset)
    assert cursor.next == MAX_WINDOW and take(cursor, 1 << 40) == []
    cursor.settle(0)
    assert take(cursor, 1 << 40) == [MAX_WINDOW]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.booleans())
def test_nothing_is_lost_done_twice_or_out_of_its_keys_order(seed: int, ordered: bool):
    rng = random.Random(seed)
    cursor, end = Cursor(), 40
    keys = [rng.choice([None, 1, 2, 3]) for _ in range(end)]
    done: list[int] = []
    for _ in range(2000):
        out = [offset for offset, each in cursor.entries.items() if each.state == ACQUIRED]
        match rng.randrange(5):
            case 0:
                known = keys[cursor.next : cursor.next + 8] if ordered else None
                for offset in take(cursor, end, rng.randint(1, 4), known, cursor.next):
                    assert offset not in out and offset not in done
            case 1 if out:
                done.append(out[rng.randrange(len(out))])
                cursor.settle(done[-1])
            case 2 if out:
                offset = rng.choice(out)
                cursor.give_back(
                    offset, failed=rng.random() < 0.5, delay_ms=rng.choice([0, 9]), max_deliver=9
                )
            case 3:
                for offset in [o for o, each in cursor.entries.items()
                               if each.state in (RESTING, DYING)]:  # fmt: skip
                    cursor.rested(offset)
            case 4:
                cursor = Cursor.from_wire(msgpack.unpackb(msgpack.packb(cursor.to_wire())))
        count = sum(each.state == ACQUIRED for each in cursor.entries.values())
        assert cursor.in_flight == count
        free = [o for o, each in cursor.entries.items() if each.state == AVAILABLE]
        assert sorted(cursor.available) == sorted(free)
        assert cursor.lag(0, end) == end - len(done)
    assert sorted(done) == sorted(dict.fromkeys(done))
    assert cursor.floor == end or len(done) < end
    if ordered:
        for key in (1, 2, 3):
            of_key = [offset for offset in done if keys[offset] == key]
            assert of_key == sorted(of_key)


@pytest.mark.parametrize("state", [AVAILABLE, ACQUIRED, RESTING, DYING])
def test_every_state_survives_the_wire(state: int):
    cursor = Cursor(5)
    take(cursor, 9, 1)
    if state == RESTING:
        fail(cursor, 5, delay_ms=70)
    elif state == DYING:
        cursor.terminate(5)
    elif state == AVAILABLE:
        fail(cursor, 5)
    again = Cursor.from_wire(msgpack.unpackb(msgpack.packb(cursor.to_wire())))
    assert again.to_wire() == cursor.to_wire() and again.entries[5].state == state
    assert again.in_flight == cursor.in_flight and again.available == cursor.available
