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


KEYS = {
    "binary beside a rule of its column": "k TEXT COLLATE NOCASE NOT NULL,"
    " PRIMARY KEY (k COLLATE BINARY)",
    "no case beside a binary column": "k TEXT NOT NULL, PRIMARY KEY (k COLLATE NOCASE)",
    "no blanks at the end": "k NOT NULL COLLATE RTRIM PRIMARY KEY",
    "of any type": "k NOT NULL PRIMARY KEY",
    "of numbers, mostly": "k NUMERIC NOT NULL PRIMARY KEY",
    "backwards": "k NOT NULL, PRIMARY KEY (k DESC)",
    "one and another": "k NOT NULL, n NOT NULL, PRIMARY KEY (n DESC, k COLLATE NOCASE)",
    "one by two rules": "k TEXT NOT NULL, PRIMARY KEY (k COLLATE NOCASE, k)",
    "behind what is made": "g AS (typeof(k)) STORED, v, k NOT NULL PRIMARY KEY",
}
VALUES = (
    0, -1, 1, 1.5, -0.5, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, -(2**63), float("inf"),
    float("-inf"), 1e-320, "", "0", "1", "1.5", "1e3", "a", "A", "b", "B ", "b ", "\0", "a\0b",
    "ä", "Ä", "𝔸", "0x10", " 7", b"", b"a", b"\0", b"\xff", b"1",
)  # fmt: skip


@pytest.mark.parametrize("keys", KEYS)
def test_each_row_of_a_table_without_rowids_is_seen_once(
    keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = state()
    executed(made, [f"CREATE TABLE t ({KEYS[keys]}) WITHOUT ROWID"], 1)
    more = ", n" if " n " in KEYS[keys] else ""
    values = [*VALUES, *(f"{each}-{number}" for each in "aAbB" for number in range(5))]
    for lsn, value in enumerate(values, 2):
        other = [lsn % 3] if more else []
        insert = f"INSERT OR IGNORE INTO t (k{more}) VALUES (?{', ?' if more else ''})"
        executed(made, [[insert, [value, *other]]], lsn)
    whole = made.digests()["t"]
    assert int(whole.split()[0]) > 30
    for rows in (1, 2, 7):
        monkeypatch.setattr("nodes.sql.digest.STEP_ROWS", rows)
        assert made.digests()["t"] == whole
    made.close()


def test_the_pages_of_a_table_without_rowids_cost_the_same() -> None:
    made = state()
    executed(made, ["CREATE TABLE t (a TEXT, b INT, PRIMARY KEY (a, b)) WITHOUT ROWID"], 1)
    fill = "WITH c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < 3999)"
    for part in range(2):
        executed(made, [f"{fill} INSERT INTO t SELECT 'part {part}', n FROM c"], 2 + part)
    steps = []
    made.db.set_progress_handler(lambda: bool(steps.append(1)), 100)
    total = made.digests()["t"]
    made.db.set_progress_handler(None)
    assert total.startswith("8000 rows, ") and len(steps) < 8000 * 30 // 100
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
