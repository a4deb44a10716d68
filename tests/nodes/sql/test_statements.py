"""What a statement is, SQLite says: nothing that hides its first word makes another thing of it."""

from __future__ import annotations

import pytest

from nodes.sql.grammar import Grammar
from nodes.sql.state import SqlState
from protocols import database as words
from protocols.errors import RpcError
from tests.nodes.sql.rig import executed, state, with_table
from tests.nodes.sql.test_state import refused

BEFORE = ["", "\ufeff", " \ufeff ", ";;", "/* DROP */", "-- x\n", "/**/--\n/* a */;", "/* /* */"]
SCHEMA = [
    "CREATE TABLE z (id INTEGER PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS z (id INTEGER PRIMARY KEY)",
    "create/**/view z AS SELECT 1 AS id",
    "CREATE UNIQUE INDEX z ON t (n)",
    "CREATE TRIGGER z AFTER INSERT ON t BEGIN SELECT 1; SELECT ';'; END",
    "ALTER TABLE t RENAME TO z",
    "ALTER TABLE t ADD COLUMN z",
    "ALTER TABLE t DROP COLUMN n",
    "ALTER TABLE t RENAME COLUMN n TO z",
    "ALTER TABLE t ALTER COLUMN n SET NOT NULL",
    "REINDEX t",
    "DROP TABLE t",
]
CONTROL = ["BEGIN", "BEGIN IMMEDIATE", "COMMIT", "END TRANSACTION", "ROLLBACK", "SAVEPOINT a"]
CONTROL += ["RELEASE a", "ROLLBACK TO a", "EXPLAIN COMMIT"]


def pair() -> tuple[SqlState, SqlState]:
    return with_table(), with_table()


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("sql", SCHEMA)
def test_a_schema_change_reaches_replicas_whatever_stands_before_it(before, sql):
    primary, replica = pair()
    done = executed(primary, [before + sql + " /* the end */"], 2)
    assert done.results[0]["did"]
    assert done.record is not None
    replica.apply(done.record)
    assert replica.digests() == primary.digests()


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("sql", CONTROL)
def test_nobody_ends_or_begins_the_transaction_of_a_batch(before, sql):
    made = with_table()
    refused(made, "INSERT INTO t VALUES ('a', 1)", before + sql, match="a batch is the transaction")
    assert made.query("SELECT * FROM t")["rows"] == []
    with pytest.raises(RpcError):
        made.query(before + sql)


@pytest.mark.parametrize("before", BEFORE)
def test_a_query_that_would_write_says_so_to_programs(before):
    made = with_table()
    for sql in ("INSERT INTO t VALUES ('a', 1)", "WITH x AS (SELECT 1) DELETE FROM t", *SCHEMA):
        with pytest.raises(RpcError, match="use `write`") as caught:
            made.query(before + sql)
        assert caught.value.details == (words.WRITES,)
    for sql in ("SELECT 1 AS one", "VALUES (1)", "WITH x AS (SELECT 1) SELECT * FROM x"):
        assert made.query(before + sql)["rows"] == [[1]]
    assert made.query(before + "EXPLAIN DROP TABLE t")["rows"]


def test_what_a_statement_is_stays_known_when_others_have_been_forgotten():
    primary, replica = pair()
    alter = "ALTER TABLE t RENAME TO z"
    for lsn in range(2, 1200):
        record = executed(primary, [f"INSERT INTO t VALUES ('{lsn}', 1)"], lsn).record
        replica.apply(record or b"")
    for back in (alter, "ALTER TABLE z RENAME TO t", alter):
        replica.apply(executed(primary, [back], 2000).record or b"")
    assert replica.digests() == primary.digests()


@pytest.mark.parametrize(
    ("sql", "makes"),
    [
        ("DROP TABLE IF EXISTS z", "CREATE TABLE z (id INTEGER PRIMARY KEY)"),
        ("DROP INDEX IF EXISTS z", "CREATE INDEX z ON t (n)"),
        ("DROP VIEW IF EXISTS z", "CREATE VIEW z AS SELECT 1"),
        ("DROP TRIGGER IF EXISTS z", "CREATE TRIGGER z AFTER INSERT ON t BEGIN SELECT 1; END"),
        ("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY)", "ALTER TABLE t RENAME TO u"),
    ],
)
def test_what_a_statement_changes_depends_on_the_schema_that_it_meets(sql, makes):
    """It was first seen where it had nothing to do."""
    primary, replica = pair()
    for lsn, each in enumerate([sql, sql, makes, sql, makes.replace("TO u", "TO v"), sql], 2):
        record = executed(primary, [each], lsn).record
        if record is not None:
            replica.apply(record)
        assert replica.digests() == primary.digests(), each


def test_vacuum_and_analyze_are_refused_for_what_they_are():
    made = with_table()
    refused(made, "VACUUM", match="VACUUM is not allowed")
    for sql in ("ANALYZE", "ANALYZE t", "\ufeffANALYZE main"):
        refused(made, sql, match="ANALYZE is not allowed")


@pytest.mark.parametrize(
    ("sql", "control"),
    [
        ("begin", "BEGIN"),
        ("\ufeffBEGIN EXCLUSIVE;", "BEGIN"),
        ("/* a */ end -- b", "COMMIT"),
        (";commit;;", "COMMIT"),
        ("ROLLBACK", "ROLLBACK"),
        ("BEGIN; SELECT 1", ""),
        ("EXPLAIN BEGIN", ""),
        ("SELECT 'BEGIN'", ""),
        ("BEGINS", ""),
        ("", ""),
        ("BEGIN\0", ""),
        ("INSERT INTO nowhere VALUES (1)", ""),
    ],
)
def test_who_begins_or_ends_a_transaction_is_found_without_tables(sql, control):
    assert Grammar().control(sql) == control


def test_only_spaces_and_comments_are_no_statement():
    grammar = Grammar()
    for empty in ("", " ", ";", "-- x", "/* x", "\ufeff;\n--\n;"):
        assert grammar.is_empty(empty)
    for sql in ("x", "SELECT 1", "-- x\nDROP TABLE t", "'", "\0"):
        assert not grammar.is_empty(sql)
    assert grammar.control(state.__name__) == ""
