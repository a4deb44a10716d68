"""Functions of ours give what SQLite's give; no call is long; none tells of other clients."""

from __future__ import annotations

import time

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.sql.rules import HOLD_S
from nodes.sql.state import SqlState
from protocols.errors import RpcError
from tests.nodes.sql.rig import executed, state, with_table
from tests.nodes.sql.test_rules import HOLD_LIMIT_S

OURS = state()
PLAIN = apsw.Connection(":memory:")
TEXTS = st.text(st.sampled_from("ab é☃0.\0%-"), max_size=8)
VALUES = st.one_of(
    TEXTS,
    st.none(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False),
    st.binary(max_size=4).filter(lambda data: data.isascii()),
)


@pytest.mark.parametrize("call", ["trim(?, ?)", "ltrim(?, ?)", "rtrim(?, ?)", "instr(?, ?)"])
@settings(max_examples=300, deadline=None)
@given(first=VALUES, second=VALUES)
def test_functions_of_two_are_sqlites(call, first, second):
    same(f"SELECT {call}, typeof({call})", first, second)


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.sampled_from("04aF -é\0\n"), max_size=8) | VALUES,
    st.text(st.sampled_from(" -é\0\na"), max_size=3) | VALUES,
)
def test_unhex_is_sqlites(first, second):
    same("SELECT unhex(?, ?), typeof(unhex(?, ?))", first, second)


@settings(max_examples=300, deadline=None)
@given(VALUES, VALUES, VALUES)
def test_replace_is_sqlites(first, second, third):
    same("SELECT replace(?, ?, ?), typeof(replace(?, ?, ?))", first, second, third)


def same(sql: str, *params: object) -> None:
    parts = sql.split("?")
    numbered = parts[0] + "".join(
        f"?{place % len(params) + 1}{part}" for place, part in enumerate(parts[1:])
    )
    wanted = [list(row) for row in PLAIN.execute(numbered, params)]
    assert repr(OURS.query(numbered, params)["rows"]) == repr(wanted)


LONG = "printf('%.{}c', '{}')"
A, Z = LONG.format(500_000, "a"), LONG.format(500_000, "z")
MANY = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {}) SELECT {} FROM c"
WORK = [
    f"SELECT length(trim({Z}, {LONG.format(250_000, 'a')} || 'z'))",
    f"SELECT length(ltrim({A}, 'a')), length(rtrim({A}, 'a'))",
    f"SELECT instr({A}, {LONG.format(200_000, 'a')} || 'b')",
    f"SELECT length(replace({A}, {LONG.format(10_000, 'a')} || 'b', ''))",
    f"SELECT length(replace({A}, 'a', {A}))",
    f"SELECT {A} LIKE '%{'a' * 60}b'",
    f"SELECT {A} LIKE '{'%a' * 30}b'",
    f"SELECT {A} LIKE '%{'a' * 100}b'",
    f"SELECT {A} GLOB '*{'a' * 60}b'",
    "SELECT json_patch('{}', '{}')",
    MANY.format(100_000, f"sum(length({A} || x))"),
    MANY.format(100_000, f"max({A} || x)"),
    MANY.format(2000, f"length(group_concat({A}))"),
    MANY.format(100_000, "sum(length(hex(zeroblob(200000 + x))))"),
    MANY.format(5000, "group_concat(x || 'aaaaaaaaaa') OVER (ROWS 4000 PRECEDING)"),
    MANY.format(100_000, "sum(length(trim(x || '          ', ' ')))"),
    f"SELECT json_extract('[{'1,' * 100_000}1]', '$[99999]')",
    f"SELECT unhex({LONG.format(250_000, 'z')}, {LONG.format(250_000, 'a')} || 'z')",
    f"SELECT {', '.join([f'unhex({Z}, {A})'] * 90)}",
    f"SELECT {', '.join([f'trim({Z}, {A})'] * 90)}",
    f"SELECT length(json_pretty('{'[' * 900}{']' * 900}', {LONG.format(20_000, ' ')}))",
    f"SELECT length(json_pretty('{'[' * 900}{'1,' * 50_000}1{']' * 900}'))",
    MANY.format(20_000, "x") + f" ORDER BY {A} || x",
    f"SELECT count(DISTINCT x || {A}) FROM ({MANY.format(20_000, 'x')})",
]


@pytest.mark.parametrize("query", WORK)
def test_no_call_and_no_step_holds_the_node_for_long(query):
    made = SqlState("held", lambda: 0.0, OURS.chance.rng, time.thread_time)
    began_s = time.thread_time()
    try:
        made.query(query)
    except RpcError as error:
        assert error.code in ("refused", "too_large", "bad_request")
    assert time.thread_time() - began_s < HOLD_S + HOLD_LIMIT_S
    assert made.query("SELECT 1")["rows"] == [[1]]
    made.close()


def test_what_held_the_node_is_said():
    made = SqlState("held", lambda: 0.0, OURS.chance.rng, time.thread_time)
    with pytest.raises(RpcError, match="held the node for more than"):
        made.query(MANY.format(100_000, f"sum(length({A} || x))"))
    with pytest.raises(RpcError, match="its work grows with the square"):
        made.query("SELECT json_patch('{}', '{}')")
    made.close()


