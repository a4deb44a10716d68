"""Rows of a record that the log lost, made again on a state that has moved on."""

from __future__ import annotations

import random
from typing import Any

import pytest

from nodes.sql.machine import SqlMachine
from nodes.sql.recovering import transactions_of
from nodes.sql.state import SqlState, Transaction


def state(name: str, *statements: str) -> SqlState:
    machine = SqlMachine(name, lambda: 0.0, random.Random(1))
    for statement in statements:
        (outcome,) = machine.sql.execute([Transaction([statement])], 1).outcomes
        assert outcome.refusal is None, outcome.refusal
    return machine.sql


def lost(schema: tuple[str, ...], statements: list[Any], request_id: str = "") -> list[Transaction]:
    """The record of one transaction, on a state that nobody else has."""
    sql = state("old", *schema)
    group = sql.execute([Transaction(statements, request_id)], 9)
    sql.close()
    assert group.record is not None
    return transactions_of("recovered/db/2/9", group.record)


def again(sql: SqlState, transactions: list[Transaction]) -> str:
    """Why it was refused, or ""."""
    (outcome,) = sql.execute(transactions, 20).outcomes
    return "" if outcome.refusal is None else str(outcome.refusal.message)


AUDITED = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, n)",
    "CREATE TABLE audit (what INTEGER PRIMARY KEY NOT NULL)",
    "CREATE TRIGGER seen AFTER INSERT ON t BEGIN INSERT INTO audit VALUES (new.id); END",
)
PARENTS = (
    "CREATE TABLE p (id INTEGER PRIMARY KEY)",
    "CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p)",
    "INSERT INTO p VALUES (1)",
)


def test_what_triggers_did_is_done_once() -> None:
    sql = state("new", *AUDITED)
    assert again(sql, lost(AUDITED, ["INSERT INTO t VALUES (5, 1)"])) == ""
    assert sql.query("SELECT * FROM audit")["rows"] == [[5]]
    (outcome,) = sql.execute([Transaction(["INSERT INTO t VALUES (6, 1)"])], 21).outcomes
    assert outcome.refusal is None
    assert sql.query("SELECT count(*) FROM audit")["rows"] == [[2]], "triggers work again"


def test_no_row_refers_to_one_that_is_gone() -> None:
    sql = state("new", *PARENTS, "DELETE FROM p")
    refused = again(sql, lost(PARENTS, ["INSERT INTO c VALUES (7, 1)"]))
    assert refused == "c: a row would refer to one that is not there"
    assert sql.query("SELECT * FROM c")["rows"] == []


def test_a_row_that_its_rowid_names_gets_a_rowid_of_its_own_and_is_not_guessed_at() -> None:
    plain = ("CREATE TABLE t (n TEXT PRIMARY KEY NOT NULL)",)
    sql = state("new", *plain, "INSERT INTO t VALUES ('mine')")
    assert again(sql, lost(plain, ["INSERT INTO t VALUES ('lost')"])) == ""
    assert sql.query("SELECT rowid, n FROM t")["rows"] == [[1, "mine"], [2, "lost"]]
    there = (*plain, "INSERT INTO t VALUES ('x')")
    refused = again(sql, lost(there, ["DELETE FROM t"], "other"))
    assert refused == "t: its rowid names the row, and may be another's by now"


def test_a_transaction_is_made_again_whole_or_not_at_all() -> None:
    table = ("CREATE TABLE t (id INTEGER PRIMARY KEY, n)",)
    sql = state("new", *table, "INSERT INTO t VALUES (2, 'taken')")
    made = lost(table, [f"INSERT INTO t VALUES ({id}, 'lost')" for id in (1, 2, 3)])
    assert "UNIQUE" in again(sql, made)
    assert sql.query("SELECT id FROM t")["rows"] == [[2]]


