"""Triggers that SQLite leaves undefined are refused, however far the way back to their table is;
all others are taken, and say the same on every replica."""

from __future__ import annotations

import pytest

from nodes.sql.state import SqlState
from tests.nodes.sql.rig import executed, state
from tests.nodes.sql.test_state import refused

TABLES = [
    "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, u INTEGER UNIQUE)",
    "CREATE TABLE other (id INTEGER PRIMARY KEY, n INTEGER)",
    "CREATE TABLE child (id INTEGER PRIMARY KEY, t REFERENCES t (u) ON DELETE CASCADE,"
    " n REFERENCES other (id) ON UPDATE SET NULL)",
    "CREATE VIEW v AS SELECT id, n FROM t",
    "CREATE VIEW w AS SELECT id, n FROM other",
]


def with_tables(*more: str) -> SqlState:
    made = state()
    executed(made, TABLES, 1)
    for lsn, sql in enumerate(more, 2):
        executed(made, [sql], lsn)
    return made


@pytest.mark.parametrize(
    "body",
    [
        "DELETE FROM t WHERE id = old.id",
        "DELETE FROM t WHERE id <> old.id",
        "UPDATE t SET n = n + 1 WHERE id = old.id",
        "UPDATE T SET u = NULL",
        "INSERT INTO t (n) VALUES (old.n)",
        "REPLACE INTO t (id) VALUES (old.id)",
        "INSERT INTO t (id) VALUES (old.id) ON CONFLICT DO UPDATE SET n = 0",
        "SELECT 1; INSERT INTO other (n) VALUES (1); DELETE FROM t WHERE 0",
        "DELETE FROM t WHERE id IN (WITH x AS (SELECT 1) SELECT * FROM x)",
        "UPDATE t SET n = 1 FROM other WHERE other.id = t.id",
    ],
)
@pytest.mark.parametrize(
    "on",
    [
        "BEFORE UPDATE ON t",
        "BEFORE UPDATE OF u ON main.T",
        'BEFORE DELETE ON "t" FOR EACH ROW WHEN old.n > 3',
        "UPDATE ON [t]",  # who says nothing says BEFORE
        "/* AFTER */ DELETE ON t",
    ],
)
def test_a_trigger_that_changes_its_table_before_its_row_is_changed_is_refused(on, body):
    made = with_tables()
    before = made.digests()
    sql = f"CREATE TRIGGER after_insert {on} BEGIN {body}; END"
    for _ in range(2):
        refused(made, sql, code="refused", match="BEFORE .* ON t.*make it AFTER (UPDATE|DELETE)$")
    assert made.digests() == before


@pytest.mark.parametrize(
    "chain",
    [
        [
            "CREATE TRIGGER a BEFORE UPDATE ON t BEGIN DELETE FROM other; END",
            "CREATE TRIGGER b AFTER DELETE ON other BEGIN DELETE FROM t; END",
        ],
        [
            "CREATE TRIGGER b BEFORE INSERT ON other BEGIN UPDATE t SET n = 1; END",
            "CREATE TRIGGER a BEFORE DELETE ON t BEGIN INSERT INTO other (n) VALUES (1); END",
        ],
        [
            "CREATE TRIGGER a BEFORE UPDATE ON t BEGIN UPDATE other SET n = 1; END",
            "CREATE TRIGGER b AFTER UPDATE ON other BEGIN DELETE FROM child; END",
            "CREATE TRIGGER c AFTER DELETE ON child BEGIN UPDATE t SET n = 1; END",
        ],
        ["CREATE TRIGGER a BEFORE DELETE ON child BEGIN DELETE FROM t; END"],
        ["CREATE TRIGGER a BEFORE UPDATE ON child BEGIN UPDATE other SET id = id + 1; END"],
        [
            "CREATE TRIGGER a BEFORE UPDATE ON child BEGIN INSERT INTO t (u) VALUES (1); END"
        ],  # OR REPLACE of whoever fires it: a row of t is deleted, and its children with it
        [
            "CREATE TRIGGER i INSTEAD OF DELETE ON v BEGIN DELETE FROM t WHERE id = old.id; END",
            "CREATE TRIGGER a BEFORE UPDATE ON t BEGIN DELETE FROM v; END",
        ],
        [
            "CREATE TRIGGER a BEFORE UPDATE ON t BEGIN UPDATE other SET n = 1; END",
            "CREATE TRIGGER b AFTER UPDATE ON other BEGIN INSERT INTO v VALUES (1, 2); END",
            "CREATE TRIGGER i INSTEAD OF INSERT ON v BEGIN UPDATE t SET n = new.n; END",
        ],
        [
            "CREATE TRIGGER a BEFORE DELETE ON other BEGIN UPDATE t SET u = NULL; END",
            "CREATE TABLE late (id INTEGER PRIMARY KEY,"
            " t REFERENCES t (u) ON UPDATE CASCADE, o REFERENCES other (id) ON DELETE CASCADE)",
            "CREATE TRIGGER b BEFORE UPDATE ON late BEGIN DELETE FROM w; END",
            "CREATE TRIGGER i INSTEAD OF DELETE ON w BEGIN DELETE FROM other; END",
        ],
        [
            "CREATE TRIGGER a BEFORE UPDATE ON t BEGIN DELETE FROM later; END",
            "CREATE TABLE later (id INTEGER PRIMARY KEY)",
            "CREATE TRIGGER b AFTER DELETE ON later BEGIN DELETE FROM t; END",
        ],
        [
            "CREATE TRIGGER a BEFORE UPDATE OF later ON t BEGIN DELETE FROM t; END",
            "ALTER TABLE t ADD COLUMN later",
        ],
        [
            "CREATE TRIGGER a BEFORE UPDATE ON other BEGIN DELETE FROM child; END",
            "ALTER TABLE other RENAME TO x",
            "CREATE TRIGGER b AFTER DELETE ON child BEGIN DELETE FROM x; END",
        ],
        [
            "CREATE TRIGGER z AFTER UPDATE OF n ON t BEGIN DELETE FROM missing; END",
            "CREATE TRIGGER a BEFORE UPDATE OF u ON t BEGIN DELETE FROM t; END",
        ],
    ],
)
def test_the_way_back_may_lead_over_tables_keys_and_views(chain):
    *first, last = chain
    made = with_tables(*first)
    before = made.digests()
    refused(made, last, code="refused", match="trigger [ab] .*make it AFTER")
    assert made.digests() == before
    executed(made, ["CREATE INDEX i ON t (n)"], 99)


