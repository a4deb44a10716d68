"""What SQL may not do on a node, how it is told, and that nothing of it stays behind."""

from __future__ import annotations

import time

import apsw
import pytest

from nodes.sql import state as sql
from nodes.sql.state import SqlState
from protocols.errors import RpcError
from tests.nodes.sql.rig import executed, state, with_table
from tests.nodes.sql.test_state import refused, rows

COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c"
HOLD_LIMIT_S = 0.5  # of this thread's own time: a busy machine takes its turn in between
"""What the budgets keep below 50 ms on a quiet machine (measured: 45), with room for a busy one."""


def pair() -> tuple[SqlState, SqlState]:
    return state(), state()


def both(primary: SqlState, replica: SqlState, *statements: str) -> None:
    """Run each as a transaction, and repeat its record on the replica."""
    for lsn, statement in enumerate(statements, 1):
        record = executed(primary, [statement], lsn).record
        if record is not None:
            replica.apply(record)


def filled() -> SqlState:
    made = with_table()
    for lsn in range(2, 12):
        executed(made, [f"{COUNT} LIMIT 2000) INSERT INTO t SELECT x || '/{lsn}', x FROM c"], lsn)
    return made


def test_a_query_that_was_once_run_as_a_write_still_does_not_write():
    made = with_table()
    insert = "INSERT INTO t VALUES ('a', 1)"
    executed(made, [insert], 2)
    executed(made, ["DELETE FROM t"], 3)  # SQLite has `insert` prepared, and does not authorize it
    with pytest.raises(RpcError, match="use `write`"):
        made.query(insert)
    assert rows(made) == []


def test_a_second_statement_behind_the_first_is_refused_and_undone():
    made = with_table()
    refused(made, "INSERT INTO t VALUES ('a', 1); CREATE TABLE z (id INTEGER PRIMARY KEY)")
    assert rows(made) == [] and "z" not in made.digests()
    executed(made, ["INSERT INTO t VALUES ('a', 1);  -- the end"], 2)
    with pytest.raises(RpcError, match="one statement"):
        made.query("SELECT 1; SELECT 2")


def test_what_was_prepared_is_not_prepared_again_for_another_limit():
    made, asked = filled(), list[object]()
    statement = "SELECT * FROM t ORDER BY 1 LIMIT ?"
    for limit in (1, 2):  # the first may not be cached: what it does was not known
        made.query(statement, [limit])
    allowed = apsw.SQLITE_OK
    made.db.set_authorizer(lambda *each: asked.append(each) or allowed)
    for limit in (3, 4, 5):
        assert len(made.query(statement, [limit])["rows"]) == limit
    once = len(asked)  # an authorizer that is new lets all be prepared once more
    made.query(statement, [6])
    assert len(asked) == once > 0


@pytest.mark.parametrize("parts", [2, 9, 60, 190])
@pytest.mark.parametrize("form", ["SELECT p0.x AS x FROM {}", "SELECT {} AS x"])
def test_views_of_views_are_refused_before_they_stand_for_too_much(parts, form):
    made = SqlState("views", lambda: 0.0, state().chance.rng, time.thread_time)
    executed(made, ["CREATE VIEW v0 AS SELECT 1 AS x"], 1)
    began_s = time.thread_time()
    with pytest.raises(RpcError, match=r"v[0-9]+: (this names too much|too many|at most)"):
        for depth in range(1, 30):
            if "FROM" in form:
                of = ", ".join(f"v{depth - 1} AS p{part}" for part in range(parts))
            else:
                of = " + ".join([f"(SELECT x FROM v{depth - 1})"] * parts)
            executed(made, [f"CREATE VIEW v{depth} AS {form.format(of)}"], depth + 1)
    latest = f"v{depth - 1}"
    with pytest.raises(RpcError, match=r"too (much|many|large)"):
        made.query(f"SELECT {', '.join([f'(SELECT x FROM {latest})'] * 1900)}")
    assert time.thread_time() - began_s < 4 * HOLD_LIMIT_S, "it took minutes"
    assert made.query(f"SELECT x FROM {latest} LIMIT 1")["rows"][0][0] > 0
    made.close()


