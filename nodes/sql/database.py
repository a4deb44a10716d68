"""The primary/replica SQL database: protocols/database.py over a replicated log.

Writes go to the primary, run ahead, and are answered when the log has them at the configured level.
What SQL can do is in state.py, how the log survives in nodes/replica/driver.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import trio

from nodes.base import RPC_PORT, Context
from nodes.kind import Kind, StateCheck
from nodes.parts.deploying import DEPLOY, HAND_OVER
from nodes.parts.timing import move_on_after
from nodes.replica.backing_up import OPERATIONS as BACKUPS
from nodes.replica.backup import BackupSource
from nodes.replica.driver import ReplicaDriver
from nodes.replica.group_commit import Gathering
from nodes.replica.handing_over import HandingOver
from nodes.replica.keeper import LEAVE, GroupKeeper
from nodes.replica.kind import (
    ALARMING,
    CAUTIONS,
    DAMAGED,
    FACTS,
    LEADER,
    MARKS,
    ROLES,
    WORDS,
    disks_to_spare,
    failover_delay_s,
    unfit,
)
from nodes.replica.labels import LABELS
from nodes.replica.log_digest import log_digest
from nodes.replica.membership import founders_of
from nodes.replica.reach import CUT_OFF_READ
from nodes.replica.series import measure
from nodes.sql import reach
from nodes.sql.chance import Moment
from nodes.sql.config import MAX_TRANSACTION_S, DatabaseConfig, may_lose
from nodes.sql.digest import in_steps
from nodes.sql.feed import Feed
from nodes.sql.labels import LABELS as SQL_LABELS
from nodes.sql.machine import SqlMachine
from nodes.sql.recovering import Recovering
from nodes.sql.state import SqlState, Transaction
from nodes.sql.statements import SQL
from nodes.sql.switchover import PROMOTE
from nodes.sql.workloads import WORKLOADS
from nodes.sql.writes import Writes
from nodes.wire.admin import Admin
from nodes.wire.answers import Future
from nodes.wire.arguments import arguments_of
from nodes.wire.directory import Directory, TierView
from nodes.wire.service import Call, Service
from protocols import database as words
from protocols.errors import RpcError
from protocols.replication.messages import Members
from protocols.replication.replica import LEARNER, NEVER, WITNESS, AckRule, GroupConfig

MAX_TOKEN_WAIT_S: Final = 1.0
ANNOUNCE_DELAY_S: Final = 0.001
APPLY_PAUSE_S: Final = 0.01
"""Under load replicas hear of a commit with the next records, and apply some at a time."""
LEASE_STATEMENTS: Final = 1000
LEASES_PER_LIFE: Final = 1 << 32
"""So that no lease of this life has the number of an earlier one's."""
STATE_DIGEST: Final = "state_digest"
LOG_DIGEST: Final = "log_digest"


