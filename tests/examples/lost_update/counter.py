"""A counter that is right until somebody else counts too: the first lesson of `emu sim`.

Two nodes count in one database. Each keeps the number in memory, to save the question what it is
just now. Clients go to the first node and, when it does not answer, to the second. Can you see the
mistake? `emu sim` can (the story is in README.md beside this file).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio

from nodes.base import RPC_PORT, Context
from nodes.kind import Kind
from nodes.parts.tally import ERROR, OK, UNKNOWN, Tally
from nodes.sql.client import DatabaseClient
from nodes.wire.admin import Admin
from nodes.wire.client import Client
from nodes.wire.directory import Directory
from nodes.wire.service import Call, Service
from protocols.errors import RpcError

TABLE = "CREATE TABLE IF NOT EXISTS counter (name TEXT NOT NULL PRIMARY KEY, number INTEGER)"
WRITE = "INSERT INTO counter VALUES ('clicks', ?) ON CONFLICT (name) DO UPDATE SET number = ?"
ADD = (
    "INSERT INTO counter VALUES ('clicks', 1) ON CONFLICT (name) DO UPDATE SET number = number + 1"
)
READ = "SELECT number FROM counter WHERE name = 'clicks'"
TIMEOUT_S = 1.0
FIRST_CHOICE_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class CounterConfig:
    uses: str
    """The database tier."""
    remembers: bool = True
    """Whether a node keeps the number in memory. (The cure is not to.)"""


class Counter:
    """`incr` counts one more and returns the number, `get` returns it."""

    def __init__(self, ctx: Context, config: CounterConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.number: int | None = None
        self.written = 0
        self.lock = trio.Lock()
        self.service = Service(ctx)
        self.service.add("incr", self.incr)
        self.service.add("get", self.get)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            directory = Directory(self.ctx, nursery)
            self.database = DatabaseClient(self.ctx, nursery, directory, self.config.uses)
            await self.database.start()
            nursery.start_soon(Admin(self.ctx, service=self.service).listen_and_serve)
            nursery.start_soon(self.service.serve, await self.ctx.network.listen(RPC_PORT))
            task_status.started()
            await self.make_table()

    async def make_table(self) -> None:
        while True:
            with suppress(RpcError):
                await self.database.write([[TABLE, []]], request_id="counter-table")
                return
            await self.ctx.clock.sleep(TIMEOUT_S)

    async def incr(self, call: Call) -> int:
        if not self.config.remembers:
            _, seen = await self.write([ADD, []], [READ, []])
            return int(seen["rows"][0][0])
        async with self.lock:
            if self.number is None:
                self.number = await self.read()
            number = self.number + 1
            self.number = None  # it may get written or not: if we never hear, ask next time
            await self.write([WRITE, [number, number]])
            self.number = number
            return number

    async def get(self, call: Call) -> int:
        return await self.read()

    async def read(self) -> int:
        rows = (await self.database.query(READ)).rows
        return int(rows[0][0]) if rows else 0

    async def write(self, *statements: list[Any]) -> list[dict[str, Any]]:
        """One transaction; asking again does not do it twice."""
        self.written += 1
        request_id = f"{self.ctx.name}-{self.ctx.generation}-{self.written}"
        return (await self.database.write(statements, request_id=request_id)).results


@dataclass(frozen=True, slots=True)
class ClickersConfig:
    visits: str
    """The counter tier."""
    clients: int = 3
    think_time_s: float = 0.3


class Clickers:
    """Sequential clients that count clicks, and tell the history what they were answered."""

    def __init__(self, ctx: Context, config: ClickersConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.rng = ctx.rng("clickers")
        self.tally = Tally(ctx.clock.monotonic_s())
        self.clients: dict[str, Client] = {}
        self.first_choice_failed_s = float("-inf")
        self.processes = 0
        self.scope = trio.CancelScope()
        self.finished = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        admin = Admin(self.ctx)
        admin.add("summary", lambda call: self.summary())
        admin.add("finish", self.finish)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(admin.listen_and_serve)
            self.counters = await Directory(self.ctx, nursery).follow(self.config.visits)
            self.nursery = nursery
            task_status.started()
            with self.scope:
                async with trio.open_nursery() as clicking:
                    for _ in range(self.config.clients):
                        clicking.start_soon(self.click_forever)
            await trio.sleep_forever()

    def summary(self) -> dict[str, Any]:
        return self.tally.summary(self.ctx.clock.monotonic_s())

    async def click_forever(self) -> None:
        process = self.new_process()
        while True:
            await self.ctx.clock.sleep(self.rng.expovariate(1 / self.config.think_time_s))
            if await self.ask(process, "incr") == UNKNOWN:
                process = self.new_process()  # its click may still be counted, at any time

    async def ask(self, process: str, method: str) -> str:
        now_s = self.ctx.clock.monotonic_s()
        operation = self.ctx.history.invoke(process, method, key="clicks", model="kv")
        outcome, reason = OK, ""
        try:
            operation.ok(await self.client().call(method, timeout_s=TIMEOUT_S))
        except RpcError as error:
            reason = error.code
            self.first_choice_failed_s = self.ctx.clock.monotonic_s()
            outcome = ERROR if error.definite else UNKNOWN
            (operation.fail if error.definite else operation.info)(reason)
        self.tally.add(outcome, reason, now_s, self.ctx.clock.monotonic_s())
        return outcome

    def client(self) -> Client:
        """The first counter's; the other's for a while after a failure."""
        waited_s = self.ctx.clock.monotonic_s() - self.first_choice_failed_s
        member = self.counters.members[0 if waited_s >= FIRST_CHOICE_AGAIN_S else -1]
        if member.name not in self.clients:
            self.clients[member.name] = Client(self.ctx, self.nursery, member.name)
        return self.clients[member.name]

    def new_process(self) -> str:
        self.processes += 1
        return f"{self.ctx.name}.{self.ctx.generation}/{self.processes}"

    async def finish(self, call: Call) -> dict[str, Any]:
        """Stop clicking, and look at the number once more."""
        if not self.finished:
            self.finished = True
            self.scope.cancel()
            process = self.new_process()
            while await self.ask(process, "get") != OK:
                process = self.new_process()
                await self.ctx.clock.sleep(TIMEOUT_S)
        return self.summary()


COUNTERS = Kind(CounterConfig, Counter, edges=("uses",))
CLICKERS = Kind(ClickersConfig, Clickers, edges=("visits",), clients=True)