@pytest.mark.parametrize("before", ["/* why */ ", "-- why\n", " ;\n", "/**/--\n/* a */"])
def test_a_comment_hides_no_schema_change_and_no_file(before):
    primary, replica = pair()
    both(primary, replica, f"{before}CREATE TABLE z (id INTEGER PRIMARY KEY)")
    assert replica.digests() == primary.digests()
    refused(primary, f"{before}VACUUM INTO '/tmp/x'", match="VACUUM is not allowed")
    refused(primary, f"{before}COMMIT", match="a batch is the transaction")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TEMP TABLE z (id INTEGER PRIMARY KEY)",
        "CREATE TABLE temp.t (id INTEGER PRIMARY KEY)",
        'CREATE TABLE "TeMp".z AS SELECT 1 AS id',
        "CREATE VIEW temp.t AS SELECT 1 AS id",
        "CREATE TRIGGER temp.r AFTER INSERT ON main.t BEGIN DELETE FROM t; END",
        "CREATE VIRTUAL TABLE temp.z USING fts5(x)",
        "INSERT INTO temp.sqlite_schema VALUES ('table', 't', 't', 0, '')",
        "CREATE VIRTUAL TABLE z USING fts5(text)",
        "CREATE TABLE emu_z (id INTEGER PRIMARY KEY)",
        "DROP TABLE emu_requests",
        "UPDATE sqlite_master SET sql = 'x'",
        "SELECT * FROM pragma_database_list",
        "PRAGMA writable_schema = ON",
    ],
)
def test_what_a_snapshot_or_a_changeset_would_miss_is_refused(statement):
    refused(with_table(), statement)


def test_triggers_and_cascades_do_not_act_again_where_their_record_is_repeated():
    primary, replica = pair()
    both(
        primary,
        replica,
        "CREATE TABLE a (id INTEGER PRIMARY KEY)",
        "CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a(id) ON DELETE CASCADE)",
        "CREATE TABLE seen (id INTEGER PRIMARY KEY, a INTEGER)",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO seen (a) VALUES (new.id); END",
        "INSERT INTO a VALUES (1), (2)",
        "INSERT INTO b VALUES (1, 1), (2, 2)",
        "DELETE FROM a WHERE id = 1",
    )
    assert replica.digests() == primary.digests()
    assert rows(replica, "SELECT a FROM seen") == [[1], [2]]
    assert rows(replica, "SELECT id FROM b") == [[2]]


def test_a_transaction_that_is_stopped_leaves_nothing_and_the_next_one_works():
    made = filled()
    before = made.digests()
    refused(made, "UPDATE t SET n = n + 1, id = id || '!'", code="refused", match="steps")
    assert made.digests() == before
    executed(made, ["UPDATE t SET n = 0 WHERE id = '1/2'"], 99)
    assert rows(made, "SELECT n FROM t WHERE id = '1/2'") == [[0]]


def test_a_transaction_that_the_log_would_not_take_is_refused_before_it_changes_anything():
    made = with_table()
    insert = ["INSERT INTO t VALUES (?, ?)", ["x" * (sql.MAX_RECORD_BYTES + 1), 1]]
    refused(made, insert, code="too_large", match="make several of it")
    assert rows(made) == []


def test_every_value_has_an_end():
    made = with_table()
    for expression in ("zeroblob(400000000)", "printf('%.*c', 500000000, 'x')"):
        with pytest.raises(RpcError, match="512 KiB"):
            made.query(f"SELECT length(hex({expression}))")
    with pytest.raises(RpcError, match="too complex"):
        made.query("SELECT 'a' LIKE ?", ["%a" * 20000])
    statement = f"SELECT '{'x' * 10_000_000}'"
    with pytest.raises(RpcError, match="256 KiB") as caught:
        made.query(statement)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    "query",
    [
        f"{COUNT}) SELECT sum(x) FROM c",
        f"{COUNT} LIMIT 1000000) SELECT x FROM c",
        "SELECT count(*) FROM t a, t b, t c",
        "SELECT count(DISTINCT a.id || b.n) FROM t a, t b",
        f"{COUNT} LIMIT 100000) SELECT sum(length(randomblob(900000))) FROM c",
    ],
)
def test_no_query_holds_the_node_for_long(query):
    made = filled()
    started_s = time.thread_time()
    with pytest.raises(RpcError) as caught:
        made.query(query)
    assert caught.value.code in ("refused", "too_large")
    assert time.thread_time() - started_s < HOLD_LIMIT_S
    assert made.query("SELECT count(*) FROM t")["rows"] == [[20000]]