def test_what_a_connection_knows_is_asked_of_the_transaction_alone():
    made = with_table()
    told = "SELECT last_insert_rowid(), changes(), total_changes()"
    for lsn in (2, 3):
        batch = [told, f"INSERT INTO t VALUES ('{lsn}', 1), ('{lsn}x', 2)", told]
        results = executed(made, [*batch, "UPDATE t SET n = 0", told], lsn).results
        seen = [each["rows"][0] for each in results[::2]]
        rowid = 2 * (lsn - 1)
        count = 2 * (lsn - 1)
        assert seen == [[0, 0, 0], [rowid, 2, 2], [rowid, count, 2 + count]]
    for name in ("last_insert_rowid", "changes", "total_changes"):
        with pytest.raises(RpcError, match="clients share those"):
            made.query(f"SELECT {name}()")


def test_statements_that_are_run_again_are_told_the_same():
    made = with_table()
    told = "SELECT last_insert_rowid(), changes(), total_changes()"
    steps = [told, "INSERT INTO t VALUES ('a', total_changes()) RETURNING n", told]
    seen = [made.rehearse(steps[: count + 1])[-1]["rows"] for count in range(3)]
    assert seen == [each["rows"] for each in executed(made, steps, 2).results]


def test_changes_inside_of_a_statement_are_not_those_of_an_earlier_transaction():
    made = with_table()
    again = (
        "CREATE TRIGGER again AFTER UPDATE ON t BEGIN UPDATE t SET id = id WHERE id = new.id; END"
    )
    executed(made, [again], 2)
    executed(made, ["INSERT INTO t VALUES ('1', 1), ('2', 2), ('3', 3)"], 3)
    update = "UPDATE t SET n = changes() RETURNING n"
    rehearsed = made.rehearse([update])[-1]["rows"]
    assert rehearsed == executed(made, [update], 4).results[-1]["rows"]
    assert set(map(tuple, rehearsed)) == {(0,)}


NO_UTF8 = "CAST(x'61ff62' AS TEXT)"


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        (f"SELECT {NO_UTF8}", [["a\ufffdb"]]),
        (
            f"SELECT {NO_UTF8} AS a, 1, NULL, x'ff', 1.5; -- end",
            [["a\ufffdb", 1, None, b"\xff", 1.5]],
        ),
        (f"VALUES (1, 'x'), (2, {NO_UTF8})", [[1, "x"], [2, "a\ufffdb"]]),
        (f"WITH x AS (SELECT {NO_UTF8} AS y) SELECT y, y FROM x -- end", [["a\ufffdb"] * 2]),
        (f"SELECT ? || {NO_UTF8} ORDER BY 1", [["pa\ufffdb"]]),
    ],
)
def test_a_text_that_is_no_utf8_is_shown_as_well_as_can_be(sql, rows):
    made = with_table()
    params = ["p"] if "?" in sql else []
    assert made.query(sql, params)["rows"] == rows
    assert made.query(sql, params, 10)["rows"] == rows
    assert executed(made, [[sql, params]], 2).results[0]["rows"] == rows


@pytest.mark.parametrize(
    "sql",
    [
        f"INSERT INTO t VALUES ('a', {NO_UTF8})",
        f"INSERT INTO t VALUES ('a', 1) RETURNING {NO_UTF8}",
        f"UPDATE t SET n = {NO_UTF8}",
    ],
)
def test_a_text_that_is_no_utf8_is_not_stored(sql):
    made = with_table()
    executed(made, ["INSERT INTO t VALUES ('b', 1)"], 2)
    before = made.digests()
    with pytest.raises(RpcError, match="not UTF-8: CAST it to a BLOB"):
        executed(made, [sql], 3)
    assert made.digests() == before


def test_a_text_that_is_no_utf8_is_not_stored_beside_a_virtual_column_either():
    made = state()
    executed(made, ["CREATE TABLE g (id INTEGER PRIMARY KEY, v, w AS (1))"], 1)
    for sql in (f"INSERT INTO g VALUES (1, {NO_UTF8})", f"REPLACE INTO g VALUES (1, {NO_UTF8})"):
        with pytest.raises(RpcError, match="not UTF-8: CAST it to a BLOB"):
            executed(made, [sql], 3)
    assert made.query("SELECT * FROM g")["rows"] == []


def test_a_column_that_makes_such_texts_breaks_neither_select_nor_digest():
    primary, replica = state(), state()
    for lsn, sql in enumerate(
        [
            "CREATE TABLE b (id INTEGER PRIMARY KEY, b BLOB, t AS (CAST(b AS TEXT)))",
            "INSERT INTO b VALUES (1, x'ff')",
            "INSERT INTO b VALUES (2, x'61')",
        ],
        1,
    ):
        replica.apply(executed(primary, [sql], lsn).record or b"")
    for made in (primary, replica):
        assert made.query("SELECT * FROM b")["rows"] == [[1, b"\xff", "\ufffd"], [2, b"a", "a"]]
    assert primary.digests() == replica.digests()


def test_a_refused_text_leaves_no_statement_open_behind_whoever_keeps_the_error():
    """Nobody could drop a table. (Where a column is virtual, rows are read again at the end.)"""
    made = state()
    executed(made, ["CREATE TABLE g (k INTEGER PRIMARY KEY, v TEXT, w AS (k) VIRTUAL)"], 1)
    with pytest.raises(RpcError, match="not UTF-8") as kept:
        executed(made, ["INSERT INTO g (v) VALUES (CAST(x'ff' AS TEXT))"], 2)
    executed(made, ["DROP TABLE g"], 2)
    assert kept.value.definite
