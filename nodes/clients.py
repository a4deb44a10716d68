"""Clients of one tier: a few sequential processes run a workload against it and record all of it.

Every operation goes into the history, by which the run is judged. What is asked and how lives with
the family that is asked (its `workloads`); users (nodes/users/node.py) are clients of a whole site.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

import trio

from nodes.base import Context
from nodes.kind import Edge, Kind, TierSeen, Traffic
from nodes.metrics import Counter, Histogram
from nodes.parts.shedding import LEAST, MIDDLE
from nodes.parts.stores import misread
from nodes.parts.tally import ERROR, OK, READ, UNKNOWN, WRITE, Tally
from nodes.parts.timing import move_on_after
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory
from nodes.wire.service import Call, current_call
from nodes.workloads import Options, Setting, Workload
from nodes.workloads.base import KeyRing, Session, Step
from protocols.control import PURGE
from protocols.errors import RpcError

FINISH_TIMEOUT_S: Final = 30.0
STRAGGLERS_S: Final = 10.0
RETRY_S: Final = 0.25
MOST_PAUSE_S: Final = 5.0
"""After a burst: whoever is asked whether it is well has had an answer by then."""
MAX_DRAWS: Final = 100
REFUSED: Final = "refused"
"""The tier said no, as it must: not a failure of the service."""


@dataclass(frozen=True, slots=True)
class ClientsConfig:
    """`processes` clients, each doing one operation after the other."""

    asks: str
    """The tier that they ask: `asks: kv`."""
    uses: tuple[str, ...] = ()
    """Other tiers that the workload needs, a cache's its database: `uses: db`."""
    workload: str = "register"
    """One of those that the tier's kind has: of a database register, append, transactions, set or
    bank; of a kv tier register, append, bank, expiring or hot."""
    processes: int = 5
    """How many there are on each member, each with a session of its own."""
    think_time_s: float = 0.1
    """Mean of the (exponential) pause between a process's operations."""
    together_s: float = 0.0
    """Above 0: an operation that is due waits for the next multiple of so long on the node's clock,
    so that those of several processes begin at once."""
    burst: int = 0
    """So many operations follow each other without a thought, and then the pauses of all of them
    come as one; 0: each has its own."""
    keys: int = 4
    """How many objects are in use at a time."""
    operations_per_key: int = 100
    """After so many operations an object is left for a new one."""
    reads: Literal["primary", "replicas"] = "primary"
    """Where operations that only read are answered, if the tier's replicas can."""
    tokens: bool = True
    """Reads at replicas: whether they carry the session's token. Without, they may be old."""
    reading_ratio: float | None = None
    """The share of operations that change nothing; the workload's own if not said."""
    writers: int = 0
    """Only the first so many members write, and the others read what those wrote; 0: all write."""
    timeout_s: float = 5.0
    """For one operation, with the retries that its request id makes safe."""
    urgency: int = MIDDLE
    """How urgent their operations are, from 0 (the most) to 7: an overloaded server refuses the
    least urgent first, where its `cpu` has a `shed_wait`."""

    def __post_init__(self) -> None:
        if not 1 <= self.processes <= 1000:
            raise ValueError("`processes` is from 1 to 1000")
        if self.keys < 1 or self.operations_per_key < 1:
            raise ValueError("`keys` and `operations_per_key` must be at least 1")
        if self.reading_ratio is not None and not 0 <= self.reading_ratio <= 1:
            raise ValueError("`reading` is from 0 to 1")
        if self.timeout_s <= 0:
            raise ValueError("`timeout` must be above 0")
        if not 0 <= self.urgency <= LEAST:
            raise ValueError(f"`urgency` is from 0 (the most urgent) to {LEAST}")
        if min(self.together_s, self.think_time_s, self.burst, self.writers) < 0:
            raise ValueError("`together`, `think_time`, `burst` and `writers` must not be below 0")


@dataclass(frozen=True, slots=True)
class Assigned(ClientsConfig):
    """With the workload itself, which the kind of the tier brings."""

    make: Callable[[Setting], Workload] | None = None


def assigned(tier: TierSeen) -> Assigned:
    """The config that members run with. Raises ValueError where no kind has that workload."""
    config: ClientsConfig = tier.config
    known = {
        name: make for each in tier.reached["asks"] for name, make in each.kind.workloads.items()
    }
    if config.workload not in known:
        there = f"there are: {', '.join(known)}" if known else "there are none"
        raise ValueError(
            f"`workload`: `{config.asks}` has no workload {config.workload!r}; {there}"
        )
    options = {each.name: getattr(config, each.name) for each in fields(config)}
    return Assigned(**options, make=known[config.workload])


