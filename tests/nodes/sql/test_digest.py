"""What copies hold is compared without holding up whoever shares the loop."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import trio

from nodes.sql.digest import STEP_ROWS, in_steps
from nodes.sql.state import SqlState
from protocols.errors import RpcError
from tests.nodes.sql.rig import executed, state

TABLES = (
    "CREATE TABLE plain (id INTEGER PRIMARY KEY, v TEXT)",
    "CREATE TABLE named (k TEXT PRIMARY KEY NOT NULL, v) WITHOUT ROWID",
    "CREATE TABLE pairs (a TEXT NOT NULL, b INTEGER NOT NULL, PRIMARY KEY (a, b))",
)
ROWS = 2 * STEP_ROWS + 1


def filled(order: int) -> SqlState:
    """Its rows were written in an order of its own, all the same by rowid."""
    made = state()
    executed(made, list(TABLES), 1)
    numbers = [*range(ROWS)]
    random.Random(order).shuffle(numbers)
    for start in range(0, ROWS, 40):
        some = numbers[start : start + 40]
        sets = [["INSERT INTO plain VALUES (?, ?)", [each, f"v{each}"]] for each in some]
        sets += [["INSERT INTO named VALUES (?, ?)", [f"k{each}", each]] for each in some]
        sets += [["INSERT INTO pairs (rowid, a, b) VALUES (?, 'a', ?)", [each, each]]
                 for each in some]  # fmt: skip
        executed(made, sets, 2 + start)
    return made


@pytest.fixture(scope="module")
def copies() -> Iterator[tuple[SqlState, SqlState]]:
    pair = filled(1), filled(2)
    yield pair
    for each in pair:
        each.close()


def test_copies_that_hold_the_same_say_the_same_in_steps(copies):
    one, other = copies
    steps = one.digests_in_steps()
    assert len([*steps]) == 3 * (ROWS // STEP_ROWS)
    assert one.digests() == other.digests()
    assert one.digests()["named"].startswith(f"{ROWS} rows, ")


def test_one_row_in_any_step_makes_the_difference(copies):
    _, other = copies
    changes = {
        f"UPDATE plain SET v = 'x' WHERE id = {ROWS - 1}": "plain",
        f"UPDATE named SET v = '7' WHERE k = 'k{STEP_ROWS}'": "named",
        f"UPDATE pairs SET rowid = 5000 WHERE rowid = {STEP_ROWS}": "pairs",
        "DELETE FROM pairs WHERE b = 0": "pairs",
        "CREATE INDEX i ON plain (v)": "sqlite_schema",
    }
    before = other.digests()
    for lsn, (change, table) in enumerate(changes.items(), 9000):
        executed(other, [change], lsn)
        now = other.digests()
        assert [name for name in before if before[name] != now[name]] == [table], change
        before = now


def test_large_values_are_looked_at_a_few_at_a_time():
    made = state()
    executed(made, ["CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)"], 1)
    for number in range(6):
        executed(made, [["INSERT INTO t VALUES (?, zeroblob(400000))", [number]]], 2 + number)
    assert len([*made.digests_in_steps()]) == 2
    assert made.digests()["t"].startswith("6 rows, ")
    made.close()


def test_a_table_may_go_between_the_steps_for_the_database_is_not_held(copies):
    one, _ = copies
    steps = one.digests_in_steps()
    next(steps)
    executed(one, ["INSERT INTO pairs VALUES ('late', 1)"], 9000)
    executed(one, ["DROP TABLE plain"], 9001)

    async def asked() -> dict[str, str]:
        return await in_steps(Clock(), steps)  # type: ignore[arg-type]

    with pytest.raises(RpcError, match="its tables change just now"):
        trio.run(asked)
    assert "plain" not in one.digests()


class Clock:
    async def sleep(self, seconds: float) -> None:
        await trio.lowlevel.checkpoint()
