"""A large database as bytes and back, in steps, while its connection goes on writing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import apsw
import pytest

from emu.live.files import LiveFiles, OpenFiles
from nodes.sql.copy import PAGE_BYTES, STEP_PAGES, Scratch
from nodes.sql.state import SqlState
from protocols.stepping import at_once
from tests.nodes.sql.rig import executed, state

ROWS = 40


@pytest.fixture(params=["memory", "file"])
def scratch(request: pytest.FixtureRequest, tmp_path: Path) -> Scratch:
    return (
        LiveFiles(tmp_path / "n", OpenFiles()).scratch if request.param == "file" else nullcontext
    )


@pytest.fixture
def sql(scratch: Scratch) -> Iterator[SqlState]:
    """About six steps of database."""
    made = state(scratch=scratch)
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


@pytest.mark.parametrize("other_in", ["memory", "file"])
def test_a_state_is_what_it_was_until_another_is_put_in_its_place(sql, tmp_path, other_in):
    data = at_once(sql.dump_in_steps())
    there = LiveFiles(tmp_path / "other", OpenFiles()).scratch
    other = state(scratch=there if other_in == "file" else nullcontext)
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


def test_what_is_in_a_file_fills_no_memory_and_leaves_no_file(tmp_path):
    made = {"memory": state(), "file": state(scratch=LiveFiles(tmp_path, OpenFiles()).scratch)}
    taken = {}
    for where, sql in made.items():
        before = apsw.memory_used()
        executed(sql, ["CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)"], 1)
        for number in range(100):
            put(sql, number, number)
        taken[where] = apsw.memory_used() - before
        assert list(tmp_path.iterdir()) == [], "its name is gone"
    assert made["file"].digests() == made["memory"].digests()
    assert taken["memory"] > 16_000_000 and taken["file"] < 3_000_000, taken
    for sql in made.values():
        sql.close()


def test_copies_leave_no_file_system_of_theirs_behind(sql):
    before = apsw.vfs_names()
    loaded(at_once(sql.dump_in_steps())).close()
    assert apsw.vfs_names() == before
