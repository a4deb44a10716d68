"""REPLACE whose deletion comes back to the row that is being updated: stock SQLite loses rows from
indexes and leaves references that dangle. It is refused where it happens, and only there."""

from __future__ import annotations

import pytest

from nodes.sql.state import SqlState
from tests.nodes.sql.rig import executed, state
from tests.nodes.sql.test_state import refused

TREE = "CREATE TABLE s (a INTEGER PRIMARY KEY, b UNIQUE, c REFERENCES s (a) ON DELETE {}{}){}"
ROWS = "INSERT INTO s (a, b, c) VALUES (1, 1, NULL), (2, 2, 1), (3, 3, 1), (4, 4, 2)"


def tree(action: str, column: str = "", kind: str = "") -> SqlState:
    made = state()
    executed(made, [TREE.format(action, column, kind), "CREATE INDEX i ON s (c)"], 1)
    executed(made, [ROWS], 2)
    return made


def is_whole(made: SqlState) -> bool:
    found = made._own("PRAGMA integrity_check") + made._own("PRAGMA foreign_key_check")
    return found == [("ok",)]


@pytest.mark.parametrize("action", ["SET NULL", "SET DEFAULT"])
@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("", ""),
        ("", " WITHOUT ROWID"),
        (", g AS (b + 1)", ""),  # SQLite's hook does not show its rows
        (", g AS (b + 1) STORED", " WITHOUT ROWID"),
    ],
)
def test_an_update_that_replaces_the_parent_of_its_own_row_is_refused(action, column, kind):
    made = tree(action, column, kind)
    before = made.digests()
    for sql in ("UPDATE OR REPLACE s SET b = 1 WHERE a = 2", "UPDATE OR REPLACE s SET b = 1"):
        refused(made, sql, code="refused", match="REPLACE deleted a row")
    assert made.digests() == before and is_whole(made)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE OR REPLACE s SET b = 2 WHERE a = 3",  # its row is no child of that
        "UPDATE OR REPLACE s SET b = 1, c = NULL WHERE a = 3",  # and says itself what becomes of it
        "UPDATE OR REPLACE s SET b = 9 WHERE a = 2",
        "REPLACE INTO s VALUES (9, 1, 2)",
        "INSERT INTO s VALUES (9, 1, 2) ON CONFLICT (b) DO UPDATE SET c = 2",
    ],
)
def test_what_does_not_come_back_to_its_row_is_done(sql):
    primary, replica = tree("SET NULL"), tree("SET NULL")
    replica.apply(executed(primary, [sql], 3).record)
    assert primary.digests() == replica.digests() and is_whole(primary)


def test_statements_of_one_transaction_are_not_taken_for_one():
    made = tree("SET NULL")
    executed(made, ["DELETE FROM s WHERE a = 1", "INSERT INTO s VALUES (1, 1, NULL)"], 3)
    executed(made, ["DELETE FROM s WHERE a = 1", "UPDATE s SET c = 4 WHERE a = 2"], 4)
    assert made.query("SELECT a, c FROM s ORDER BY a")["rows"] == [[2, 4], [3, None], [4, 2]]


@pytest.mark.parametrize(
    "more",
    [
        [
            "CREATE TABLE child (id INTEGER PRIMARY KEY, s REFERENCES s (a) ON DELETE CASCADE)",
            "CREATE TRIGGER r AFTER DELETE ON child BEGIN UPDATE s SET c = old.id WHERE b = 2; END",
        ],
        [
            "CREATE TABLE child (id INTEGER PRIMARY KEY, s REFERENCES s (a) ON DELETE SET NULL)",
            "CREATE TRIGGER q AFTER UPDATE ON child BEGIN UPDATE s SET c = 4 WHERE a = 2; END",
        ],
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_the_way_back_may_lead_over_other_tables(more, inside):
    made = tree("NO ACTION DEFERRABLE INITIALLY DEFERRED")
    sql = "UPDATE OR REPLACE s SET b = 1 WHERE a = 2"
    executed(made, more, 3)
    if inside:
        executed(made, ["CREATE TABLE z (id INTEGER PRIMARY KEY)"], 4)
        executed(made, [f"CREATE TRIGGER z1 AFTER INSERT ON z BEGIN {sql}; END"], 5)
        sql = "INSERT INTO z VALUES (1)"
    executed(made, ["INSERT INTO child VALUES (3, 1)"], 6)
    before = made.digests()
    refused(made, sql, code="refused", match="s: REPLACE deleted a row")
    assert made.digests() == before and is_whole(made)
