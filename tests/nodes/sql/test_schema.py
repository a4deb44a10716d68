"""What a schema may be is asked of the schema, however it came to be so."""

from __future__ import annotations

import msgpack
import pytest

from tests.nodes.sql.rig import executed, state
from tests.nodes.sql.test_state import refused

TABLE = "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, n INTEGER)"


@pytest.mark.parametrize(
    "definition",
    [
        "(n INTEGER)",
        "(n)",
        "(id INTEGER PRIMARY KEY DESC, n)",
        "(id INT PRIMARY KEY, n)",
        "(id BIGINT PRIMARY KEY)",
        "(id TEXT, n, PRIMARY KEY (id, n))",
        "(id TEXT NOT NULL, n, PRIMARY KEY (id, n))",
        "(id TEXT UNIQUE NOT NULL)",
        "AS SELECT 1 AS id",
        "AS SELECT random() AS id",
    ],
)
def test_a_key_that_may_be_null_is_refused(definition):
    refused(state(), f"CREATE TABLE t {definition}", code="refused", match="PRIMARY KEY")


@pytest.mark.parametrize(
    "definition",
    [
        "(id INTEGER PRIMARY KEY, n)",
        "(id INTEGER, n, PRIMARY KEY (id))",
        "(id INTEGER, n, PRIMARY KEY (id DESC))",
        "(id TEXT PRIMARY KEY) STRICT",
        "(\"AUTOINCREMENT\" INTEGER PRIMARY KEY, n DEFAULT 'AUTOINCREMENT')",
        "(id TEXT PRIMARY KEY) WITHOUT ROWID",
        "(id TEXT, n, PRIMARY KEY (n, id)) WITHOUT ROWID, STRICT".replace("n,", "n ANY,", 1),
        "(id INTEGER PRIMARY KEY DESC NOT NULL, n)",
        "(id TEXT PRIMARY KEY NOT NULL COLLATE NOCASE)",
        "(rowid TEXT PRIMARY KEY NOT NULL, oid)",
        "(id INTEGER PRIMARY KEY, rowid, oid, _rowid_)",
    ],
)
def test_a_key_that_names_each_row_is_taken(definition):
    assert executed(state(), [f"CREATE TABLE t {definition}"], 1).record


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("ALTER TABLE t ALTER COLUMN id DROP NOT NULL", "PRIMARY KEY"),
        ("CREATE TABLE z (id INTEGER PRIMARY KEY AUTOINCREMENT)", "AUTOINCREMENT"),
        ("CREATE TABLE z (rowid, oid, _rowid_, k TEXT NOT NULL PRIMARY KEY)", "hide the rowid"),
        ("CREATE TABLE z (k PRIMARY KEY, g AS (k + 1)) WITHOUT ROWID", "STORED"),
        ("CREATE TABLE z (k INTEGER PRIMARY KEY, v DEFAULT (CAST(x'ff' AS TEXT)))", "UTF-8"),
        ("ALTER TABLE t ADD COLUMN z TEXT DEFAULT (CAST(x'ff' AS TEXT))", "UTF-8"),
    ],
)
def test_what_replicas_or_clients_could_not_live_with_is_refused(sql, why):
    made = state()
    executed(made, [TABLE], 1)
    before = made.digests()
    refused(made, sql, code="refused", match=why)
    assert made.digests() == before


def test_a_key_is_not_weakened_by_a_detour_within_one_batch():
    made = state()
    detour = ["ALTER TABLE t RENAME TO u", "ALTER TABLE u ALTER COLUMN id DROP NOT NULL"]
    executed(made, [TABLE], 1)
    refused(made, *detour, "ALTER TABLE u RENAME TO t", code="refused", match="PRIMARY KEY")
    assert tuple(made.digests()) == ("sqlite_schema", "emu_requests", "t")


OWN = "emu_requests"