@pytest.mark.parametrize(
    "triggers",
    [
        ["AFTER UPDATE ON t BEGIN DELETE FROM t WHERE id <> new.id"],
        ["AFTER UPDATE ON t BEGIN UPDATE t SET n = n + 1 WHERE id = new.id"],
        ["AFTER DELETE ON t BEGIN DELETE FROM t"],
        ["BEFORE INSERT ON t BEGIN UPDATE t SET n = 0"],
        ["BEFORE INSERT ON t BEGIN DELETE FROM t WHERE u = new.u"],
        [
            "BEFORE INSERT ON t BEGIN DELETE FROM t",
            "AFTER UPDATE ON t BEGIN INSERT INTO t (n) VALUES (1)",
        ],
        ["BEFORE UPDATE ON t BEGIN SELECT raise(IGNORE) FROM t"],
        ["BEFORE UPDATE ON t BEGIN INSERT INTO other (n) VALUES (old.n)"],
        ["BEFORE DELETE ON t BEGIN DELETE FROM child WHERE t = old.u"],
        ["BEFORE UPDATE ON child BEGIN UPDATE other SET n = n + 1"],
        ["BEFORE UPDATE ON child BEGIN UPDATE t SET n = n + 1"],
        ["BEFORE UPDATE ON child BEGIN INSERT INTO other (n) VALUES (1)"],
        [
            "BEFORE UPDATE ON t BEGIN UPDATE other SET n = 1",
            "AFTER UPDATE OF id ON other BEGIN DELETE FROM t",
        ],
        ["INSTEAD OF UPDATE ON v BEGIN UPDATE t SET n = new.n WHERE id = old.id"],
        [
            "INSTEAD OF DELETE ON v BEGIN DELETE FROM t; INSERT INTO v VALUES (1, 2)",
            "INSTEAD OF INSERT ON v BEGIN REPLACE INTO t (id, n) VALUES (new.id, new.n)",
        ],
    ],
)
def test_what_sqlite_defines_is_taken(triggers):
    primary, replica = state(), state()
    sqls = [[each] for each in TABLES]
    sqls += [[f"CREATE TRIGGER r{n} {each}; END"] for n, each in enumerate(triggers)]
    values = ", ".join(f"({n}, {n}, {n})" for n in range(1, 6))
    sqls += [
        ["INSERT INTO t VALUES (1, 1, 1)"],
        [f"INSERT OR REPLACE INTO t VALUES {values}"],
        ["INSERT INTO other VALUES (1, 1), (2, 2)"],
        ["INSERT INTO child SELECT id, u, NULL FROM t"],
        ["UPDATE t SET n = n + 1, u = u + 10 WHERE u NOT IN (SELECT t FROM child WHERE t)"],
        ["UPDATE OR REPLACE child SET n = 1"],
        ["UPDATE OR REPLACE t SET id = 3 WHERE id = 2"],
        ["DELETE FROM t WHERE id > 2"],
        ["DELETE FROM child"],
    ]
    for lsn, sql in enumerate(sqls, 1):
        if (record := executed(primary, sql, lsn).record) is not None:
            replica.apply(record)
    assert primary.digests() == replica.digests()
    assert primary._own("PRAGMA integrity_check") == [("ok",)]


def test_a_trigger_of_an_earlier_version_stands_in_the_way_until_it_is_dropped():
    made = with_tables()
    body = "BEGIN UPDATE t SET n = 1; END"
    with made._rules.own():
        made.db.execute(f"CREATE TRIGGER a BEFORE UPDATE ON t {body}")
    refused(made, "CREATE INDEX i ON t (n)", code="refused", match="trigger a ")
    executed(made, ["DROP TRIGGER a"], 2)
    executed(made, [f"CREATE TRIGGER a AFTER UPDATE ON t {body}"], 3)
