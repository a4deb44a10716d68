"""Transactions that share a record: each whole or not at all; replicas get what came of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.sql import state as sql
from nodes.sql.state import Group, SqlState, Transaction
from protocols.errors import RpcError
from tests.nodes.sql.rig import executed, state, with_table
from tests.nodes.sql.test_state import STATEMENTS, rows


def together(made: SqlState, *batches: Any, lsn: int = 9) -> Group:
    return made.execute([Transaction(each) for each in batches], lsn)


def insert(key: str, n: int = 0) -> list[Any]:
    return ["INSERT INTO t VALUES (?, ?)", [key, n]]


def refusals(group: Group) -> list[str]:
    return [each.refusal.code if each.refusal else "" for each in group.outcomes]


def test_one_record_carries_what_all_of_a_group_did():
    primary, replica = with_table(), with_table()
    group = together(primary, [insert("a")], [insert("b")], ["UPDATE t SET n = n + 1"])
    assert [each.results[-1]["changes"] for each in group.outcomes] == [1, 1, 2]
    assert group.record is not None
    replica.apply(group.record)
    assert rows(replica) == rows(primary) == [["a", 1], ["b", 1]]


def test_a_refused_transaction_takes_nothing_of_its_group_with_it():
    primary, replica = with_table(), with_table()
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
    group = together(
        primary,
        [insert("a")],
        [insert("b"), insert("a")],
        ["INSERT OR ROLLBACK INTO t VALUES ('a', 3)"],
        ["nonsense"],
        [insert("c")],
        [endless + "INSERT INTO t SELECT 'x' || x, x FROM c"],
    )
    assert refusals(group) == ["", "refused", "refused", "bad_request", "", "refused"]
    assert group.record is not None
    replica.apply(group.record)
    assert rows(replica) == rows(primary) == [["a", 0], ["c", 0]]


def test_a_group_that_changed_nothing_has_no_record():
    group = together(with_table(), ["UPDATE t SET n = 1"], [insert("a"), insert("a")])
    assert refusals(group) == ["", "refused"]
    assert group.record is None


def test_a_request_that_comes_twice_is_done_once_even_within_one_group():
    made = with_table()
    request = Transaction([insert("a")], "request-1")
    (first, again), _ = made.execute([request, request], 2)
    assert (first.repeated_lsn, again.repeated_lsn) == (None, 2)
    assert again.results == first.results
    assert rows(made) == [["a", 0]]


def test_a_schema_change_is_a_record_of_its_own():
    primary, replica = state(), state()
    create = ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, n INTEGER)"]
    todo: list[Any] = [
        create,
        [insert("a")],
        ["ALTER TABLE t ADD COLUMN m INTEGER"],
        ["UPDATE t SET m = 1"],
    ]
    sizes = []
    while todo:
        group = together(primary, *todo)
        assert group.record is not None
        replica.apply(group.record)
        sizes.append(len(group.outcomes))
        del todo[: sizes[-1]]
    assert sizes == [1, 1, 1, 1]
    assert replica.digests() == primary.digests()


def test_a_group_ends_where_its_record_is_full(monkeypatch):
    primary, replica = with_table(), with_table()
    large = ["INSERT INTO t VALUES (?, 0)", ["x" * 40_000]]
    other = ["INSERT INTO t VALUES (?, 0)", ["y" * 40_000]]
    assert len(together(primary, [large], [other], [insert("a")]).outcomes) == 2
    monkeypatch.setattr(sql, "MAX_RECORD_BYTES", 30_000)
    group = together(replica, [insert("a")], [large], [insert("b")])
    assert refusals(group) == [""]
    assert refusals(together(replica, [large], [insert("b")])) == ["too_large", ""]
    assert rows(replica) == [["a", 0], ["b", 0]]


def test_a_group_of_many_statements_or_steps_leaves_the_others_to_the_next():
    made = with_table()
    many = [["UPDATE t SET n = 1"]] * 200
    assert len(together(made, many, many, many).outcomes) == 2
    count = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 20000) "
    slow = [count + "SELECT count(*) FROM c"]
    assert len(together(made, slow, slow, slow, slow).outcomes) < 4


def test_values_that_a_group_exchanges_under_a_unique_index_reach_the_replicas():
    primary, replica = with_table(), with_table()
    for made in (primary, replica):
        executed(made, ["CREATE UNIQUE INDEX one ON t (n)"], 2)
        executed(made, [insert("a", 1), insert("b", 2)], 3)
    moves = [("a", 3), ("b", 1), ("a", 2)]
    group = together(
        primary, *([["UPDATE t SET n = ? WHERE id = ?", [n, key]]] for key, n in moves)
    )
    assert group.record is not None
    replica.apply(group.record)
    assert rows(replica) == rows(primary) == [["a", 2], ["b", 1]]


def test_a_deferred_constraint_refuses_at_the_end_and_leaves_nothing_open():
    made = state()
    executed(made, ["CREATE TABLE p (id INTEGER PRIMARY KEY)"], 1)
    child = "p INTEGER REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED"
    executed(made, [f"CREATE TABLE c (id INTEGER PRIMARY KEY, {child})"], 2)
    good = ["INSERT INTO c VALUES (2, 6)", "INSERT INTO p VALUES (6)"]
    assert refusals(together(made, ["INSERT INTO c VALUES (1, 5)"], good)) == ["refused", ""]
    assert rows(made, "SELECT * FROM c") == [[2, 6]]


def test_a_table_that_others_refer_to_can_be_dropped():
    primary, replica = state(), state()
    for batch in (
        ["CREATE TABLE p (id INTEGER PRIMARY KEY)"],
        ["CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p (id) ON DELETE CASCADE)"],
        ["INSERT INTO p VALUES (1)", "INSERT INTO c VALUES (1, 1)"],
        ["DROP TABLE p"],
    ):
        record = executed(primary, batch, 1).record
        assert record is not None
        replica.apply(record)
    assert replica.digests() == primary.digests()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(STATEMENTS, min_size=1, max_size=3), min_size=1, max_size=12),
    st.integers(1, 5),
)
def test_a_group_gives_the_state_and_the_answers_that_one_by_one_gives(batches, size):
    grouped, replica, alone = with_table(), with_table(), with_table()
    asked = [Transaction(batch, f"request-{n}") for n, batch in enumerate(batches)]
    answers = []
    for lsn, start in enumerate(range(0, len(asked), size), 2):
        outcomes, record = grouped.execute(asked[start : start + size], lsn)
        answers += [each.results for each in outcomes]
        assert record is not None
        replica.apply(record)
    one_by_one = [executed(alone, each.statements, 2, each.request_id).results for each in asked]
    assert answers == one_by_one
    assert rows(grouped) == rows(replica) == rows(alone)
    assert replica.digests() == grouped.digests()


def test_schema_changes_that_do_nothing_go_with_those_that_do_something():
    several = [
        "CREATE TABLE IF NOT EXISTS a (k TEXT PRIMARY KEY NOT NULL)",
        "CREATE TABLE IF NOT EXISTS b (k TEXT PRIMARY KEY NOT NULL)",
        "CREATE INDEX IF NOT EXISTS by_k ON b (k)",
    ]
    for first in several:
        primary, replica = state(), state()
        for lsn, batch in enumerate(([first] if "INDEX" not in first else [], several, several), 1):
            record = executed(primary, batch, lsn).record if batch else None
            if record is not None:
                replica.apply(record)
        assert executed(replica, ["SELECT name FROM sqlite_schema"], 9).results == (
            executed(primary, ["SELECT name FROM sqlite_schema"], 9).results
        )


def test_schema_changes_do_not_mix_with_rows_or_questions():
    made = with_table()
    create = "CREATE TABLE c (k TEXT PRIMARY KEY NOT NULL)"
    for mixed in ([create, insert("a")], [insert("a"), create], ["SELECT 1", create]):
        with pytest.raises(RpcError, match="a batch of their own"):
            executed(made, mixed, 2)
    assert rows(made) == []