@pytest.mark.parametrize("own", [OWN, OWN.upper(), f'"{OWN}"', f"main.{OWN}", f"[{OWN}]"])
@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO {} VALUES ('a', 1, x'')",
        "REPLACE INTO {} VALUES ('a', 1, x'')",
        "UPDATE {} SET lsn = 0",
        "DELETE FROM {}",
        "WITH x AS (SELECT 1) DELETE FROM {}",
        "ALTER TABLE {} RENAME TO gone",
        "ALTER TABLE {} RENAME COLUMN lsn TO gone",
        "ALTER TABLE {} ADD COLUMN more",
        "ALTER TABLE {} DROP COLUMN lsn",
        "DROP TABLE {}",
        "DROP TABLE IF EXISTS {}",
        "CREATE TRIGGER z AFTER INSERT ON {} BEGIN SELECT 1; END",
        "CREATE TRIGGER main.z BEFORE DELETE ON {} BEGIN SELECT RAISE(ABORT, 'no'); END",
        "CREATE INDEX z ON {} (lsn)",
        "CREATE UNIQUE INDEX z ON {} (lsn)",
        "CREATE TABLE {}_too (id INTEGER PRIMARY KEY)",
        "CREATE VIEW {}_too AS SELECT 1",
        "CREATE INDEX {}_too ON t (n)",
        "CREATE TRIGGER {}_too AFTER INSERT ON t BEGIN SELECT 1; END",
        "ALTER TABLE t RENAME TO {}_too",
        "CREATE TABLE z (id INTEGER PRIMARY KEY, r REFERENCES {} (id))",
        "ALTER TABLE t ADD COLUMN r REFERENCES {} (id) ON DELETE CASCADE",
        "DROP INDEX {}_by_lsn",
    ],
)
def test_the_databases_own_tables_are_nobody_elses(sql, own):
    made = state()
    executed(made, [TABLE], 1, "request")
    before = made.digests()
    inside = own.replace(OWN, f"{OWN}_too") if "{}_too" in sql else own
    inside = inside.replace(f"{OWN.upper()}", f"{OWN.upper()}_TOO") if own.isupper() else inside
    text = sql.replace("{}_too", inside).replace("{}_by_lsn", f"{OWN}_by_lsn").format(own)
    for code in ("bad_request", "refused"):
        try:
            refused(made, text, code=code)
        except AssertionError:
            continue
        break
    else:
        raise AssertionError(f"{text} was not refused")
    assert made.digests() == before
    assert executed(made, [["INSERT INTO t VALUES ('a', 1)"]], 3, "another").record


@pytest.mark.parametrize(
    "moment",
    ["AFTER INSERT ON t", "BEFORE UPDATE ON t", "AFTER UPDATE OF n ON t", "BEFORE DELETE ON t"]
    + [f"INSTEAD OF {each} ON v" for each in ("INSERT", "UPDATE", "UPDATE OF n", "DELETE")],
)
@pytest.mark.parametrize(
    "body",
    [
        f"DELETE FROM {OWN}",
        f"UPDATE [{OWN}] SET lsn = 0",
        f"REPLACE INTO {OWN.upper()} VALUES ('a', 1, x'')",
        f"SELECT 1 WHERE 0; INSERT INTO u VALUES (1); DELETE FROM {OWN} WHERE 0",
        "SELECT json_patch('{}', '{}')",
    ],
)
def test_a_trigger_that_could_only_be_refused_when_it_fires_is_not_made(moment, body):
    made = state()
    executed(made, [TABLE, "CREATE TABLE u (id INTEGER PRIMARY KEY)"], 1)
    executed(made, ["CREATE VIEW v AS SELECT id, n FROM t"], 2)
    before = made.digests()
    for _ in range(2):
        sql = f"CREATE TRIGGER z {moment} BEGIN {body}; END"
        refused(made, sql, code="refused", match="of [tv] could never fire: .*(belongs|allowed)")
    assert made.digests() == before


