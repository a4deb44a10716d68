"""SQL of triggers, foreign keys and REPLACE setting each other off, on few rows of three tables."""

from __future__ import annotations

from typing import Final

from tests.nodes.sql.soak.generator import Generator
from tests.nodes.sql.soak.judge import Soak

NAMES: Final = ("p", "q", "s")
VIEW: Final = "v"
ACTIONS: Final = ("CASCADE", "CASCADE", "SET NULL", "SET NULL", "SET DEFAULT")
KEYS: Final = (
    "a INTEGER PRIMARY KEY",
    "a INTEGER PRIMARY KEY",
    "a INT PRIMARY KEY NOT NULL",
    "a INT PRIMARY KEY ON CONFLICT REPLACE NOT NULL",
)
UNIQUE: Final = ("", " UNIQUE", " UNIQUE ON CONFLICT REPLACE")
CONFLICTS: Final = ("", "OR REPLACE ", "OR REPLACE ", "OR REPLACE ", "OR IGNORE ", "OR FAIL ")
UPSERTS: Final = (
    "", "", "", " ON CONFLICT DO NOTHING", " ON CONFLICT (a) DO UPDATE SET b = excluded.b",
    " ON CONFLICT DO UPDATE SET d = d + 1, c = excluded.c",
    " ON CONFLICT (a) DO UPDATE SET a = excluded.b",
)  # fmt: skip
EVENTS: Final = ("INSERT", "UPDATE", "DELETE", "UPDATE OF a", "UPDATE OF b, c")
MOMENTS: Final = ("BEFORE", "BEFORE", "AFTER", "INSTEAD OF")
TRIGGERS: Final = 5
VALUES: Final = 6
"""So few that rows are often in each other's way."""


class Chains(Generator):
    """One schema for each seed; its triggers come and go."""

    _begun = 0

    def first(self) -> list[str]:
        rng, made = self.rng, []
        for name in NAMES:
            refers = "c"
            if rng.random() < 0.75:
                deletes, updates = rng.choice(ACTIONS), rng.choice(ACTIONS)
                parent = name if rng.random() < 0.5 else rng.choice(NAMES)
                refers += f" REFERENCES {parent} (a) ON DELETE {deletes}"
                refers += f" ON UPDATE {updates}"
                refers += rng.choice(("", " DEFERRABLE INITIALLY DEFERRED"))
            generated = rng.choice(("", "", ", g AS (b + 1)", ", g AS (b + 1) STORED UNIQUE"))
            kind = rng.choice(("", "", " WITHOUT ROWID"))
            if kind and "STORED" not in generated:
                generated = ""
            columns = f"{rng.choice(KEYS)}, b{rng.choice(UNIQUE)}, {refers}, d DEFAULT 1"
            made.append(f"CREATE TABLE {name} ({columns}{generated}){kind}")
            if rng.random() < 0.6:
                made.append(f"CREATE INDEX x{name} ON {name} ({rng.choice(('c', 'b, c', 'd'))})")
        return [*made, f"CREATE VIEW {VIEW} AS SELECT a, b, c, d FROM {rng.choice(NAMES)}"]

    def batch(self) -> list[str]:
        rng = self.rng
        self._begun += 1
        if self._begun < 4 or rng.random() < 0.06:
            if rng.random() < 0.7:
                return [self._create_trigger()]
            return [f"DROP TRIGGER IF EXISTS r{rng.randrange(TRIGGERS)}"]
        return [self._change() for _ in range(rng.choice((1, 1, 2)))]

    def _table(self) -> str:
        return self.rng.choice(NAMES) if self.rng.random() < 0.97 else VIEW

    def _change(self, row: str = "", table: str = "") -> str:
        """Of a trigger, whose `row` is "new." or "old."; or a client's."""
        rng, chance = self.rng, self.rng.random()
        table = table or self._table()
        returning = " RETURNING *" if not row and rng.random() < 0.2 else ""
        if chance < 0.5:
            return f"{self._added(table, row)}{returning}"
        if chance < 0.9:
            columns = rng.sample("abbccd", rng.choice((1, 1, 2)))
            sets = ", ".join(f"{each} = {self._given(each, row)}" for each in columns)
            change = f"UPDATE {rng.choice(CONFLICTS)}{table} SET {sets}"
        else:
            change = f"DELETE FROM {table}"
        return f"{change} WHERE {self._chosen(row)}{returning}"

    def _added(self, table: str, row: str) -> str:
        rng = self.rng
        rows = ", ".join(
            f"({', '.join(self._given(each, row, '') for each in 'abcd')})"
            for _ in range(rng.choice((1, 1, 1, 2, 4)))
        )
        source, upsert = f"VALUES {rows}", rng.choice(UPSERTS) if table != VIEW else ""
        if not upsert and rng.random() < 0.2:
            columns = f"a + {rng.randrange(3)}, b, c, d"
            source = f"SELECT {columns} FROM {self._table()} WHERE {self._chosen(row)}"
        return f"INSERT {rng.choice(CONFLICTS)}INTO {table} (a, b, c, d) {source}{upsert}"

    def _given(self, column: str, row: str, own: str = "abcd") -> str:
        """A value, maybe of the row that fires, or of the `own` columns of what is changed."""
        rng, chance = self.rng, self.rng.random()
        if row and chance < 0.3:
            return row + rng.choice("abcd")
        if own and chance < 0.45:
            return f"{rng.choice(own)} + {rng.randrange(2)}"
        return "NULL" if column == "c" and chance < 0.75 else str(rng.randrange(VALUES))

    def _chosen(self, row: str) -> str:
        rng = self.rng
        if row and rng.random() < 0.4:
            column = rng.choice("aabc")
            return f"{column} IS {row}{column}"
        other = (
            row + rng.choice("abcd") if row and rng.random() < 0.7 else str(rng.randrange(VALUES))
        )
        return f"{rng.choice('aabbcd')} {rng.choice(('=', '=', '<', '>', '<>', 'IS'))} {other}"

    def _create_trigger(self) -> str:
        rng = self.rng
        moment, event = rng.choice(MOMENTS), rng.choice(EVENTS)
        on = VIEW if moment == "INSTEAD OF" else rng.choice(NAMES)
        is_old = event == "DELETE" or (event != "INSERT" and rng.random() < 0.5)
        row = "old." if is_old else "new."
        body = "; ".join(
            self._change(row, on if rng.random() < 0.4 else "")
            for _ in range(rng.choice((1, 1, 2)))
        )
        name = f"TRIGGER IF NOT EXISTS r{rng.randrange(TRIGGERS)}"
        return f"CREATE {name} {moment} {event} ON {on} BEGIN {body}; END"


class ChainSoak(Soak):
    """Looks at every index and every row behind each transaction."""

    def __init__(self, seed: int, nodes: int = 3) -> None:
        super().__init__(seed, nodes)
        self.generator = Chains(self.rng)

    def _transaction(self) -> None:
        super()._transaction()
        found = list(self.plain.db.execute("PRAGMA integrity_check"))
        assert found == [("ok",)], f"{self._where(self.past[-1])}: {found}"
        self._as_plain(self.copies[self.primary])