def test_a_retry_of_its_client_hears_afterwards_what_it_would_have_heard_then() -> None:
    table = ("CREATE TABLE t (id INTEGER PRIMARY KEY, n)",)
    sql = state("new", *table)
    statements = ["INSERT INTO t VALUES (1, 'lost') RETURNING id"]
    (made,) = lost(table, statements, "mine")
    assert again(sql, [made]) == ""
    (outcome,) = sql.execute([Transaction(statements, "mine")], 30).outcomes
    assert outcome.repeated_lsn == 20
    assert outcome.results[0]["rows"] == [[1]]


def test_a_rehearsal_leaves_the_state_as_it_was_and_tells_one_after_the_other() -> None:
    table = ("CREATE TABLE t (id INTEGER PRIMARY KEY, n)",)
    sql = state("new", *table)
    before = sql.digests()
    first = lost(table, ["INSERT INTO t VALUES (1, 'a')"], "one")
    second = lost((*table, "INSERT INTO t VALUES (1, 'a')"), ["UPDATE t SET n = 'b'"], "two")
    schema = lost(table, ["CREATE TABLE u (x INTEGER PRIMARY KEY)"], "three")
    found = sql.rehearse_all([*first, *second, *second, *schema])
    assert [each.refusal is None for each in found] == [True] * 4
    assert [each.repeated_lsn for each in found] == [None, None, 0, None]
    assert sql.digests() == before


@pytest.mark.parametrize("request_id", ["", "mine"])
def test_a_changed_schema_is_made_again_by_its_statement(request_id: str) -> None:
    sql = state("new")
    (made,) = lost(
        (), ["CREATE TABLE u (x INTEGER PRIMARY KEY)", "CREATE INDEX v ON u (x)"], request_id
    )
    assert again(sql, [made]) == ""
    assert again(sql, [made]) == "", "it is known"
    assert sql.query("SELECT count(*) FROM u")["rows"] == [[0]]


@pytest.mark.parametrize("clause", ["ROLLBACK", "REPLACE", "IGNORE", "FAIL"])
def test_what_a_table_does_about_conflicts_neither_replaces_a_row_nor_ends_a_rehearsal(
    clause: str,
) -> None:
    table = (f"CREATE TABLE t (id INTEGER PRIMARY KEY ON CONFLICT {clause}, n)",)
    sql = state("new", *table, "INSERT INTO t VALUES (1, 'taken')")
    first = lost(table, ["INSERT INTO t VALUES (1, 'lost')"], "one")
    second = lost(table, ["INSERT INTO t VALUES (2, 'lost')"], "two")
    before = sql.digests()
    found = sql.rehearse_all([*first, *second])
    assert [each.refusal is None for each in found] == [False, True]
    assert sql.digests() == before, "a look writes nothing"
    assert "UNIQUE" in again(sql, first)
    assert sql.query("SELECT n FROM t")["rows"] == [["taken"]]


def test_an_update_replaces_no_other_row_either() -> None:
    table = ("CREATE TABLE t (id INTEGER PRIMARY KEY, n UNIQUE ON CONFLICT REPLACE)",
             "INSERT INTO t VALUES (1, 'mine')")  # fmt: skip
    sql = state("new", *table, "INSERT INTO t VALUES (2, 'new')")
    assert "UNIQUE" in again(sql, lost(table, ["UPDATE t SET n = 'new'"]))
    assert sql.query("SELECT id, n FROM t")["rows"] == [[1, "mine"], [2, "new"]]


def test_a_row_is_deleted_only_where_the_same_record_has_added_it() -> None:
    table = ("CREATE TABLE k (key TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID",
             "CREATE TABLE t (id INTEGER PRIMARY KEY)")  # fmt: skip
    sql = state("new", *table)
    passing = ["INSERT INTO k VALUES ('old')", "INSERT INTO t VALUES (1)", "DELETE FROM k"]
    assert again(sql, lost(table, passing, "one")) == ""
    there = (*table, "INSERT INTO t VALUES (1)")
    refused = again(sql, lost(there, ["DELETE FROM t"], "two"))
    assert refused == "t: a row was deleted: nobody knows if it is still that one"
    assert sql.query("SELECT id FROM t")["rows"] == [[1]]