class SqlEngine:
    """SQL over one replicated log: what both the database tier and a web server's own store are."""

    def __init__(
        self, ctx: Context, nursery: trio.Nursery, config: DatabaseConfig, founders: Members
    ) -> None:
        self.ctx = ctx
        self.config = config
        self.machine = SqlMachine(
            f"{ctx.name}-{ctx.generation}-{ctx.rng('vfs').getrandbits(32)}",
            ctx.clock.wall_s,
            ctx.rng("sql"),
            ctx.clock.cpu_s,
            ctx.disk.scratch,
        )
        ack = AckRule.parse(config.ack)
        waits_for_apply = ack.level == "remote_apply"
        group = GroupConfig(
            name=ctx.name,
            group=ctx.tier,
            witness=dict(founders).get(ctx.name) == WITNESS,
            ack=ack,
            announce_delay_s=0.0 if waits_for_apply else ANNOUNCE_DELAY_S,
            detection_timeout_s=config.detection_timeout_s,
            lease=config.lease,
            failover_delay_s=failover_delay_s(
                config.prefers, ctx.region, config.detection_timeout_s
            ),
            retained_bytes=config.retained_bytes,
        )
        self.driver = ReplicaDriver(
            ctx,
            nursery,
            self.machine,
            group,
            founders,
            snapshot_every_bytes=config.snapshot_every_bytes,
            apply_pause_s=0.0 if waits_for_apply else APPLY_PAUSE_S,
        )
        self.writes = Gathering(ctx, self.driver, Writes(ctx, self.machine.sql))
        self.lease: _Lease | None = None
        self._next_lease = ctx.generation * LEASES_PER_LIFE
        self._lease_free = trio.Event()

    async def run(self) -> None:
        """Drive the log until cancelled; the state ends with it."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.driver.run)
                nursery.start_soon(self.writes.run)
        finally:
            self.machine.close()

    @property
    def sql(self) -> SqlState:
        return self.machine.sql

    async def state_digest(self, call: Call) -> dict[str, str]:
        return await in_steps(self.ctx.clock, self.sql.digests_in_steps())

    async def log_digest(self, call: Call) -> dict[str, Any]:
        return await log_digest(self.driver)

    async def query(
        self, sql: str, params: Sequence[Any], options: dict[str, Any]
    ) -> dict[str, Any]:
        """One reading statement, here: on the primary linearizable, on a
        replica as `options` ask."""
        driver = self.driver
        if driver.config.witness:
            raise RpcError("not_primary", "a witness has no data", driver.core.primary)
        if driver.is_primary or options.get("primary"):
            return dict(await self._query_primary(sql, params, options).wait())
        driver.catch_up()
        await self._wait_for_token(_number(options, "min_lsn"))
        self._check_lag(options)
        return self._look(sql, params, options)

    def query_now(self, sql: str, params: Sequence[Any], options: dict[str, Any]) -> Any:
        """The same without a task, or NotImplemented: a replica has not got what the token says."""
        driver = self.driver
        if driver.config.witness:
            return NotImplemented
        if driver.is_primary or options.get("primary"):
            future = self._query_primary(sql, params, options)
            return future.result if future.settled and future.error is None else future
        driver.catch_up()
        if not self._has(_number(options, "min_lsn")):
            return NotImplemented
        self._check_lag(options)
        return self._look(sql, params, options)

    def _query_primary(self, sql: str, params: Sequence[Any], options: dict[str, Any]) -> Future:
        """Settled when what it saw is visible: a refusal rests on that, too ("no such table").
        Raises RpcError."""
        driver, future = self.driver, Future()
        driver.check_can_read()
        seen_lsn = driver.state_lsn
        self._note_read(seen_lsn)
        try:
            future.result = self._look(sql, params, options)
        except RpcError as refusal:
            future.error = refusal

        def visible(lost: RpcError | None) -> None:
            try:
                driver.check_can_read()
            except RpcError as error:
                lost = lost or error
            future.settle(future.result, lost or future.error)

        driver.when_visible(seen_lsn, visible)
        return future

    def _look(self, sql: str, params: Sequence[Any], options: dict[str, Any]) -> dict[str, Any]:
        max_rows = _number(options, "max_rows") or None
        seen_lsn = self.driver.state_lsn
        return {**self.sql.query(sql, params, max_rows), "lsn": seen_lsn}

    def _note_read(self, seen_lsn: int) -> None:
        """Which of the states that matter a read at the primary is in."""
        core = self.driver.core
        if core.visible_lsn < seen_lsn:
            self.ctx.reached(reach.READ_WAITS)
        if not core.hears_majority(self.ctx.clock.monotonic_s()):
            self.ctx.reached(CUT_OFF_READ)

    async def _wait_for_token(self, min_lsn: int) -> None:
        """A replica answers what the client has already seen, or says that it cannot yet."""
        driver = self.driver
        with move_on_after(self.ctx.clock, MAX_TOKEN_WAIT_S):
            while not self._has(min_lsn):
                self.ctx.reached(reach.TOKEN_WAITS)
                ahead = driver.core.visible_lsn < driver.state_lsn
                await driver.applied(max(min_lsn, driver.core.visible_lsn + ahead))
            return
        raise RpcError("unavailable", f"this replica has not reached LSN {min_lsn} yet")

    def _has(self, min_lsn: int) -> bool:
        """After a fall from office the state may be ahead of what is committed, until it is cut."""
        driver = self.driver
        ahead = driver.core.visible_lsn < driver.state_lsn
        return not (driver.is_cut or ahead or driver.state_lsn < min_lsn)

    def _check_lag(self, options: dict[str, Any]) -> None:
        if options.get("max_lag_ms") is None:
            return
        limit_ms, lag_s = _number(options, "max_lag_ms"), self.driver.lag_s()
        if lag_s * 1000 > limit_ms:
            raise RpcError("unavailable", f"this replica may be {lag_s:.3f} s behind", lag_s)

    async def write(
        self, call: Call, statements: Sequence[Any], options: dict[str, Any]
    ) -> dict[str, Any]:
        """One transaction. Raises RpcError."""
        await self.wait_for_lease(call)
        return dict(await self.write_soon(statements, options).wait())

    def write_soon(self, statements: Sequence[Any], options: dict[str, Any]) -> Future:
        """One transaction, while nobody holds the writers' lease. Raises RpcError."""
        request_id = str(options.get("request_id") or "")
        return self.writes.add(Transaction(statements, request_id))

    # --- interactive transactions ----------------------------------------------------------

    async def begin(self, call: Call, options: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take the writers' lease: other writers wait until it ends, with this connection at the
        latest."""
        asked_s = _number(options or {}, "timeout_ms") / 1000
        timeout_s = min(asked_s, MAX_TRANSACTION_S) or self.config.transaction_timeout_s
        await self.wait_for_lease(call)
        self.driver.check_can_write()
        self.writes.flush()
        until_s = self.ctx.clock.monotonic_s() + timeout_s
        lease = self.lease = _Lease(
            self._next_lease, self.driver.core.epoch, until_s, self.sql.chance.moment()
        )
        self._next_lease += 1
        give_up = partial(self._give_up, lease)
        self.ctx.clock.call_at(until_s, give_up)
        call.ending.add(give_up)
        call.unheard = give_up
        lease.when_over = partial(call.ending.discard, give_up)
        return {"lease": lease.number, "expires_ms": int(timeout_s * 1000)}

    async def execute(
        self, call: Call, lease: int, sql: str, params: list[Any] | None = None
    ) -> dict[str, Any]:
        """A statement in the open transaction: it sees what the transaction did; others do not."""
        held = self._held(lease)
        if len(held.statements) >= LEASE_STATEMENTS:
            raise RpcError("too_large", f"a transaction has at most {LEASE_STATEMENTS} statements")
        self.driver.check_can_write()
        seen_lsn = self.driver.state_lsn
        held.statements.append([sql, params or []])
        try:
            with self.sql.chance.repeating(held.moment):
                results = self.sql.rehearse(held.statements)
        except RpcError:
            held.statements.pop()
            await self.driver.visible(seen_lsn)
            raise
        await self.driver.visible(seen_lsn)
        return dict(results[-1])

    async def commit(
        self, call: Call, lease: int, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        held = self._held(lease)
        self._end_lease(held)
        if not held.statements:
            return {"results": [], "lsn": self.driver.state_lsn}
        with self.sql.chance.repeating(held.moment):
            future = self.write_soon(held.statements, options or {})
            self.writes.flush()  # before anybody changes what they rest on
        return dict(await future.wait())

    async def rollback(self, call: Call, lease: int) -> bool:
        self._end_lease(self._held(lease))
        return True

    def _give_up(self, lease: _Lease) -> None:
        """Its time, or its connection, ended first."""
        if self.lease is lease:
            self.ctx.reached(reach.OVERDUE)
            self._end_lease(lease)

    def _held(self, lease: int) -> _Lease:
        self._end_orphaned()
        if self.lease is None or self.lease.number != lease:
            raise RpcError("refused", "the transaction is over: its time ended, or it was finished")
        return self.lease

    def _end_orphaned(self) -> None:
        """The statements of an earlier office rest on a state that may be gone."""
        if self.lease is not None and self.lease.epoch != self.driver.core.epoch:
            self.ctx.reached(reach.ORPHANED)
            self._end_lease(self.lease)

    def _end_lease(self, lease: _Lease) -> None:
        if self.lease is lease:
            self.lease = None
            lease.when_over()
            free, self._lease_free = self._lease_free, trio.Event()
            free.set()

    async def wait_for_lease(self, call: Call) -> None:
        """Until no transaction is open. Raises RpcError while the caller still hears it."""
        self._end_orphaned()
        if self.lease is None:
            return
        now_s = self.ctx.clock.monotonic_s()
        most_s = call.patience_s(now_s, MAX_TRANSACTION_S)
        with move_on_after(self.ctx.clock, most_s):
            while self.lease is not None:
                self.ctx.reached(reach.BEHIND)
                await self._lease_free.wait()
        lease = self.lease
        if lease is not None:
            left_s = max(0.0, lease.until_s - self.ctx.clock.monotonic_s())
            why = f"another transaction is open, for {left_s:.1f} s more at most, and writers wait"
            raise RpcError("unavailable", f"{why}: nothing of this was begun")


class _Lease:
    """The one open interactive transaction: its statements so far."""

    __slots__ = ("epoch", "moment", "number", "statements", "until_s", "when_over")

    def __init__(self, number: int, epoch: int, until_s: float, moment: Moment) -> None:
        self.number = number
        self.epoch = epoch
        self.until_s = until_s
        self.moment = moment
        """For each repetition of the statements: what was answered is what is committed."""
        self.statements: list[list[Any]] = []
        self.when_over: Callable[[], object] = bool
        """Whoever would end it need not any more."""


def _number(options: dict[str, Any], name: str) -> int:
    value = options.get(name) or 0
    if type(value) not in (int, float) or not 0 <= value < 1 << 53:
        raise RpcError("bad_request", f"{name} is a number of at least 0")
    return int(value)


class DatabaseNode:
    """One member of a database group."""

    def __init__(self, ctx: Context, config: DatabaseConfig) -> None:
        self.ctx = ctx
        self.config = config

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        ctx = self.ctx
        async with trio.open_nursery() as nursery:
            view = await Directory(ctx, nursery).follow(ctx.tier)
            engine = SqlEngine(ctx, nursery, self.config, self._founders(view))
            await engine.driver.recover()
            keeper = GroupKeeper(
                ctx,
                nursery,
                engine.driver,
                view,
                spares=self.config.spares,
                replace_after_s=self.config.replace_after_s,
            )
            service = self._service(engine)
            keeper.add_methods(service)
            admin = Admin(ctx, service=service, facts=engine.driver.facts)
            admin.add(words.PROMOTE, lambda call, target="": keeper.promote(target))
            admin.add(LEAVE, keeper.leave)
            BackupSource(engine.driver).add_methods(admin)
            Recovering(engine).add_methods(admin)
            admin.add(HAND_OVER, HandingOver(engine.driver).hand_over)
            if not engine.driver.config.witness:
                admin.add(STATE_DIGEST, engine.state_digest)
                admin.add(LOG_DIGEST, engine.log_digest)
            measure(ctx, engine.driver)
            nursery.start_soon(keeper.run)
            listener = await ctx.network.listen(RPC_PORT)
            nursery.start_soon(admin.listen_and_serve)
            nursery.start_soon(service.serve, listener)
            nursery.start_soon(engine.run)
            task_status.started()

    def _service(self, engine: SqlEngine) -> Service:
        service = Service(self.ctx)
        engine.driver.add_methods(service)

        async def query(
            call: Call,
            sql: str,
            params: list[Any] | None = None,
            options: dict[str, Any] | None = None,
        ) -> dict[str, Any]:
            return await engine.query(sql, params or [], options or {})

        async def write(
            call: Call, statements: list[Any], options: dict[str, Any] | None = None
        ) -> dict[str, Any]:
            return await engine.write(call, statements, options or {})

        asked = arguments_of(query)

        def query_now(params: list[Any], epoch: int | None) -> Any:
            if asked.refusal(words.QUERY, params):
                return NotImplemented
            sql, values, options = (*params, None, None)[:3]
            return engine.query_now(sql, values or [], options or {})

        service.add(words.QUERY, query)
        service.fuse(words.QUERY, query_now)

        arguments = arguments_of(write)

        def write_soon(params: list[Any], epoch: int | None) -> Any:
            if engine.lease is not None or arguments.refusal(words.WRITE, params):
                return NotImplemented  # it waits, or is refused, as any other handler
            return engine.write_soon(params[0], (params[1] if len(params) > 1 else None) or {})

        service.add(words.WRITE, write)
        service.fuse(words.WRITE, write_soon)
        service.add(words.BEGIN, engine.begin)
        service.add(words.EXECUTE, engine.execute)
        service.add(words.COMMIT, engine.commit)
        service.add(words.ROLLBACK, engine.rollback)
        service.add(words.CHANGES, Feed(self.ctx, engine.driver).changes, cost_s=0.0, waits=True)
        service.add("role", lambda call: engine.driver.facts(), cost_s=0.0)
        return service

    def _founders(self, view: TierView) -> Members:
        """Who founds the group; () if this node comes to one that exists."""
        name, config = self.ctx.name, self.config
        names = [each.name for each in view.members if each.founder] or [name]
        founders = founders_of(names, witnesses=config.witnesses, spares=config.spares)
        if name not in dict(founders):
            return ()
        if len(founders) == 1 and len(view.members) > 1 and not self.ctx.disk.names():
            return ()  # the group has grown, and our disk was lost: others have its log
        return founders


KIND: Final = Kind(
    DatabaseConfig,
    DatabaseNode,
    about="A SQL database: a primary, which takes the writes, and replicas that take its place.",
    example="db: {kind: database, nodes: 3, ack: quorum}",
    peers=True,
    stores=True,
    mistakes=unfit,
    cautions=CAUTIONS,
    roles=(*ROLES, LEARNER, WITNESS),
    words=WORDS,
    leader=LEADER,
    mends={"replace_after_s": NEVER},
    disks_to_spare=disks_to_spare,
    alarming=ALARMING,
    reaches=reach.STATES,
    reaches_together=reach.TOGETHER,
    damaged=DAMAGED,
    facts=FACTS,
    marks=MARKS,
    labels={**LABELS, **SQL_LABELS},
    checks=(StateCheck("replicas", STATE_DIGEST), StateCheck("logs", LOG_DIGEST)),
    may_lose=may_lose,
    operations=(PROMOTE, DEPLOY, *BACKUPS),
    statements=SQL,
    workloads=WORKLOADS,
    varied={"snapshot_every_bytes": (500, 2_000, 20_000), "retained_bytes": (1_000, 20_000)},
    sizes={5: {}},
    least_size=3,
)
