"""A large database as bytes and back, in steps, while its connection goes on writing."""

from __future__ import annotations

import random
from collections.abc import Iterator

import apsw
import pytest

from nodes.sql.copy import PAGE_BYTES, STEP_PAGES
from nodes.sql.state import SqlState
from protocols.stepping import at_once
from tests.nodes.sql.rig import executed, state

ROWS = 40


@pytest.fixture
def sql() -> Iterator[SqlState]:
    """About six steps of database."""
    made = state()
    executed(made, ["CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)"], 1)
    for number in range(ROWS):
        put(made, number, number)
    yield made
    made.close()


def put(made: SqlState, number: int, value: int) -> None:
    blob = random.Random(value).randbytes(160_000)
    executed(made, [["INSERT OR REPLACE INTO t VALUES (?, ?)", [number, blob]]], 2, f"r{value}")


def loaded(data: bytearray) -> SqlState:
    made = state()
    at_once(made.load_in_steps(data))()
    return made


def test_a_dump_holds_what_was_written_between_its_steps_and_nothing_that_was_undone(sql):
    steps, count = sql.dump_in_steps(), 0
    rng = random.Random(3)
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            data = ended.value
            break
        count += 1
        put(sql, rng.randrange(2 * ROWS), 1000 + count)
        sql.rehearse([["UPDATE t SET v = zeroblob(100000)"]])
        executed(sql, ["DELETE FROM t WHERE id = (SELECT min(id) FROM t)"], 3)
    assert count > len(data) // (PAGE_BYTES * STEP_PAGES) - 1 > 4
    copy = loaded(data)
    assert copy.digests() == sql.digests()
    assert copy._own("PRAGMA integrity_check") == [("ok",)]
    copy.close()


def test_a_state_is_what_it_was_until_another_is_put_in_its_place(sql):
    data = at_once(sql.dump_in_steps())
    other = state()
    empty = other.digests()
    become = at_once(other.load_in_steps(data))
    assert other.digests() == empty
    become()
    assert other.digests() == sql.digests()
    put(other, 7, 7000)  # it can be written to, and remembers who asked for what
    assert executed(other, ["DELETE FROM t"], 9, "r5").repeated_lsn == 2
    other.close()


def test_a_dump_can_be_given_up_when_the_state_is_replaced(sql):
    steps = sql.dump_in_steps()
    next(steps)
    sql.reset()
    steps.close()
    assert at_once(sql.dump_in_steps())


def test_copies_leave_no_file_system_of_theirs_behind(sql):
    before = apsw.vfs_names()
    loaded(at_once(sql.dump_in_steps())).close()
    assert apsw.vfs_names() == before