def test_a_trigger_that_names_what_is_not_there_yet_is_looked_at_when_it_is():
    made = state()
    executed(made, [TABLE], 1)
    late = f"BEGIN INSERT INTO u VALUES (1); DELETE FROM {OWN}; END"
    executed(made, [f"CREATE TRIGGER z AFTER INSERT ON t {late}"], 2)
    table = "CREATE TABLE u (id INTEGER PRIMARY KEY)"
    refused(made, table, code="refused", match="trigger of t could never fire")
    executed(made, ["DROP TRIGGER z"], 3)
    executed(made, [table], 4)


def test_a_trigger_on_a_view_of_what_is_gone_stands_in_nobodys_way():
    made = state()
    executed(made, [TABLE, "CREATE TABLE u (id INTEGER PRIMARY KEY)"], 1)
    executed(made, ["CREATE VIEW v AS SELECT * FROM u"], 2)
    executed(made, ["CREATE TRIGGER z INSTEAD OF DELETE ON v BEGIN SELECT 1; END"], 3)
    executed(made, ["DROP TABLE u"], 4)
    executed(made, ["CREATE INDEX i ON t (n)"], 5)


def test_triggers_that_could_never_fire_can_be_dropped_one_by_one():
    made, old = state(), [TABLE]
    bad = [f"CREATE TRIGGER z{n} AFTER INSERT ON t BEGIN DELETE FROM {OWN}; END" for n in (1, 2)]
    made.apply(msgpack.packb([(sql, b"") for sql in [*old, *bad]]))  # of a log of before the rule
    refused(made, "CREATE INDEX i ON t (n)", code="refused", match="could never fire")
    executed(made, ["DROP TRIGGER z1"], 2)
    executed(made, ["DROP TRIGGER z2"], 3)
    executed(made, ["CREATE INDEX i ON t (n)"], 4)


def test_a_view_that_was_refused_is_refused_again():
    made = state()
    executed(made, [TABLE], 1)
    columns = ", ".join(f"id AS c{each}" for each in range(600))
    for _ in range(2):
        view = f"CREATE VIEW v AS SELECT {columns} FROM t"
        refused(made, view, code="refused", match="names too much")


def test_a_default_that_is_computed_anew_is_no_reason_to_refuse():
    made = state()
    sql = "CREATE TABLE z (id INTEGER PRIMARY KEY, r DEFAULT (random()), d DEFAULT CURRENT_DATE)"
    assert executed(made, [sql], 1).record


def test_the_page_of_a_table_is_not_shown_for_each_replica_has_its_own():
    made = state()
    executed(made, [TABLE], 1)
    shown = made.query("SELECT rootpage, name FROM sqlite_master WHERE name = 't'")["rows"]
    assert shown == [[None, "t"]]


@pytest.mark.parametrize(
    "column", ["s TEXT NOT NULL DEFAULT 'x' CHECK (s <> 'y')", "g TEXT AS (id || '!') NOT NULL"]
)
@pytest.mark.parametrize("strict", ["", " STRICT"])
def test_a_column_that_old_rows_must_fit_is_added(column, strict):
    made, replica = state(), state()
    statements = [f"CREATE TABLE s (id INTEGER PRIMARY KEY){strict}", "INSERT INTO s VALUES (7)"]
    for lsn, sql in enumerate([*statements, f"ALTER TABLE s ADD COLUMN {column}"], 1):
        done = executed(made, [sql], lsn)
        replica.apply(done.record)
    assert made.digests() == replica.digests() and done.results[0]["columns"] == []
    refused(made, "ALTER TABLE s ADD COLUMN n INT CHECK (id < 7)", match="CHECK")
    refused(made, "PRAGMA quick_check", match="not allowed")


def test_what_the_database_asks_for_itself_is_not_counted_as_a_clients():
    made = state()
    tables = [f"CREATE TABLE t{each} (id INTEGER PRIMARY KEY, v AS (1))" for each in range(180)]
    executed(made, tables, 1)
    executed(made, ["CREATE VIEW v AS SELECT 1 AS x"], 2)
    assert len(made.digests()) == 182
