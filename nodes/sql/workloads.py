"""Workloads on a database tier: a register, lists, a set and a bank, in plain SQL.

Every write is one transaction with a request id (or an interactive one, without); reads go to the
primary, or to replicas with the session's token.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from nodes.parts.lives import of_this_run
from nodes.sql.client import DatabaseClient
from nodes.workloads.base import KeyRing, Session, Setting, Step, Workload
from protocols.database import Rows, Written
from protocols.errors import RpcError

SESSION: Final = "session"
ACCOUNTS: Final = 5
OPENING_BALANCE: Final = 100
MOST_MOVED: Final = 60
"""Often more than there is: the guard must refuse it."""
DOOMED: Final = "/doomed"
LAST_PLACE: Final = "SELECT ifnull(max(place), 0) FROM lists WHERE k = ?"


class SqlWorkload:
    """What they have in common: two ways to ask, request ids, unique values."""

    model = ""
    tables: Sequence[str] = ()

    def __init__(self, setting: Setting) -> None:
        ctx, options = setting.ctx, setting.options
        self.options = options
        self.replicas = options.reads == "replicas"
        self.guarantee = SESSION if self.replicas else ""
        self.name = of_this_run(ctx, f"{ctx.name}.{ctx.generation}")
        # another tier's history is another's
        self.keys = KeyRing(f"{of_this_run(ctx, ctx.tier)}-k", options, ctx, self.model)
        self._requests = 0
        self._client = DatabaseClient(
            ctx,
            setting.nursery,
            setting.directory,
            options.asks,
            replicas=self.replicas,
            linearizable=not self.replicas,
        )

    async def prepare(self) -> None:
        await self._client.start()
        made = f"{self.options.asks}-{type(self).__name__}"
        await self._write(None, list(self.tables), request_id=made)

    async def _query(self, session: Session, sql: str, *params: Any) -> Rows:
        token = session.token if self.replicas and self.options.tokens else None
        timeout_s = self.options.timeout_s
        rows = await self._client.query(sql, *params, token=token, timeout_s=timeout_s)
        session.token = max(session.token, rows.lsn)
        return rows

    async def _write(
        self, session: Session | None, statements: Sequence[Any], *, request_id: str = ""
    ) -> Written:
        self._requests += 1
        written = await self._client.write(
            [each if isinstance(each, list) else [each] for each in statements],
            request_id=request_id or f"{self.name}-{self._requests}",
            timeout_s=self.options.timeout_s,
        )
        if session is not None:
            session.token = max(session.token, written.lsn)
        return written

    def _value(self, number: int) -> str:
        """No other operation of the run writes this one."""
        return f"{self.name}-{number}"


class Register(SqlWorkload):
    """Reads, writes and compare-and-set of single rows."""

    model = "cas-register"
    tables = ("CREATE TABLE IF NOT EXISTS registers (k TEXT PRIMARY KEY NOT NULL, v TEXT)",)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        if self.replicas:
            self.model = "register"

    def next(self, rng: random.Random, number: int) -> Step:
        key = self.keys.choose(rng, number)
        kinds = ("read", "write") if self.replicas else ("read", "write", "cas")
        match rng.choice(kinds):
            case "read":
                return Step("read", key)
            case "cas":
                return Step("cas", key, [self.keys.notes.get(key), self._value(number)])
        return Step("write", key, self._value(number))

    async def do(self, step: Step, session: Session) -> Any:
        match step.f:
            case "read":
                found = await self._query(session, "SELECT v FROM registers WHERE k = ?", step.key)
                value = found.rows[0][0] if found.rows else None
                self.keys.notes[step.key] = value
                return value
            case "cas":
                return await self._compare_and_set(step, session)
        await self._write(
            session,
            [["INSERT INTO registers VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
              [step.key, step.value]]],
        )  # fmt: skip
        self.keys.notes[step.key] = step.value
        return step.value

    async def _compare_and_set(self, step: Step, session: Session) -> list[Any]:
        old, new = step.value
        if old is None:
            statement = ["INSERT INTO registers VALUES (?, ?) ON CONFLICT (k) DO NOTHING",
                         [step.key, new]]  # fmt: skip
        else:
            statement = ["UPDATE registers SET v = ? WHERE k = ? AND v = ?", [new, step.key, old]]
        written = await self._write(session, [statement])
        done = written.results[0]["changes"] == 1
        if done:
            self.keys.notes[step.key] = new
        return [old, new, done]

    def final_reads(self) -> Sequence[Step]:
        return [Step("read", key) for key in self.keys.used]


class Append(SqlWorkload):
    """Lists that are appended to, and read whole."""

    model = "list-append"
    tables = (
        "CREATE TABLE IF NOT EXISTS lists (k TEXT NOT NULL, place INTEGER NOT NULL,"
        " element TEXT NOT NULL, PRIMARY KEY (k, place))",
    )

    def next(self, rng: random.Random, number: int) -> Step:
        key = self.keys.choose(rng, number)
        if rng.random() < 0.5:
            return Step("read", key)
        return Step("append", key, self._value(number))

    async def do(self, step: Step, session: Session) -> Any:
        if step.f == "read":
            sql = "SELECT element FROM lists WHERE k = ? ORDER BY place"
            return [row[0] for row in (await self._query(session, sql, step.key)).rows]
        sql = "INSERT INTO lists SELECT ?, ifnull(max(place), 0) + 1, ? FROM lists WHERE k = ?"
        await self._write(session, [[sql, [step.key, step.value, step.key]]])
        return step.value

    def final_reads(self) -> Sequence[Step]:
        return [Step("read", key) for key in self.keys.used]


class Transactions(Append):
    """The same lists, each element appended in an interactive transaction: the end is looked up,
    then written behind. It carries no request id, so nothing of it may be done twice."""

    async def do(self, step: Step, session: Session) -> Any:
        if step.f == "read":
            return await super().do(step, session)
        try:
            transaction = await self._client.begin(timeout_s=self.options.timeout_s)
            found = await transaction.execute(LAST_PLACE, step.key)
            place = found["rows"][0][0] + 1
            await transaction.execute(
                "INSERT INTO lists VALUES (?, ?, ?)", step.key, place, step.value
            )
        except RpcError as error:
            raise RpcError("unavailable", f"nothing was committed: {error}") from error
        written = await transaction.commit()
        session.token = max(session.token, written.lsn)
        return step.value


class Set(SqlWorkload):
    """Elements that are added, and read all together."""

    model = "set"
    tables = (
        "CREATE TABLE IF NOT EXISTS sets"
        " (k TEXT NOT NULL, element TEXT NOT NULL, PRIMARY KEY (k, element))",
    )

    def next(self, rng: random.Random, number: int) -> Step:
        key = self.keys.choose(rng, number)
        if rng.random() < 0.25:
            return Step("read", key)
        return Step("add", key, self._value(number))

    async def do(self, step: Step, session: Session) -> Any:
        if step.f == "read":
            sql = "SELECT element FROM sets WHERE k = ? ORDER BY element"
            return [row[0] for row in (await self._query(session, sql, step.key)).rows]
        await self._write(session, [["INSERT INTO sets VALUES (?, ?)", [step.key, step.value]]])
        return step.value

    def final_reads(self) -> Sequence[Step]:
        return [Step("read", key) for key in self.keys.used]


class Batches(Set):
    """Elements of two rows, written in one transaction; every third is refused at its end. Nothing
    of such a one may ever show, and of no element only a half."""

    tables = (
        "CREATE TABLE IF NOT EXISTS batches"
        " (k TEXT NOT NULL, element TEXT NOT NULL, part INTEGER NOT NULL,"
        " PRIMARY KEY (k, element, part))",
    )

    def next(self, rng: random.Random, number: int) -> Step:
        step = super().next(rng, number)
        if step.f == "add" and rng.random() < 0.33:
            return Step("add", step.key, f"{step.value}{DOOMED}")
        return step

    async def do(self, step: Step, session: Session) -> Any:
        if step.f == "read":
            sql = "SELECT element, count(*) FROM batches WHERE k = ? GROUP BY element"
            found = (await self._query(session, sql, step.key)).rows
            return [row[0] if row[1] == 2 else f"a half of {row[0]}" for row in found]
        insert = "INSERT INTO batches VALUES (?, ?, ?)"
        batch: list[Any] = [[insert, [step.key, step.value, part]] for part in (1, 2)]
        if str(step.value).endswith(DOOMED):
            batch.append(["DELETE FROM batches WHERE k = 'nobody'", [], {"rows": 1}])
        await self._write(session, batch)
        return step.value


class Bank(SqlWorkload):
    """Money moves between a few accounts; nobody may be overdrawn."""

    model = "bank"
    tables = (
        "CREATE TABLE IF NOT EXISTS accounts"
        " (name TEXT PRIMARY KEY NOT NULL, balance INTEGER NOT NULL CHECK (balance >= 0))",
    )

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.guarantee = ""  # an old state of all accounts has the same total
        self.accounts = [f"account-{number}" for number in range(1, ACCOUNTS + 1)]

    async def prepare(self) -> None:
        await super().prepare()
        opening = [
            ["INSERT OR IGNORE INTO accounts VALUES (?, ?)", [name, OPENING_BALANCE]]
            for name in self.accounts
        ]
        await self._write(None, opening, request_id=f"{self.options.asks}-{self.model}-opening")

    def next(self, rng: random.Random, number: int) -> Step:
        if rng.random() < 0.3:
            return Step("balances")
        source, target = rng.sample(self.accounts, 2)
        amount = rng.randint(1, MOST_MOVED)
        return Step("transfer", None, {"from": source, "to": target, "amount": amount})

    async def do(self, step: Step, session: Session) -> Any:
        if step.f == "balances":
            sql = "SELECT name, balance FROM accounts ORDER BY name"
            return {row[0]: row[1] for row in (await self._query(session, sql)).rows}
        order = step.value
        one_row = {"rows": 1}
        await self._write(
            session,
            [
                ["UPDATE accounts SET balance = balance - ? WHERE name = ? AND balance >= ?",
                 [order["amount"], order["from"], order["amount"]], one_row],
                ["UPDATE accounts SET balance = balance + ? WHERE name = ?",
                 [order["amount"], order["to"]], one_row],
            ],
        )  # fmt: skip
        return order

    def final_reads(self) -> Sequence[Step]:
        return [Step("balances")]


WORKLOADS: Final[Mapping[str, Callable[[Setting], Workload]]] = {
    "register": Register,
    "append": Append,
    "transactions": Transactions,
    "set": Set,
    "batches": Batches,
    "bank": Bank,
}
