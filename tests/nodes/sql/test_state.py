"""SQL as a state machine: what one copy executes another repeats; what cannot ship is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.sql.state import ReplicaDiverged, SqlState
from protocols.errors import RpcError
from protocols.stepping import at_once
from tests.nodes.sql.rig import executed, state, with_table


def refused(
    made: SqlState, *statements, code: str = "bad_request", match: str | None = None
) -> None:
    with pytest.raises(RpcError, match=match) as caught:
        executed(made, list(statements), 9)
    assert caught.value.code == code


def rows(made: SqlState, sql: str = "SELECT id, n FROM t ORDER BY id") -> list:
    return made.query(sql)["rows"]


def test_a_record_applied_elsewhere_gives_the_same_rows_and_the_same_request_table():
    primary, replica = with_table(), with_table()
    outcome = executed(primary, [["INSERT INTO t VALUES (?, ?)", ["a", 1]]], 2, "request-1")
    assert outcome.record is not None
    replica.apply(outcome.record)
    assert rows(replica) == rows(primary) == [["a", 1]]
    again = executed(replica, [["INSERT INTO t VALUES (?, ?)", ["a", 1]]], 3, "request-1")
    assert again.record is None
    assert again.repeated_lsn == 2


def test_a_failed_statement_undoes_the_whole_batch():
    made = with_table()
    insert = ["INSERT INTO t VALUES (?, ?)", ["a", 1]]
    refused(made, insert, insert, code="refused", match="UNIQUE")
    assert rows(made) == []


def test_a_guard_refuses_the_batch_unless_the_rows_are_as_expected():
    made = with_table()
    update = ["UPDATE t SET n = 2 WHERE id = 'a'", [], {"rows": 1}]
    refused(made, update, code="refused", match="0 rows, not 1")
    executed(made, [["INSERT INTO t VALUES ('a', 1)"], update], 2)
    assert rows(made) == [["a", 2]]


def test_what_a_changeset_would_miss_is_refused_at_birth():
    made = state()
    refused(made, "CREATE TABLE t (n INTEGER)", code="refused", match="PRIMARY KEY")
    refused(made, "CREATE TABLE t (n TEXT PRIMARY KEY)", code="refused", match="NOT NULL")
    sql = "CREATE TABLE t (n INTEGER PRIMARY KEY AUTOINCREMENT)"
    refused(made, sql, code="refused", match="AUTOINCREMENT")
    assert executed(made, ["CREATE TABLE t (n INTEGER PRIMARY KEY)"], 1).record


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH DATABASE '/tmp/x' AS x",
        "VACUUM INTO '/tmp/x'",
        "PRAGMA journal_mode=WAL",
        "SELECT load_extension('x')",
        "BEGIN",
        "DELETE FROM emu_requests",
        "SELEC 1",
        "",
    ],
)
def test_statements_that_reach_out_of_the_database_are_refused(sql, tmp_path):
    made = with_table()
    if sql:
        refused(made, sql)
    assert rows(made) == []


def test_a_syntax_error_is_given_with_its_place():
    with pytest.raises(RpcError, match=r"line 2, column 8"):
        with_table().query("SELECT id,\n       nope FROM t")


def test_a_statement_that_never_ends_is_stopped():
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT sum(x) FROM c"
    with pytest.raises(RpcError, match="more than"):
        with_table().query(endless)


def test_a_query_cannot_write_and_a_large_result_is_refused():
    made = with_table()
    with pytest.raises(RpcError, match="use `write`"):
        made.query("INSERT INTO t VALUES ('a', 1)")
    numbers = "SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 200000"
    big = f"WITH RECURSIVE c(x) AS ({numbers}) SELECT x FROM c"
    with pytest.raises(RpcError, match="too large"):
        made.query(big)


def test_time_and_chance_come_from_the_node():
    made = state(now_s=1e9)
    assert made.query("SELECT datetime('now'), CURRENT_DATE")["rows"] == [
        ["2001-09-09 01:46:40", "2001-09-09"]
    ]
    assert state().query("SELECT random()") == state().query("SELECT random()")


def test_a_record_that_does_not_fit_stops_the_replica():
    primary, replica = with_table(), with_table()
    executed(primary, [["INSERT INTO t VALUES ('a', 1)"]], 2)
    record = executed(primary, [["UPDATE t SET n = 2"]], 3).record
    with pytest.raises(ReplicaDiverged):
        replica.apply(record)


def test_records_that_fit_only_one_by_one_are_replayed_in_their_order():
    """Merged, a swap of unique values would be two updates that each meet the other's value."""
    primary, replica = state(), state()
    batches = [
        ["CREATE TABLE u (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"],
        ["INSERT INTO u VALUES (1, 'a'), (2, 'b')"],
        ["UPDATE u SET name = 'x' WHERE id = 1"],
        ["UPDATE u SET name = 'a' WHERE id = 2"],
        ["UPDATE u SET name = 'b' WHERE id = 1"],
        ["ALTER TABLE u ADD COLUMN n INTEGER"],
        ["UPDATE u SET n = id"],
    ]
    records = [executed(primary, batch, lsn).record for lsn, batch in enumerate(batches, 1)]
    replica.apply_batch(records[:2])
    replica.apply_batch(records[2:])
    assert replica.query("SELECT * FROM u")["rows"] == [[1, "b", 1], [2, "a", 2]]
    assert replica.digests() == primary.digests()


