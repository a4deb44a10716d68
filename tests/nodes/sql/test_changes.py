"""Rows as replicas get them: equal in all that SQL shows, whatever the table is like."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.sql.machine import SqlMachine
from nodes.sql.state import ReplicaDiverged, SqlState
from protocols.errors import RpcError
from tests.nodes.sql.rig import executed, state

TABLES = {
    "a rowid behind a text key": "(k TEXT PRIMARY KEY NOT NULL, v, u UNIQUE)",
    "no case": "(k TEXT PRIMARY KEY NOT NULL COLLATE NOCASE, v, u UNIQUE COLLATE NOCASE)",
    "spaces": "(k TEXT PRIMARY KEY NOT NULL COLLATE RTRIM, v, u UNIQUE)",
    "an alias": "(k INTEGER PRIMARY KEY, v, u UNIQUE)",
    "a real key": "(k REAL PRIMARY KEY NOT NULL, v NUMERIC, u UNIQUE)",
    "without rowid": "(k PRIMARY KEY, v, u UNIQUE) WITHOUT ROWID",
    "a key of two, no case": ("(v COLLATE NOCASE, k, u UNIQUE, PRIMARY KEY (k, v)) WITHOUT ROWID"),
    "stored": "(k NOT NULL, s AS (v || u) STORED, v, u UNIQUE, PRIMARY KEY (k))",
    "virtual": "(k PRIMARY KEY NOT NULL, w AS (v || u), v, u UNIQUE, w2 AS (u) UNIQUE)",
    "virtual, an alias": "(w AS (v || u), k INTEGER PRIMARY KEY, v, u UNIQUE)",
    "a column called rowid": "(k PRIMARY KEY NOT NULL, rowid, v, u UNIQUE)",
    "strict": "(k ANY PRIMARY KEY NOT NULL, v ANY, u ANY UNIQUE) STRICT",
    "a check that throws dice": "(k PRIMARY KEY NOT NULL, v CHECK (random() IS NOT v), u UNIQUE)",
    "replacing": "(k PRIMARY KEY NOT NULL ON CONFLICT REPLACE, v, u UNIQUE ON CONFLICT REPLACE)",
    "quoted": '("k" PRIMARY KEY NOT NULL, "a""b" DEFAULT 1, v, u UNIQUE)',
}
VALUES = st.one_of(
    st.none(),
    st.integers(-3, 6),
    st.sampled_from(["a", "A", "a ", "b", "B", "é", "\0", "a\0b", "1", "1.0", "", "'", '"', "☃"]),
    st.sampled_from([0.0, -0.0, 1.5, 1e300, float("inf"), 3.0]),
    st.sampled_from([b"", b"\xff", b"a"]),
)
KEYS = st.one_of(st.integers(1, 4), st.sampled_from(["a", "A", "a ", "b", 2.5]))
STATEMENTS = st.one_of(
    st.tuples(
        st.sampled_from(
            [
                "INSERT INTO t (k, v, u) VALUES (?, ?, ?)",
                "INSERT OR REPLACE INTO t (k, v, u) VALUES (?, ?, ?)",
                "INSERT OR IGNORE INTO t (k, v, u) VALUES (?, ?, ?)",
                "INSERT INTO t (k, v, u) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET u = ?2",
                "UPDATE OR REPLACE t SET k = ?1, v = ?2, u = ?3 WHERE v IS ?1",
            ]
        ),
        st.tuples(KEYS, VALUES, VALUES),
    ),
    st.tuples(st.sampled_from(["DELETE FROM t WHERE k = ?", "DELETE FROM t"]), st.tuples(KEYS)),
    st.tuples(
        st.sampled_from(
            [
                "UPDATE OR IGNORE t SET k = ? WHERE k = ?",
                "UPDATE t SET u = ? WHERE v IS ?",
                "UPDATE t SET v = ?, u = NULL WHERE u > ?",
            ]
        ),
        st.tuples(KEYS, VALUES),
    ),
).map(lambda each: [each[0], list(each[1])[: each[0].count("?") if "?1" not in each[0] else 3]])


def repeated(primary: SqlState, replica: SqlState, *batches: list) -> None:
    for lsn, batch in enumerate(batches, 2):
        try:
            record = executed(primary, batch, lsn, f"request-{lsn}").record
        except RpcError:
            continue
        if record is not None:
            replica.apply(record)


@pytest.mark.parametrize("definition", TABLES.values(), ids=list(TABLES))
@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.lists(STATEMENTS, min_size=1, max_size=4), max_size=8))
def test_whatever_happens_to_rows_replicas_show_the_same(definition, batches):
    primary, replica = state(), state()
    repeated(primary, replica, [f"CREATE TABLE t {definition}"], *batches)
    assert replica.digests() == primary.digests()
    for sql in ("SELECT * FROM t", "SELECT v, u FROM t ORDER BY v LIMIT 1"):
        assert repr(replica.query(sql)) == repr(primary.query(sql))
    assert replica._own("PRAGMA integrity_check") == [("ok",)]
    primary.close()
    replica.close()


SCHEMA = [
    "CREATE TABLE p (id INTEGER PRIMARY KEY)",
    "CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE l (id INTEGER PRIMARY KEY, r INTEGER, at TEXT)",
    "CREATE TRIGGER tr AFTER DELETE ON c "
    "BEGIN INSERT INTO l (r, at) VALUES (random(), strftime('%f', 'now')); END",
    "CREATE TRIGGER up AFTER UPDATE ON c BEGIN INSERT INTO l (r) VALUES (random()); END",
    "CREATE TRIGGER vi INSTEAD OF INSERT ON v BEGIN INSERT INTO p VALUES (new.id); END",
]


def family() -> tuple[SqlState, SqlState]:
    primary, replica = state(), state()
    repeated(
        primary,
        replica,
        [*SCHEMA[:3], "CREATE VIEW v AS SELECT id FROM p", *SCHEMA[3:]],
        ["INSERT INTO v VALUES (1), (2), (3)"],
        ["INSERT INTO c VALUES (1, 1), (2, 2), (3, 3)"],
    )
    return primary, replica


@pytest.mark.parametrize(
    "batch",
    [
        ["DROP TABLE p"],
        ["DROP TABLE c"],
        ["DROP TABLE p", "CREATE TABLE p (id TEXT PRIMARY KEY NOT NULL)"],
        ["DROP TABLE p", "ALTER TABLE l RENAME TO m", "ALTER TABLE m ADD COLUMN x DEFAULT 7"],
        ["DELETE FROM p"],
        ["UPDATE p SET id = id + 10"],
        ["REPLACE INTO p VALUES (1)"],
        ["ALTER TABLE l ADD COLUMN z CHECK (random() IS NOT NULL)"],
    ],
)
def test_what_cascades_and_triggers_draw_is_drawn_once(batch):
    primary, replica = family()
    repeated(primary, replica, batch)
    assert replica.digests() == primary.digests()


def test_the_digest_looks_at_rowids_and_at_the_schema():
    one, other = state(), state()
    for made, rows in ((one, "('a'), ('b')"), (other, "('b'), ('a')")):
        executed(made, ["CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL)"], 1)
        executed(made, [f"INSERT INTO t VALUES {rows}"], 2)
    assert one.digests()["t"] != other.digests()["t"]
    assert one.digests()["sqlite_schema"] == other.digests()["sqlite_schema"]
    executed(one, ["CREATE INDEX i ON t (k)"], 3)
    assert one.digests()["sqlite_schema"] != other.digests()["sqlite_schema"]


def test_a_change_of_kind_or_sign_alone_is_a_change():
    primary, replica = state(), state()
    steps = [
        f"UPDATE t SET v = {each}" for each in ("0", "0.0", "-0.0", "0", "'0'", "x'30'", "-0.0")
    ]
    repeated(
        primary,
        replica,
        ["CREATE TABLE t (k INTEGER PRIMARY KEY, v)"],
        ["INSERT INTO t VALUES (1, NULL)"],
    )
    for lsn, step in enumerate(steps, 4):
        replica.apply(executed(primary, [step], lsn).record or b"")
        shown = [repr(made.query("SELECT v, typeof(v) FROM t")) for made in (primary, replica)]
        assert shown[0] == shown[1]
    assert executed(primary, [steps[-1]], 20).record is None


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t (id) VALUES (9223372036854775807)",
        "UPDATE t SET id = 9223372036854775807",
        "INSERT INTO u (rowid, k) VALUES (9223372036854775807, 'b')",
        "UPDATE u SET rowid = 9223372036854775807",
    ],
)
def test_the_last_rowid_is_refused_for_sqlite_would_draw_the_next_by_chance(sql):
    made = state()
    repeated(
        made,
        state(),
        ["CREATE TABLE t (id INTEGER PRIMARY KEY)", "CREATE TABLE u (k PRIMARY KEY NOT NULL)"],
        ["INSERT INTO t VALUES (1)", "INSERT INTO u VALUES ('a')"],
    )
    with pytest.raises(RpcError, match="is the last"):
        executed(made, [sql], 9)


def test_a_swap_of_unique_values_in_one_transaction_is_repeated():
    primary, replica = state(), state()
    swap = [f"UPDATE t SET u = '{u}' WHERE k = {k}" for u, k in (("x", 1), ("a", 2), ("b", 1))]
    repeated(
        primary,
        replica,
        ["CREATE TABLE t (k INTEGER PRIMARY KEY, u UNIQUE)"],
        ["INSERT INTO t VALUES (1, 'a'), (2, 'b')"],
        swap,
    )
    assert replica.query("SELECT * FROM t")["rows"] == [[1, "b"], [2, "a"]]


def test_a_copy_that_turns_from_repeating_to_executing_misses_nothing():
    """A DELETE without WHERE that was prepared while nobody noted rows would not tell of any."""
    primary, replica = family()
    with pytest.raises(RpcError, match="use `write`"):
        replica.query("DELETE FROM l")
    for copy in (replica, primary):
        copy.query("SELECT * FROM l")
    executed(replica, ["DELETE FROM p"], 50)
    third = SqlMachine("third", lambda: 0.0, replica.chance.rng)
    third.restore(None)
    record = executed(replica, ["DELETE FROM l"], 51).record
    assert record is not None
    words = SqlMachine.describe(third, record)
    assert [each["op"] for each in words["changes"]] == ["DELETE"] * 3
    third.close()


def test_a_record_that_does_not_fit_changes_nothing():
    primary, replica = family()
    first = executed(primary, ["INSERT INTO p VALUES (7)"], 9).record
    second = executed(primary, ["UPDATE p SET id = 8 WHERE id = 7"], 10).record
    assert first is not None
    assert second is not None
    before = replica.digests()
    with pytest.raises(ReplicaDiverged, match="p: 0 rows changed, not 1"):
        replica.apply_batch([second])
    assert replica.digests() == before
    replica.apply_batch([first, second])
    assert replica.digests() == primary.digests()
    with pytest.raises(ReplicaDiverged):
        replica.apply(b"\x91\x92\xa0\xc4\x01\xff")
