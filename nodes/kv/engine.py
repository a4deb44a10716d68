"""A shard's commands over its log: who may serve now, one record for what arrives together, and
answers that wait until what they saw is committed.

What commands and records mean is in keys.py, commands.py and state.py; how a log survives is the
driver of nodes/replica/.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Protocol

import msgpack
import trio

from nodes.base import Context
from nodes.kv import reach
from nodes.kv.commands import KvCommands
from nodes.kv.keys import Handler
from nodes.kv.machine import KvMachine
from nodes.kv.state import Fact, KvState
from nodes.parts.timing import move_on_after
from nodes.replica.driver import ReplicaDriver
from nodes.replica.group_commit import Commits
from nodes.replica.series import measure
from nodes.wire.answers import Fused, Future
from protocols.errors import RpcError
from protocols.kv import words
from protocols.kv.words import routing_keys
from protocols.replication.messages import Members
from protocols.replication.replica import GroupConfig

RECORD_BYTES: Final = 128 * 1024
"""A record is closed once it holds so much; with one more whole value it fits the log's limit."""
NEVER: Final = float("inf")
QUORUM_POLL_S: Final = 0.005
FEED_RECORDS: Final = 10_000
"""Changes kept in memory for a move where there is no log; a target that falls behind begins
again."""
AHEAD_MARGIN: Final = 0.9
"""Of what the log lets run ahead: beyond it writes are refused before they touch the state."""


class KvEngine(Protocol):
    """What a shard needs of its log, whether there is one or not."""

    commands: KvCommands
    state: KvState
    fused: dict[str, Fused]

    def begin(self, now_s: float) -> None:
        """Requests that arrived together follow."""
        ...

    def end(self) -> None: ...
    @property
    def is_primary(self) -> bool: ...
    @property
    def committed_lsn(self) -> int:
        """What no failover can lose any more."""
        ...

    async def record(self, facts: list[Fact]) -> int:
        """Make these facts so, and return their LSN once no failover can lose it.

        Raises RpcError.
        """
        ...

    async def committed(self, lsn: int) -> None:
        """Return once no failover can lose `lsn`. Raises RpcError when this node lost its role."""
        ...

    @property
    def state_lsn(self) -> int:
        """What the state contains, committed or not."""
        ...

    async def advanced(self, lsn: int, wait_s: float) -> None:
        """Return once `committed_lsn` is beyond `lsn`, or the wait is over."""
        ...

    async def changes(self, from_lsn: int, max_bytes: int) -> list[tuple[int, list[Fact]]] | None:
        """(LSN, facts) of the committed records after `from_lsn`; None if they are not kept."""
        ...

    def keep_changes(self, wanted: bool) -> None:
        """Whether a move out of here will ask for them."""
        ...

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        ...


async def execute(
    engine: KvEngine, ctx: Context, name: str, params: list[Any], epoch: int | None
) -> Any:
    """One command outside of a batch. Raises RpcError."""
    engine.begin(ctx.clock.monotonic_s())
    try:
        result = engine.fused[name](params, epoch)
    finally:
        engine.end()
    return await result.wait() if type(result) is Future else result