class ClientsNode:
    """Runs its workload until `finish` is called on its admin listener."""

    def __init__(self, ctx: Context, config: Assigned) -> None:
        self.ctx = ctx
        self.config = config
        self.tally = Tally(ctx.clock.monotonic_s())
        self.phase = "preparing"
        self._rng = ctx.rng("clients")
        only_reads = config.writers and int(ctx.name.rpartition("-")[2]) > config.writers
        self._reading_ratio = 1.0 if only_reads else config.reading_ratio
        self._processes = 0
        self._operations = 0
        self._running = 0
        self._stopped = trio.Event()
        self._idle = trio.Event()
        self._workload: Workload | None = None
        self._prepared = trio.Event()
        self._final: dict[str, Any] | None = None
        self._unread = self._last_error = ""
        """What a final read was answered, and what the latest operation that failed was."""
        self._counters: dict[tuple[str, str], Counter] = {}
        self._seconds: dict[str, Histogram] = {}
        self._failures = {
            effect: ctx.metrics.counter(
                "client_failures_total",
                "Operations that failed, or whose outcome is unknown.",
                effect=effect,
            )
            for effect in (READ, WRITE)
        }

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        admin = Admin(self.ctx, facts=self.facts)
        admin.add("summary", lambda call: self.summary())
        admin.add("finish", self._finish)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(admin.listen_and_serve)
            task_status.started()
            workload = self._workload = await self._prepare(nursery)
            self._prepared.set()
            self.tally = Tally(self.ctx.clock.monotonic_s())
            self.phase = "running"
            for _ in range(self.config.processes):
                self._running += 1
                nursery.start_soon(self._process, workload)

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        return {"role": "", "phase": self.phase, "requests": self.tally.requests}

    def summary(self) -> dict[str, Any]:
        """The numbers so far, and what the history is to be held to."""
        workload = self._workload
        stale_allowed = self.config.reads == "replicas" and not self.config.tokens
        return {
            "phase": self.phase,
            "guarantee": workload.guarantee if workload is not None else "",
            "promised": not stale_allowed,
            **self.tally.summary(self.ctx.clock.monotonic_s()),
            **(self._final or {}),
        }

    async def _prepare(self, nursery: trio.Nursery) -> Workload:
        """Find the tier, and make what the workload needs; again until the tier is there."""
        ctx, config = self.ctx, self.config
        directory = Directory(ctx, nursery)
        view = await directory.follow(config.asks)
        while not view.members:
            await view.changed.wait()
        options = Options(
            config.asks, config.keys, config.operations_per_key, config.reads, config.tokens,
            config.timeout_s, config.uses,
        )  # fmt: skip
        assert config.make is not None, "the loader joins clients and their tier"
        workload = config.make(Setting(ctx, nursery, directory, options))
        while True:
            try:
                await workload.prepare()
                return workload
            except RpcError as error:
                ctx.log.debug("tier not ready", tier=config.asks, why=str(error))
                await ctx.clock.sleep(RETRY_S)

    # --- the processes -----------------------------------------------------------------------

    async def _process(self, workload: Workload) -> None:
        clock, think_time_s = self.ctx.clock, self.config.think_time_s
        session = self._new_session()
        if self.config.urgency != MIDDLE:
            call = Call()
            call.urgency = self.config.urgency
            current_call.set(call)
        left = 0
        try:
            while not self._stopped.is_set():
                if think_time_s > 0 and not left:
                    left = self.config.burst or 1
                    pause_s = self._rng.expovariate(1 / (think_time_s * left))
                    if left > 1:
                        pause_s = min(pause_s, max(think_time_s, MOST_PAUSE_S))
                    with move_on_after(clock, pause_s):
                        await self._stopped.wait()
                    if self._stopped.is_set():
                        return
                left -= 1
                if self.config.together_s > 0:
                    await self._next_beat(self.config.together_s)
                outcome = await self._do_next(workload, session)
                if outcome == UNKNOWN:
                    session = self._new_session()  # what may still take effect ends a process
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def _do_next(self, workload: Workload, session: Session) -> str:
        """What the workload draws; or the last read of an object that is left for good."""
        keys = getattr(workload, "keys", None)
        if not isinstance(keys, KeyRing) or not keys.parting:
            self._operations += 1
            return await self._do(workload, self._next_step(workload), session)
        key = keys.parting.pop()
        outcome = OK
        for step in [each for each in workload.final_reads() if each.key == key]:
            outcome = await self._do(workload, step, session)
        if outcome == OK:
            keys.leave(key)
        return outcome

    async def _next_beat(self, every_s: float) -> None:
        now_s = self.ctx.clock.monotonic_s()
        await self.ctx.clock.sleep((now_s // every_s + 1) * every_s - now_s)

    def _next_step(self, workload: Workload) -> Step:
        """As the workload draws it, until it is of the sort that is wanted."""
        step = workload.next(self._rng, self._operations)
        if self._reading_ratio is not None:
            reads = self._rng.random() < self._reading_ratio
            for _ in range(MAX_DRAWS):
                if step.reads == reads:
                    break
                step = workload.next(self._rng, self._operations)
        return step

    def _new_session(self) -> Session:
        number, self._processes = self._processes, self._processes + 1
        return Session(f"{self.ctx.name}.{self.ctx.generation}/{number}")

    async def _do(self, workload: Workload, step: Step, session: Session) -> str:
        """One operation, recorded and counted; its outcome."""
        began_s = self.ctx.clock.monotonic_s()
        record = self.ctx.history.invoke(
            session.process, step.f, step.value, step.key, model=workload.model
        )
        outcome, reason = OK, ""
        try:
            record.ok(await workload.do(step, session))
        except RpcError as error:
            reason, self._last_error = error.code, str(error)
            if error.definite or step.reads:
                outcome = OK if reason == REFUSED else ERROR
                record.fail(reason)
            else:
                outcome = UNKNOWN
                record.info(reason)
        self._count(step, outcome, reason, began_s)
        return outcome

    def _count(self, step: Step, outcome: str, reason: str, began_s: float) -> None:
        now_s, operation = self.ctx.clock.monotonic_s(), step.f
        effect = READ if step.reads else WRITE
        self.tally.add(outcome, reason, began_s, now_s, effect)
        metrics = self.ctx.metrics
        counter = self._counters.get((operation, outcome))
        if counter is None:
            counter = self._counters[operation, outcome] = metrics.counter(
                "client_operations_total",
                "Operations of clients, by what came of them.",
                operation=operation,
                effect=effect,
                outcome=outcome,
            )
            self._seconds[operation] = metrics.histogram(
                "client_operation_seconds",
                "Seconds to an operation's end.",
                operation=operation,
                effect=effect,
            )
        counter.value += 1
        self._failures[effect].value += outcome != OK
        self._seconds[operation].observe(now_s - began_s)

    # --- the end of a run --------------------------------------------------------------------

    async def _finish(self, call: Call, timeout_ms: int = int(FINISH_TIMEOUT_S * 1000)) -> Any:
        """Stop, wait for stragglers, read everything once more; then the run's summary.

        Call it once the cluster is healed. A second call gives the same answer.
        """
        if self._final is None:
            self._stopped.set()
            self.tally.ended_s = self.tally.ended_s or self.ctx.clock.monotonic_s()
            self.phase = "finishing"
            if self._running:
                with move_on_after(self.ctx.clock, STRAGGLERS_S):
                    await self._idle.wait()
            complete = False
            with move_on_after(self.ctx.clock, timeout_ms / 1000):
                complete = await self._read_all()
            self._final = {"final_read": "complete" if complete else "failed"}
            if not complete:
                self._final["final_answer"] = self._unread or "nothing: no answer came"
            self.phase = "finished"
        return self.summary()

    async def _read_all(self) -> bool:
        """Each final read, again until it is answered."""
        if self._workload is None:  # the run ends before the tier was ready
            await self._prepared.wait()
        workload = self._workload
        assert workload is not None
        session = self._new_session()
        for step in workload.final_reads():
            self._unread = ""
            while await self._do(workload, step, session) != OK:
                self._unread = f"{self._last_error} ({step.f} of {step.key or 'everything'})"
                await self.ctx.clock.sleep(RETRY_S)
        return True


EVENTS: Final = {"tier not ready": "Clients wait until the tier that they ask is there."}
TRAFFIC: Final = Traffic(
    "client_operations_total", "client_failures_total", "client_operation_seconds"
)
KIND: Final = Kind(
    ClientsConfig,
    ClientsNode,
    (),
    about="Clients that run a workload against one tier and record all of it, so that the "
    "run can be judged.",
    example="registers: {kind: clients, asks: kv, workload: register, processes: 4}",
    edges=(Edge("asks", (PURGE,)), "uses"),
    clients=True,
    traffic=TRAFFIC,
    mistakes=misread,
    joined=assigned,
    varied={
        "think_time_s": (0.03, 0.1),
        "burst": (4, 16),
        "together_s": (0.02, 0.1),
        "keys": (1, 2),
        "operations_per_key": (5, 20),
    },
    sizes={2: {"writers": 1}},
)
