"""Workloads on a kv tier: single keys with all their commands, lists, a bank in one slot, limits.

Every write carries a request id (the client sees to it); reads go to the primaries.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from nodes.kv.client import KvClient
from nodes.kv.scatter import Scatter
from nodes.parts.lives import of_this_run
from nodes.replica.client import GroupClient
from nodes.workloads.base import KeyRing, Session, Setting, Step, Workload
from protocols.errors import RpcError
from protocols.kv import words

ROUTER: Final = "kv_router"
HOT_KEY: Final = "hot"
HOT_SHARE: Final = 0.5
COLD_KEYS: Final = 2000
ACCOUNTS: Final = 5
OPENING_BALANCE: Final = 100
MOST_MOVED: Final = 10
MOVED: Final = "/moved"
ANEW: Final = "/anew"
PAGE_KEYS: Final = 8
LEAST_TTL_MS: Final = 50
MOST_TTL_MS: Final = 2000


class KvWorkload:
    """What they have in common: the client, unique values, and reads of every key at the end."""

    model = ""
    guarantee = ""

    def __init__(self, setting: Setting) -> None:
        ctx, options = setting.ctx, setting.options
        self.ctx = ctx
        self.options = options
        self.name = of_this_run(ctx, f"{ctx.name}.{ctx.generation}")
        self.keys = KeyRing(f"{of_this_run(ctx, ctx.tier)}-", options, ctx, self.model)
        self._setting = setting
        self._client: KvClient | None = None
        self._router: GroupClient | None = None
        self._requests = 0

    async def prepare(self) -> None:
        setting, asks = self._setting, self.options.asks
        view = await setting.directory.follow(asks)
        if view.members[0].kind == ROUTER:
            self._router = GroupClient(setting.ctx, setting.nursery, setting.directory, asks)
        elif self._client is None:
            self._client = KvClient(setting.ctx, setting.nursery, setting.directory, asks)
        await self._call(words.GET, "probe")

    async def _call(self, command: str, *params: Any) -> Any:
        timeout_s = self.options.timeout_s
        if self._client is not None:
            return await self._client.call(command, *params, timeout_s=timeout_s)
        assert self._router is not None, "prepare comes first"
        self._requests += 1
        plain = words.with_request_id(command, list(params), f"{self.name}-{self._requests}")
        return await self._router.ask(command, *plain, timeout_s=timeout_s, anywhere=True)

    def value(self, number: int) -> str:
        """No other operation of the run writes this one."""
        return f"{self.name}-{number}"

    def limited(self, rng: random.Random, number: int) -> str:
        """Such a value, which says how long it may live (see `ttl_of`)."""
        return f"{self.value(number)}/{rng.randint(LEAST_TTL_MS, MOST_TTL_MS)}"

    def final_reads(self) -> Sequence[Step]:
        return [Step("read", key) for key in self.keys.used]


def ttl_of(value: Any) -> int:
    """The milliseconds of a `limited` value."""
    return int(str(value).rpartition("/")[2])


class Register(KvWorkload):
    """Reads, writes, compare-and-set and deletes of single keys; some are counters only."""

    model = "kv"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)

    def next(self, rng: random.Random, number: int) -> Step:
        key = self.keys.choose(rng, number)
        if key.endswith(("1", "3")):  # a counter: a retry that is done twice shows at once
            return Step(rng.choice(("incr", "incr", "read")), key, None)
        match rng.choice(("read", "read", "write", "write", "cas", "delete")):
            case "read":
                return Step("read", key)
            case "delete":
                return Step("delete", key)
            case "cas":
                return Step("cas", key, [self.keys.notes.get(key), self.value(number)])
        return Step("write", key, self.value(number))

    async def do(self, step: Step, session: Session) -> Any:
        key = step.key
        match step.f:
            case "read":
                self.keys.notes[key] = await self._call(words.GET, key)
                return self.keys.notes[key]
            case "incr":
                return await self._call(words.INCR, key)
            case "delete":
                return await self._call(words.DELETE, key)
            case "cas":
                old, new = step.value
                done = await self._call(words.COMPARE_AND_SET, key, old, new)
                return [old, new, done]
        await self._call(words.SET, key, step.value)
        self.keys.notes[key] = step.value
        return step.value


class Append(KvWorkload):
    """Lists that are appended to, and read whole; by a hash tag they are all in one slot."""

    model = "list-append"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.keys = KeyRing(
            f"{{{of_this_run(self.ctx, self.ctx.tier)}}}-", self.options, self.ctx, self.model
        )

    def next(self, rng: random.Random, number: int) -> Step:
        key = self.keys.choose(rng, number)
        return Step("read", key) if rng.random() < 0.5 else Step("append", key, self.value(number))

    async def do(self, step: Step, session: Session) -> Any:
        if step.f == "read":
            return await self._call(words.GET, step.key) or []
        await self._call(words.APPEND, step.key, [step.value])
        return step.value


class Expiring(KvWorkload):
    """Keys with a time limit, and deletes. What is over must never come back.

    Nobody knows when a limit takes effect, so the history says: a delete that may happen at any
    time from the write on.
    """

    model = "kv"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._limits = 0

    def next(self, rng: random.Random, number: int) -> Step:
        key = self.keys.choose(rng, number)
        match rng.choice(("read", "read", "write", "delete")):
            case "read":
                return Step("read", key)
            case "delete":
                return Step("delete", key)
        return Step("write", key, self.limited(rng, number))

    async def do(self, step: Step, session: Session) -> Any:
        match step.f:
            case "read":
                return await self._call(words.GET, step.key)
            case "delete":
                return await self._call(words.DELETE, step.key)
        self._limits += 1
        phantom = f"{self.name}/limit-{self._limits}"
        self.ctx.history.invoke(phantom, "delete", None, step.key, model=self.model).info("limit")
        ttl_ms = ttl_of(step.value)
        if ttl_ms % 2:
            await self._call(words.SET, step.key, step.value, {"ttl_ms": ttl_ms})
            return step.value
        await self._call(words.SET, step.key, step.value)
        with suppress(RpcError):  # it is written, whatever becomes of its limit
            await self._call(words.EXPIRE, step.key, ttl_ms)
        return step.value


class Kept(KvWorkload):
    """Keys whose time limits are taken away as they are set, so that nothing may come of them."""

    model = "kv"

    def next(self, rng: random.Random, number: int) -> Step:
        key = self.keys.choose(rng, number)
        if rng.random() < 0.5:
            return Step("read", key)
        return Step("write", key, self.limited(rng, number))

    async def do(self, step: Step, session: Session) -> Any:
        if step.f == "read":
            return await self._call(words.GET, step.key)
        ttl_ms = ttl_of(step.value)
        limited = [words.SET, step.key, step.value, {"ttl_ms": ttl_ms}]
        await self._call(words.TRANSACT, [limited, [words.EXPIRE, step.key, None]])
        return step.value


class Bank(KvWorkload):
    """Money moves between a few accounts of one slot, a transaction each; nobody is overdrawn."""

    model = "bank"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.accounts = [f"{{bank}}account-{number}" for number in range(1, ACCOUNTS + 1)]
        self._seen: dict[str, dict[str, int]] = {}
        """By process: the balances that it goes by, until they are refused for being old."""

    async def prepare(self) -> None:
        await super().prepare()
        for account in self.accounts:
            await self._call(words.SET, account, OPENING_BALANCE, {"if": words.ABSENT})

    def next(self, rng: random.Random, number: int) -> Step:
        if rng.random() < 0.3:
            return Step("balances")
        source, target = rng.sample(self.accounts, 2)
        amount = rng.randint(1, MOST_MOVED)
        return Step("transfer", None, {"from": source, "to": target, "amount": amount})

    async def do(self, step: Step, session: Session) -> Any:
        if step.f == "balances":
            return await self._balances()
        order = step.value
        balances = self._seen.pop(session.process, None) or await self._balances()
        source, target, amount = order["from"], order["to"], order["amount"]
        rest = balances[source] - amount
        if rest < 0:
            raise RpcError("refused", "not that much is there")
        operations = [
            [words.INCR, target, amount],  # which nobody may see where the other is refused
            [words.COMPARE_AND_SET, source, balances[source], rest],
        ]
        await self._call(words.TRANSACT, operations)
        moved = {source: rest, target: balances[target] + amount}
        self._seen[session.process] = balances | moved
        return order

    async def _balances(self) -> dict[str, int]:
        reads = [[words.GET, account] for account in self.accounts]
        return dict(zip(self.accounts, await self._call(words.TRANSACT, reads), strict=True))

    def final_reads(self) -> Sequence[Step]:
        return [Step("balances")]


class Indexed(KvWorkload):
    """Documents that are written, some of them for another author first, and found by the store's
    index (of the field `author`), on all shards. In the end those who were left have none."""

    model = "set"
    _scatter: Scatter | None = None

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._left = f"{self.name}/left"
        """An author of this node's own, whom documents leave."""

    def next(self, rng: random.Random, number: int) -> Step:
        author = self.keys.choose(rng, number)
        if rng.random() < 0.4:
            return Step("read", author)
        return Step("add", author, f"{self.value(number)}{rng.choice(('', '', MOVED, ANEW))}")

    async def do(self, step: Step, session: Session) -> Any:
        if step.f == "read":
            return await self._find(step.key)
        key = str(step.value)
        if not key.endswith((MOVED, ANEW)):
            await self._call(words.SET, key, {"author": step.key})
            return step.value
        has_left = False
        try:
            await self._call(words.SET, key, {"author": self._left})
            if key.endswith(MOVED):
                await self._call(words.UPDATE, key, {"author": step.key})
            else:
                await self._call(words.DELETE, key)
                await self._call(words.SET, key, {"author": step.key})
            has_left = True
        finally:
            if not has_left:
                note = self.ctx.history.invoke(key, "add", key, self._left, model=self.model)
                note.info("it may still be there")
        return step.value

    def final_reads(self) -> Sequence[Step]:
        return [*super().final_reads(), Step("read", self._left)]

    async def _find(self, author: Any) -> list[str]:
        found: list[str] = []
        while True:
            options = {"limit": PAGE_KEYS, "after": found[-1] if found else ""}
            answer = await self._page(author, options)
            found += answer["keys"]
            if not answer["more"]:
                return found

    async def _page(self, author: Any, options: dict[str, Any]) -> dict[str, Any]:
        """All shards answer, or it is refused."""
        if self._client is None:
            return dict(await self._call(words.FIND, author, options))
        if self._scatter is None:
            self._scatter = Scatter(self._client)
        return await self._scatter.find(author, timeout_s=self.options.timeout_s, **options)


class Hot(KvWorkload):
    """Half of all operations read one key; the others are spread over many. What is read is never
    written, so it may be as old as it likes."""

    model = "kv"

    def next(self, rng: random.Random, number: int) -> Step:
        if rng.random() < HOT_SHARE:
            return Step("read", HOT_KEY)
        if rng.random() < 0.8:
            return Step("read", f"cold-{rng.randrange(COLD_KEYS)}")
        return Step("write", f"written-{rng.randrange(COLD_KEYS)}", self.value(number))

    async def do(self, step: Step, session: Session) -> Any:
        if step.f == "read":
            return await self._call(words.GET, step.key)
        await self._call(words.SET, step.key, step.value)
        return step.value

    def final_reads(self) -> Sequence[Step]:
        return [Step("read", HOT_KEY)]


WORKLOADS: Final[Mapping[str, Callable[[Setting], Workload]]] = {
    "register": Register,
    "append": Append,
    "bank": Bank,
    "expiring": Expiring,
    "hot": Hot,
    "indexed": Indexed,
    "kept": Kept,
}