class LoggedEngine:
    """A member of a replicated group: the log is shipped and synced as its `ack` level says."""

    def __init__(
        self,
        ctx: Context,
        nursery: trio.Nursery,
        commands: KvCommands,
        group: GroupConfig,
        founders: Members,
        *,
        snapshot_every_bytes: int,
        sync_interval_s: float,
    ) -> None:
        self.ctx = ctx
        self.commands = commands
        self.state = commands.state
        self.driver = ReplicaDriver(
            ctx,
            nursery,
            KvMachine(self.state),
            group,
            founders,
            snapshot_every_bytes=snapshot_every_bytes,
        )
        self.driver.files.sync_interval_s = sync_interval_s
        self.driver.on_role = self._role_changed
        commands.age_s = self._age_s
        self._waits = group.ack.level != "off"
        self._max_ahead = int(group.max_ahead_records * AHEAD_MARGIN)
        self._packer = msgpack.Packer(autoreset=True)
        self._dirty: dict[str, int] = {}
        """Key → the LSN of its latest change that is not acknowledged yet."""
        self._dirty_order: deque[tuple[int, str]] = deque()
        self._noted = 0
        """How many of the commands' facts have their keys in `_dirty` already."""
        self._next_lsn = 1
        self._commits = Commits(self.driver, self._acknowledged)
        self.fused = {name: self._fuse(name, each) for name, each in commands.handlers.items()}
        self.fused[words.GET] = self._fused_get()

    async def run(self) -> None:
        """Drive the log until cancelled; recover the driver first."""
        measure(self.ctx, self.driver)
        await self.driver.run()

    # --- batches -------------------------------------------------------------------------

    def begin(self, now_s: float) -> None:
        driver, commands = self.driver, self.commands
        core = driver.core
        self._next_lsn = core.storage.last_lsn + 1
        if core.can_write(now_s) and driver.state_lsn + 1 == self._next_lsn:
            commands.no_reads = commands.no_writes = None
            if self._next_lsn - core.quorum_lsn > self._max_ahead:
                commands.no_writes = RpcError("overloaded", "too many records wait for the quorum")
            return
        commands.no_reads = commands.no_writes = None
        try:
            driver.check_can_read()
        except RpcError as error:
            commands.no_reads = error
        commands.no_writes = commands.no_reads or RpcError(
            "unavailable", "the primary hands over, and takes no writes just now"
        )

    def end(self) -> None:
        if self.commands.facts:
            self._close_record()

    def _close_record(self) -> None:
        """Everything since the last record becomes one, and the answers wait for it."""
        commands = self.commands
        payload = self._packer.pack(commands.facts)
        if len(self._commits) > 1:
            self.ctx.reached(reach.GROUPED)
        commands.facts.clear()
        commands.fact_bytes = self._noted = 0
        try:
            self._next_lsn = self._commits.close(payload) + 1
        except RpcError:  # the state ran ahead of a log that does not take it
            self._forget_unwritten()

    def _forget_unwritten(self) -> None:
        """The record that was open is none: its keys are as of the one before."""
        last_lsn = self._next_lsn - 1
        order = self._dirty_order
        for place in range(len(order) - 1, -1, -1):
            if order[place][0] <= last_lsn:
                return
            key = order[place][1]
            order[place] = last_lsn, key
            self._dirty[key] = last_lsn

    # --- commands ------------------------------------------------------------------------

    def _fused_get(self) -> Fused:
        get, facts, dirty = self.commands.get, self.commands.facts, self._dirty

        def fused(params: list[Any], epoch: int | None) -> Any:
            value = get(params, epoch)
            if len(facts) != self._noted:
                return self._after(value, params)
            if dirty:
                lsn = dirty.get(params[0])
                if lsn is not None:
                    return self._wait_for(lsn, value)
            return value

        return fused

    def _fuse(self, name: str, handler: Handler) -> Fused:
        """The command with its answer held back until what it changed or saw is acknowledged."""
        facts = self.commands.facts

        def fused(params: list[Any], epoch: int | None) -> Any:
            error: RpcError | None = None
            result = None
            try:
                result = handler(params, epoch)
            except RpcError as raised:
                error = raised
            if len(facts) != self._noted:
                return self._after(result, params, error)
            if self._dirty:
                lsn = self._seen(name, params)
                if lsn:
                    return self._wait_for(lsn, result, error)
            if error is not None:
                raise error
            return result

        return fused

    def _after(self, result: Any, params: list[Any], error: RpcError | None = None) -> Any:
        """Facts were made: the answer waits for the record that will hold them."""
        facts = self.commands.facts
        if not self._waits:
            self._noted = len(facts)
            self._limit_record()
            if error is not None:
                raise error
            return result
        for fact in facts[self._noted :]:
            self._dirty[fact[2]] = self._next_lsn
            self._dirty_order.append((self._next_lsn, fact[2]))
        self._noted = len(facts)
        future = Future()
        future.result, future.error = result, error
        self._commits.join(future)
        self._limit_record()
        return future

    def _limit_record(self) -> None:
        if self.commands.fact_bytes > RECORD_BYTES:
            self._close_record()

    def _wait_for(self, lsn: int, result: Any, error: RpcError | None = None) -> Future:
        future = Future()
        future.result, future.error = result, error
        if lsn >= self._next_lsn:
            self._commits.join(future)
        else:
            self._commits.rest_on(lsn, future)
        return future

    def _seen(self, name: str, params: list[Any]) -> int:
        """The LSN that an answer rests on: 0 if all it saw is acknowledged."""
        if name in (words.SCAN, words.FIND):
            return self._dirty_order[-1][0]
        lsn = 0
        for key in routing_keys(name, params):
            if type(key) is str:
                lsn = max(lsn, self._dirty.get(key, 0))
        return lsn

    # --- acknowledgements ----------------------------------------------------------------

    def _acknowledged(self, lsn: int) -> None:
        """What was changed up to there may be seen without waiting."""
        order, dirty = self._dirty_order, self._dirty
        while order and order[0][0] <= lsn:
            when, key = order.popleft()
            if dirty.get(key) == when:
                del dirty[key]

    def _role_changed(self, role: str) -> None:
        self._dirty.clear()
        self._dirty_order.clear()

    def _age_s(self) -> float | None:
        """As of when a replica knows the primary's state: by what the primary echoes of our clock,
        since whatever we hear may have been on its way for long."""
        driver = self.driver
        ours = driver.core.applied_lsn <= driver.state_lsn <= driver.core.visible_lsn
        if driver.is_cut or not ours:  # it holds what may yet be cut, or is being rebuilt
            return None
        lag_s = driver.lag_s()
        return lag_s if lag_s < NEVER else None

    # --- for moves -----------------------------------------------------------------------

    @property
    def is_primary(self) -> bool:
        return self.driver.is_primary

    @property
    def committed_lsn(self) -> int:
        return self.driver.core.quorum_lsn

    async def record(self, facts: list[Fact]) -> int:
        """See KvEngine."""
        self.driver.check_can_write()
        self.begin(self.ctx.clock.monotonic_s())
        self.end()
        for fact in facts:
            self.state.apply_fact(fact)
        self.commands.facts += facts
        lsn = self._next_lsn
        self._noted = len(facts)
        self.end()
        await self.committed(lsn)
        return lsn

    async def committed(self, lsn: int) -> None:
        """See KvEngine."""
        core = self.driver.core
        epoch = core.epoch
        await self.driver.acknowledged(lsn)
        while core.quorum_lsn < lsn:
            await self.ctx.clock.sleep(QUORUM_POLL_S)
            if core.epoch != epoch or not self.is_primary:
                raise RpcError("unknown_outcome", "this node lost its role meanwhile")

    @property
    def state_lsn(self) -> int:
        return self.driver.state_lsn

    async def advanced(self, lsn: int, wait_s: float) -> None:
        """See KvEngine."""
        with move_on_after(self.ctx.clock, wait_s):
            await self.driver.applied(lsn + 1)
            while self.committed_lsn <= lsn:
                await self.ctx.clock.sleep(QUORUM_POLL_S)

    async def changes(self, from_lsn: int, max_bytes: int) -> list[tuple[int, list[Fact]]] | None:
        """See KvEngine."""
        driver, last_lsn = self.driver, self.committed_lsn
        if from_lsn >= last_lsn:
            return []
        entries = await driver.records(from_lsn + 1, last_lsn, max_bytes)
        if not entries:
            return None
        return [
            (lsn, msgpack.unpackb(payload, strict_map_key=False) if kind == 0 else [])
            for _, lsn, kind, payload in entries
        ]

    def keep_changes(self, wanted: bool) -> None:
        """The log has them anyway."""

    def facts(self) -> dict[str, Any]:
        """See KvEngine."""
        return self.driver.facts()


