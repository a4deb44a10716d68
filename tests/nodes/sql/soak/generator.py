"""SQL of every form, by chance, about few names: much of it works, and what does not is as good."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

CREATED = re.compile(r"CREATE (UNIQUE )?(TABLE|INDEX|VIEW|TRIGGER) (IF NOT EXISTS )?")
TABLES = ("t0", "t1", "T2", '"t 3"', "t4")
COLUMNS = ("a", "b", "c", "d", "e", "rowid")
NOISE = (
    "",
    "",
    "",
    "",
    "",
    "",
    " ",
    "/* x */",
    "-- x\n",
    "\ufeff",
    ";",
    "/* ; /* ' */",
    "\r\n",
    "\t--\n",
)
TYPES = ("", "INTEGER", "INT", "TEXT", "REAL", "NUMERIC", "BLOB", "VARCHAR(10)", "DATETIME", "ANY")
COLLATIONS = ("", "", "", " COLLATE NOCASE", " COLLATE RTRIM", " COLLATE BINARY")
CONFLICTS = ("", "", "", "OR REPLACE ", "OR IGNORE ", "OR FAIL ", "OR ABORT ", "OR ROLLBACK ")
ACTIONS = ("CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION")
LITERALS = (
    "NULL", "0", "1", "2", "3", "7", "-1", "1.5", "-0.0", "1e300", "9e999", ".5", "0x1F", "1_000",
    "9223372036854775807", "-9223372036854775808", "'a'", "'A'", "'a '", "'b'", "'it''s'", "''",
    "'é'", "'☃\u2028'", "'1'", "'1.0'", "'{\"a\":[1,2]}'", "x''", "x'ff00'", "TRUE", "char(0)",
    "CURRENT_DATE", "random() % 5", "CAST('12x' AS INT)", "datetime('now')", "'\r\n;'", '"a"',
    "zeroblob(3)",
)  # fmt: skip
FUNCTIONS = (
    "abs({})", "length({})", "upper({})", "lower({})", "typeof({})", "hex({})", "quote({})",
    "trim({}, {})", "instr({}, {})", "replace({}, {}, {})", "substr({}, {}, {})",
    "coalesce({}, {})", "nullif({}, {})", "max({}, {})", "min({}, {})", "round({})",
    "ifnull({}, {})", "iif({}, {}, {})", "printf('%s|%d', {}, {})", "unicode({})", "sign({})",
    "json_array({}, {})", "json_valid({})", "json_quote({})", "ltrim({}, {})", "rtrim({})",
    "concat({}, {})", "sqrt({})", "unhex({})", "octet_length({})", "likely({})",
    "strftime('%Y', {})", "changes()", "last_insert_rowid()", "total_changes()",
)  # fmt: skip
AGGREGATES = (
    "count(*)", "count({})", "sum({})", "total({})", "min({})", "max({})", "avg({})",
    "group_concat({})", "json_group_array({})", "count(DISTINCT {})", "string_agg({}, ',')",
    "median({})",
)  # fmt: skip
WINDOWS = (
    "row_number() OVER (ORDER BY {})", "rank() OVER (PARTITION BY {} ORDER BY {})",
    "ntile(2) OVER (ORDER BY {})", "sum({}) OVER (ORDER BY {} ROWS 1 PRECEDING)",
    "lag({}) OVER (ORDER BY {})",
    "group_concat({}) OVER (ORDER BY {} GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
    "first_value({}) OVER (PARTITION BY {} ORDER BY {} DESC)",
    "count(*) FILTER (WHERE {}) OVER ()",
)  # fmt: skip
OPERATORS = ("+", "-", "*", "/", "%", "||", "=", "<", ">", "<=", "<>", "IS", "IS NOT", "AND", "OR")
OPERATORS += ("&", "|", "<<", "LIKE", "GLOB", "->>", "IS DISTINCT FROM")


class Generator:
    """Statements from `rng` alone."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng

    def batch(self) -> list[str]:
        """The statements of one transaction: of the schema, or of rows."""
        rng = self.rng
        if rng.random() < 0.08:
            return [self._noisy(self._schema()) for _ in range(1 if rng.random() < 0.8 else 3)]
        return [self._noisy(self._rows()) for _ in range(rng.choice((1, 1, 1, 2, 4)))]

    def first(self) -> list[str]:
        """Tables to begin with."""
        keys = ("INTEGER PRIMARY KEY", "TEXT PRIMARY KEY NOT NULL", "ANY PRIMARY KEY NOT NULL")
        return [
            f"CREATE TABLE {name} (a {self.rng.choice(keys)}, b, c, d TEXT, e REAL)"
            for name in TABLES[:3]
        ]

    def _noisy(self, sql: str) -> str:
        rng = self.rng
        if rng.random() < 0.1:
            sql = sql.replace(" ", rng.choice(("  ", "\n", "\t", " /**/ ")), 2)
        if rng.random() < 0.02:
            sql = f"EXPLAIN QUERY PLAN {sql}"
        return rng.choice(NOISE) + sql + rng.choice(("", "", ";", " ; ", "-- end", "/* end"))

    def _one(self, *makes: Callable[[], str]) -> str:
        return self.rng.choice(makes)()

    # --- expressions -----------------------------------------------------------------------

    def _table(self) -> str:
        return self.rng.choice(TABLES[:3] if self.rng.random() < 0.8 else TABLES)

    def _column(self) -> str:
        chance = self.rng.random()
        if chance < 0.02:
            return COLUMNS[5]
        return self.rng.choice(COLUMNS[:3] if chance < 0.93 else COLUMNS[:5])

    def _value(self, depth: int = 2) -> str:
        """Of columns, literals and functions."""
        rng, chance = self.rng, self.rng.random()
        if depth <= 0 or chance < 0.45:
            return rng.choice(LITERALS) if rng.random() < 0.5 else self._column()
        if chance < 0.65:
            return self._filled(rng.choice(FUNCTIONS), depth)
        if chance < 0.88:
            return f"({self._value(depth - 1)} {rng.choice(OPERATORS)} {self._value(depth - 1)})"
        if chance < 0.92:
            then, other = self._value(0), self._value(0)
            return f"CASE WHEN {self._value(depth - 1)} THEN {then} ELSE {other} END"
        if chance < 0.95:
            return f"({self._value(0)} IN ({self._value(0)}, {self._value(0)}, NULL))"
        if chance < 0.97:
            return f"CAST({self._value(depth - 1)} AS {rng.choice(TYPES[1:7])})"
        return f"(SELECT {self._filled(rng.choice(AGGREGATES), 1)} FROM {self._table()})"

    def _literal(self) -> str:
        return self.rng.choice(LITERALS) if self.rng.random() < 0.9 else self._filled("abs({})", 0)

    def _filled(self, form: str, depth: int) -> str:
        while "{}" in form:
            form = form.replace("{}", self._value(depth - 1), 1)
        return form

    def _where(self) -> str:
        return f" WHERE {self._value()}" if self.rng.random() < 0.7 else ""

    # --- queries ---------------------------------------------------------------------------

    def select(self, depth: int = 1) -> str:
        """A query; of two tables at most."""
        rng = self.rng
        if depth and rng.random() < 0.12:
            word = rng.choice(("UNION", "UNION ALL", "EXCEPT", "INTERSECT"))
            return (
                f"SELECT a FROM {self._table()} {word} SELECT {self._value()} FROM {self._table()}"
            )
        if depth and rng.random() < 0.1:
            return self._with(self.select(0))
        shown = ", ".join(self._one(self._value, self._value, self._windowed, lambda: "*")
                          for _ in range(rng.choice((1, 1, 2, 3))))  # fmt: skip
        source = self._table()
        if rng.random() < 0.2:
            join = rng.choice((",", "JOIN", "LEFT JOIN", "FULL JOIN", "CROSS JOIN", "NATURAL JOIN"))
            on = (
                f" ON y.a {rng.choice(('=', '<', 'IS'))} x.b"
                if join.endswith(" JOIN") and join[0] in "LF"
                else ""
            )
            source = f"{source} AS x {join} {self._table()} AS y{on}"
        group = ""
        if rng.random() < 0.25:
            shown = f"{shown}, {self._filled(rng.choice(AGGREGATES), 1)}"
            group = f" GROUP BY {self._column()}" if rng.random() < 0.7 else ""
            group += f" HAVING {self._value(1)}" if group and rng.random() < 0.3 else ""
        order = (
            f" ORDER BY {self._value(1)}{rng.choice(('', ' DESC', ' NULLS LAST'))}"
            if rng.random() < 0.5
            else ""
        )
        limit = f" LIMIT {rng.randrange(9)}" if rng.random() < 0.3 else ""
        distinct = "DISTINCT " if rng.random() < 0.1 else ""
        return f"SELECT {distinct}{shown} FROM {source}{self._where()}{group}{order}{limit}"

    def _windowed(self) -> str:
        return (
            self._filled(self.rng.choice(WINDOWS), 1) if self.rng.random() < 0.5 else self._value()
        )

    def _with(self, rest: str) -> str:
        count = "SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 9"
        if self.rng.random() < 0.5:
            return f"WITH RECURSIVE r(n) AS ({count}) {rest}"
        return f"WITH r AS MATERIALIZED (SELECT a, b FROM {self._table()}) {rest}"

    # --- rows --------------------------------------------------------------------------------

    def _rows(self) -> str:
        makes = (self._insert, self._insert, self._insert, self._update, self._update, self._delete)
        return self._one(*makes, self.select, self.select)

    def _returning(self) -> str:
        return f" RETURNING {self._value(1)}, *" if self.rng.random() < 0.2 else ""

    def _insert(self) -> str:
        rng, table = self.rng, self._table()
        verb = "REPLACE" if rng.random() < 0.1 else f"INSERT {rng.choice(CONFLICTS)}".rstrip()
        if rng.random() < 0.04:
            return f"{verb} INTO {table} DEFAULT VALUES{self._returning()}"
        names = rng.sample(COLUMNS[: rng.choice((3, 3, 3, 4))], rng.choice((2, 3, 3)))
        if rng.random() < 0.15:
            source = (
                f"SELECT {', '.join(self._value(1) for _ in names)} FROM {self._table()} LIMIT 5"
            )
            if rng.random() < 0.3:
                verb = self._with(verb)
        else:
            rows = rng.choice((1, 1, 2, 4))
            each = (f"({', '.join(self._literal() for _ in names)})" for _ in range(rows))
            source = f"VALUES {', '.join(each)}"
        upsert = ""
        if rng.random() < 0.25:
            on = rng.choice(("", f"({self._column()})", f"({self._column()})"))
            if source.startswith("SELECT"):
                source = source.replace(" LIMIT", " WHERE TRUE LIMIT")
            upsert = f" ON CONFLICT{on} DO UPDATE SET {self._column()} = excluded.{names[0]}"
            upsert = upsert if rng.random() < 0.7 else f" ON CONFLICT{on} DO NOTHING"
        return f"{verb} INTO {table} ({', '.join(names)}) {source}{upsert}{self._returning()}"

    def _update(self) -> str:
        rng, table = self.rng, self._table()
        columns = rng.sample(COLUMNS[: rng.choice((3, 3, 3, 5))], rng.choice((1, 1, 2)))
        if rng.random() < 0.02:
            columns = ["rowid"]
        sets = ", ".join(f"{each} = {self._value()}" for each in columns)
        source = f" FROM {self._table()} AS y" if rng.random() < 0.08 else ""
        where = f" WHERE {table}.a = y.a" if source else self._where()
        return f"UPDATE {rng.choice(CONFLICTS)}{table} SET {sets}{source}{where}{self._returning()}"

    def _delete(self) -> str:
        where = self._where() if self.rng.random() < 0.9 else ""
        return f"DELETE FROM {self._table()}{where}{self._returning()}"

    # --- schema --------------------------------------------------------------------------------

    def _schema(self) -> str:
        makes = (self._create_table, self._create_table, self._create_table, self._create_index)
        more = (self._create_trigger, self._create_view, self._alter, self._alter, self._drop)
        return self._placed(self._one(*makes, *more))

    def _placed(self, sql: str) -> str:
        """What is made may be made in another schema, by its name alone."""
        words = CREATED.match(sql)
        if words is None or self.rng.random() < 0.9:
            return sql
        schema = self.rng.choice(("main.", "main.", "temp."))
        return f"{words[0]}{schema}{sql[words.end() :]}"

    def _create_table(self) -> str:
        rng, table = self.rng, self._table()
        strict = rng.random() < 0.1
        names = list(COLUMNS[: rng.choice((3, 4, 5, 5))])
        if rng.random() < 0.05:
            names[-1] = "rowid"
        table = table if rng.random() < 0.5 else rng.choice(TABLES[3:])
        lines = [self._definition(each, strict) for each in names]
        tail = ["STRICT"] if strict else []
        chance = rng.random()
        if chance < 0.3:
            lines[0] = f"a INTEGER PRIMARY KEY{rng.choice(('', '', '', ' DESC', ' AUTOINCREMENT'))}"
        elif chance < 0.6:
            lines[0] = f"a {rng.choice(TYPES[1:6])} PRIMARY KEY NOT NULL{rng.choice(COLLATIONS)}"
        elif chance < 0.9:
            keys = rng.sample(names[:3], 2)
            lines.append(f"PRIMARY KEY ({keys[0]}{rng.choice(COLLATIONS)}, {keys[1]})")
            lines = [
                f"{each} NOT NULL" if each[0] in (keys[0], keys[1]) else each for each in lines
            ]
        if rng.random() < 0.3:
            tail.append("WITHOUT ROWID")
        if rng.random() < 0.3:
            lines.append(f"UNIQUE ({rng.choice(names)}, {rng.choice(names)})")
        if rng.random() < 0.15:
            lines.append(f"CHECK ({self._value(1)} IS NOT 7)")
        exists = rng.choice(("", "IF NOT EXISTS "))
        return f"CREATE TABLE {exists}{table} ({', '.join(lines)}) {', '.join(tail)}"

    def _definition(self, name: str, strict: bool) -> str:
        rng = self.rng
        text = f"{name} {rng.choice(('INT', 'TEXT', 'ANY', 'REAL') if strict else TYPES)}"
        if rng.random() < 0.1 and name not in "ab":
            kind = rng.choice(("", " STORED", " VIRTUAL"))
            return f"{text} AS ({rng.choice(('a || b', 'a + 1', 'b', 'length(a)'))}){kind}"
        if rng.random() < 0.15:
            text += f" DEFAULT ({rng.choice(LITERALS)})"
        if rng.random() < 0.1:
            text += f" UNIQUE{rng.choice((' ON CONFLICT REPLACE', ' ON CONFLICT IGNORE', '', ''))}"
        if rng.random() < 0.1:
            text += f" NOT NULL{rng.choice((' ON CONFLICT REPLACE', '', ''))}"
        if rng.random() < 0.15:
            text += f" REFERENCES {self._table()} ({rng.choice(COLUMNS[:2])})"
            text += f" ON DELETE {rng.choice(ACTIONS)} ON UPDATE {rng.choice(ACTIONS)}"
            text += rng.choice(("", "", " DEFERRABLE INITIALLY DEFERRED"))
        return text + rng.choice(COLLATIONS)

    def _create_index(self) -> str:
        rng = self.rng
        unique = rng.choice(("", "", "UNIQUE "))
        on = rng.choice(
            (self._column(), f"{self._column()} DESC", f"lower({self._column()})", "a, b")
        )
        where = f" WHERE {self._column()} IS NOT NULL" if rng.random() < 0.3 else ""
        index = f"{unique}INDEX IF NOT EXISTS i{rng.randrange(6)}"
        return f"CREATE {index} ON {self._table()} ({on}){where}"

    def _create_trigger(self) -> str:
        rng = self.rng
        when = rng.choice(("BEFORE", "AFTER", "AFTER", "INSTEAD OF"))
        event = rng.choice(("INSERT", "UPDATE", "DELETE", "UPDATE OF a"))
        on = "v0" if when == "INSTEAD OF" else self._table()
        row = "old" if event == "DELETE" else "new"
        body = rng.choice(
            (
                f"INSERT OR IGNORE INTO {self._table()} (a, b, c) VALUES ({row}.a, random(), ';')",
                f"UPDATE {self._table()} SET c = {row}.b WHERE a = {row}.a",
                f"DELETE FROM {self._table()} WHERE b = {row}.b",
                f"SELECT RAISE(IGNORE) WHERE {row}.a = 3",
                f"SELECT RAISE(ABORT, 'no') WHERE {row}.a = 7",
                f"SELECT RAISE(FAIL, 'no') WHERE {row}.b = 7",
            )
        )
        condition = f" WHEN {row}.a IS NOT NULL" if rng.random() < 0.3 else ""
        trigger = f"TRIGGER IF NOT EXISTS r{rng.randrange(4)} {when} {event} ON {on}{condition}"
        return f"CREATE {trigger} BEGIN {body}; END"

    def _create_view(self) -> str:
        return f"CREATE VIEW IF NOT EXISTS v{self.rng.randrange(2)} AS {self.select(0)}"

    def _alter(self) -> str:
        rng, column = self.rng, self._column()
        what = rng.choice(
            (
                f"RENAME TO {self._table()}",
                f"RENAME COLUMN {column} TO {self._column()}",
                f"ADD COLUMN {self._definition(column, False)}",
                f"DROP COLUMN {column}",
                f"ALTER COLUMN {column} SET NOT NULL",
                f"ALTER COLUMN {column} DROP NOT NULL",
            )
        )
        return f"ALTER TABLE {self._table()} {what}"

    def _drop(self) -> str:
        rng = self.rng
        kind, name = rng.choice(
            (
                ("TABLE", self._table() if rng.random() < 0.5 else TABLES[4]),
                ("INDEX", f"i{rng.randrange(6)}"),
                ("TRIGGER", f"r{rng.randrange(4)}"),
                ("TRIGGER", f"r{rng.randrange(4)}"),
                ("VIEW", f"v{rng.randrange(2)}"),
            )
        )
        if rng.random() < 0.1:
            return f"REINDEX {self._table()}"
        return f"DROP {kind} IF EXISTS {name}"