def test_a_batch_that_does_not_fit_stops_the_replica():
    primary, replica = with_table(), with_table()
    executed(primary, [["INSERT INTO t VALUES ('a', 1)"]], 2)
    records = [executed(primary, [["UPDATE t SET n = n + 1"]], lsn).record for lsn in (3, 4)]
    with pytest.raises(ReplicaDiverged):
        replica.apply_batch(records)


STATEMENTS = st.one_of(
    st.builds(
        lambda key, n: ["INSERT OR REPLACE INTO t VALUES (?, ?)", [key, n]],
        st.sampled_from("abcdef"),
        st.integers(0, 99),
    ),
    st.builds(lambda key: ["DELETE FROM t WHERE id = ?", [key]], st.sampled_from("abcdef")),
    st.builds(lambda n: ["UPDATE t SET n = n + ?", [n]], st.integers(1, 5)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(STATEMENTS, min_size=1, max_size=4), max_size=8))
def test_replicas_equal_their_primary_after_any_batches_and_after_a_snapshot(batches):
    primary, replica, replayed = with_table(), with_table(), with_table()
    records = []
    for lsn, batch in enumerate(batches, 2):
        outcome = executed(primary, batch, lsn, f"request-{lsn}")
        if outcome.record is not None:
            replica.apply(outcome.record)
            records.append(outcome.record)
    replayed.apply_batch(records)
    assert rows(replica) == rows(primary)
    assert replayed.digests() == replica.digests() == primary.digests()
    loaded = state()
    at_once(loaded.load_in_steps(at_once(primary.dump_in_steps())))()
    assert rows(loaded) == rows(primary)


def test_the_first_rows_of_a_large_result_come_with_the_number_of_the_others():
    made = with_table()
    count = "SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {}"
    numbers = f"WITH RECURSIVE c(x) AS ({count}) SELECT x FROM c"
    few = made.query(numbers.format(7), (), 3)
    assert (few["rows"], few["more"], few["more_at_least"]) == ([[1], [2], [3]], 4, False)
    many = made.query(numbers.format(1_000_000), (), 2)
    assert (many["rows"], many["more"], many["more_at_least"]) == ([[1], [2]], 20_000, True)


def test_a_query_that_runs_out_of_steps_behind_the_rows_that_were_asked_for_gives_those():
    made = with_table()
    count = "SELECT 1 UNION ALL SELECT x + 1 FROM c"
    few = f"WITH RECURSIVE c(x) AS ({count}) SELECT x FROM c WHERE x <= 5"
    first = made.query(few, (), 5)
    assert first["rows"] == [[1], [2], [3], [4], [5]]
    assert first["more_at_least"]
    with pytest.raises(RpcError, match="stopped"):
        made.query(few, (), 6)


def test_an_answer_without_rows_still_names_its_columns():
    made = with_table()
    assert made.query("SELECT n, id AS name FROM t")["columns"] == ["n", "name"]
    assert executed(made, ["INSERT INTO t VALUES ('a', 1)"], 2).results[0]["columns"] == []


def test_an_error_says_its_place_to_programs_too():
    with pytest.raises(RpcError, match=r"line 2, column 7") as caught:
        with_table().query("SELECT *\nWHERE nothing = 1")
    assert caught.value.details == (2, 7)