class UnloggedEngine:
    """`durability: none`: one node, its memory, no log. A restart begins empty."""

    is_primary = True

    def __init__(self, ctx: Context, commands: KvCommands) -> None:
        self.ctx = ctx
        self.commands = commands
        self.state = commands.state
        self.committed_lsn = 0
        self._feeding = False
        self._advanced = trio.Event()
        self._feed: deque[tuple[int, list[Fact]]] = deque(maxlen=FEED_RECORDS)
        self.fused: dict[str, Fused] = dict(commands.handlers)

    async def run(self) -> None:
        """Nothing to drive."""
        await trio.sleep_forever()

    def begin(self, now_s: float) -> None:
        """Always the primary, always ready."""

    def end(self) -> None:
        facts = self.commands.facts
        if facts:
            if self._feeding:
                self.committed_lsn += 1
                self._feed.append((self.committed_lsn, list(facts)))
                advanced, self._advanced = self._advanced, trio.Event()
                advanced.set()
            facts.clear()
            self.commands.fact_bytes = 0

    async def record(self, facts: list[Fact]) -> int:
        """See KvEngine."""
        self.end()
        for fact in facts:
            self.state.apply_fact(fact)
        self.commands.facts += facts
        self.end()
        await trio.lowlevel.checkpoint()
        return self.committed_lsn

    async def committed(self, lsn: int) -> None:
        """See KvEngine."""
        await trio.lowlevel.checkpoint()

    @property
    def state_lsn(self) -> int:
        return self.committed_lsn

    async def advanced(self, lsn: int, wait_s: float) -> None:
        """See KvEngine."""
        with move_on_after(self.ctx.clock, wait_s):
            while self.committed_lsn <= lsn:
                await self._advanced.wait()

    async def changes(self, from_lsn: int, max_bytes: int) -> list[tuple[int, list[Fact]]] | None:
        """See KvEngine."""
        first_lsn = self._feed[0][0] if self._feed else self.committed_lsn + 1
        if not self._feeding or from_lsn + 1 < first_lsn:
            return None
        return [each for each in self._feed if each[0] > from_lsn]

    def keep_changes(self, wanted: bool) -> None:
        """See KvEngine."""
        self._feeding = wanted
        if not wanted:
            self._feed.clear()

    def facts(self) -> dict[str, Any]:
        """See KvEngine."""
        return {"role": "primary", "epoch": 1, "lsn": self.committed_lsn}
