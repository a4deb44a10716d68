"""Driving the replication core: its log and state on the node's disk, its messages on the wire.

Every replicated tier runs on this: it hands over a StateMachine, proposes records, and waits for
them. The state runs *ahead* on the primary: a write is answered when it is `acknowledged`, any
other answer when what it saw is `visible`. The files are files.py's business.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import trio

from nodes.base import RPC_PORT, Context
from nodes.parts.auto_reset_event import AutoResetEvent
from nodes.parts.timing import take_steps
from nodes.replica.alarm import STALL_RATIO, Alarm
from nodes.replica.applying import Applying
from nodes.replica.event_words import DIVERGED, in_words
from nodes.replica.facts import facts_of
from nodes.replica.files import ROOM_PAUSE_S, ReplicaFiles
from nodes.replica.hearing import REPLICATE, read_message
from nodes.replica.install import Installer
from nodes.replica.lag import LagClock
from nodes.replica.reading import Reader
from nodes.replica.refill import SNAPSHOT_AFTER, Refill
from nodes.replica.refusals import no_room_elsewhere, not_primary
from nodes.replica.segments import LEAST_BYTES, SEGMENT_BYTES
from nodes.replica.snapshots import Snapshots
from nodes.replica.state_machine import StateMachine, restore_in_steps
from nodes.replica.waiters import Callback, Waiters
from nodes.wire.answers import Future
from nodes.wire.client import Client
from nodes.wire.service import Service
from protocols.errors import RpcError
from protocols.replication import replica as replication
from protocols.replication.messages import Members, Message
from protocols.replication.replica import (
    PRIMARY,
    Diverged,
    GroupConfig,
    Ready,
    Replica,
    RoleChanged,
)
from protocols.stepping import Steps, at_once

CATCH_UP_BYTES: Final = 256 << 10
CATCH_UP_BYTES_PER_S: Final = 50e6
"""Written at once, so much is a catch-up; and it is taken no faster than this."""
SPARE_BYTES: Final = 64 << 10
"""Of the disk, beside a record: what else is written meanwhile."""
LOST_WRITE: Final = "this node lost its role while the write was on its way"
LOST_ANSWER: Final = "this node lost its role while it answered"


class ReplicaDriver:
    """One member of a replicated group, on this node's disk and network."""

    def __init__(
        self,
        ctx: Context,
        nursery: trio.Nursery,
        machine: StateMachine,
        config: GroupConfig,
        founders: Members,
        *,
        snapshot_every_bytes: int = 2 << 20,
        apply_pause_s: float = 0.0,
    ) -> None:
        """`apply_pause_s`: how long a replica may let records gather that nobody has asked for,
        where it is cheaper to apply many at once."""
        self.ctx = ctx
        self.config = config
        self.machine = machine
        self.state_lsn = 0
        """The last record that the state contains (on a primary: ahead of what is committed)."""
        self.times_replaced = 0
        """How often the state became another's, or went back, and not only on."""
        self.divergent_records = 0
        self.failovers = 0
        """Promotions of this node after the group's first."""
        self.lag = LagClock()
        segment_bytes = max(LEAST_BYTES, min(SEGMENT_BYTES, snapshot_every_bytes))
        self.files = ReplicaFiles(ctx, config.name, machine, segment_bytes)
        self.on_role: Callable[[str], None] | None = None
        self._founders = founders
        self._nursery = nursery
        self._snapshots = Snapshots(self, snapshot_every_bytes)
        self._installer = Installer(self)
        self._applying = Applying(self, apply_pause_s)
        self._refill = Refill(self)
        self._reader = Reader(self)
        self.want_snapshot = self._snapshots.want
        self.follow_again = self._applying.start
        self.stop_state = self._refill.begin
        self.have_at_hand, self.records = self._reader.have_at_hand, self._reader.records
        self._peers: dict[str, Client] = {}
        self._acknowledged = Waiters("unknown_outcome", LOST_WRITE)
        self._visible = Waiters("unavailable", LOST_ANSWER)
        self._slow: Ready | None = None
        self._pump_wanted = AutoResetEvent()
        self._failure: Exception | None = None
        """What went wrong in another's task, for one of ours to raise."""
        self._needs_bytes = 0
        """What the latest record wanted of the disk that was refused for it."""
        self._synced_bytes = 0
        self._late: tuple[int, int] | None = None
        """Synced, but not to be told at once: up to which mark, and how many bytes it was."""
        self._room_wanted = AutoResetEvent()
        self._slow_wanted = AutoResetEvent()
        self._sync_wanted = AutoResetEvent()

    # --- start ---------------------------------------------------------------------------

    async def recover(self) -> None:
        """Read state, snapshot and log; raise CorruptLog for damage that no peer can heal."""
        state, self.storage = await self.files.recover(self._founders)
        await self._restore()
        rng = self.ctx.rng("replica")
        self.core = Replica(self.config, self.storage, state, self._founders, rng, self._now_s())
        stall_s = STALL_RATIO * self.config.detection_timeout_s
        self._alarm = Alarm(self.ctx.clock, stall_s, self._tick, self.core.stalled)

    async def run(self) -> None:
        """Drive until cancelled. Call `recover` first."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pump_forever)
            nursery.start_soon(self._sync_forever)
            nursery.start_soon(self._applying.run)
            nursery.start_soon(self._slow_forever)
            nursery.start_soon(self._snapshots.run)
            nursery.start_soon(self._installer.run)
            nursery.start_soon(self._refill.run)
            nursery.start_soon(self._reader.run)
            nursery.start_soon(self._make_room_forever)
            self.pump()

    def add_methods(self, service: Service) -> None:
        """Take the peers' messages at the node's main listener."""
        service.notified[REPLICATE] = lambda call, wire: self.take(read_message(call, wire))
        service.add(SNAPSHOT_AFTER, self._refill.serve, cost_s=0.0)

    # --- what tiers use ------------------------------------------------------------------

    @property
    def is_primary(self) -> bool:
        return self.core.role == PRIMARY

    @property
    def next_lsn(self) -> int:
        return self.core.storage.last_lsn + 1

    def check_can_write(self) -> None:
        """Raises RpcError: not_primary, unavailable or no_space."""
        core = self._as_primary()
        if not core.can_write(self._now_s()) or self.state_lsn != core.storage.last_lsn:
            raise RpcError("unavailable", "the primary is not ready to write yet")
        self._check_room(max(self._needs_bytes, SPARE_BYTES))

    def _check_room(self, size_bytes: int) -> None:
        try:
            self.files.check_room(size_bytes)
        except OSError as error:
            code = "no_space" if error.errno == errno.ENOSPC else "unavailable"
            raise RpcError(code, f"the disk refuses writes: {error.strerror}") from error
        if not self.core.has_room():
            raise no_room_elsewhere(self.core)
        self._needs_bytes = 0

    def check_can_read(self) -> None:
        """Raises RpcError unless this is a primary that may serve now."""
        core = self._as_primary()
        self._refill.check()
        if self.state_lsn < core.storage.last_lsn:
            raise RpcError("unavailable", "the primary is still replaying its log")
        if not core.can_serve(self._now_s()):
            raise RpcError("unavailable", "the primary has no lease just now")

    def _as_primary(self) -> Replica:
        if self.core.role != PRIMARY:
            raise not_primary(self.core)
        return self.core

    def propose(self, payload: bytes, *, now: bool = False) -> int:
        """Append a record whose effect the state has already; its LSN. Raises RpcError.

        It leaves with what else is proposed in this turn of the scheduler, or `now`. It is taken
        only if the disk has room for it, and for its copies, which may share a real one: what was
        refused for that never happens.
        """
        self._needs_bytes = len(payload) * len(self.core.members) + SPARE_BYTES
        self._check_room(self._needs_bytes)
        try:
            lsn = self.core.propose(payload)
        except replication.NotPrimary as error:
            raise RpcError("not_primary", str(error), error.primary) from error
        except replication.Refused as error:
            raise RpcError("overloaded", str(error)) from error
        self.state_lsn = lsn
        if now:
            self.pump()
        else:
            self.pump_soon()
        return lsn

    def rebuild(self) -> None:
        """Go back to what the log says: the state ran ahead of what the log could take."""
        self.replace_state(at_once(self._restore_steps()), self.files.snapshots.lsn)
        self._applying.start()

    def when_acknowledged(self, lsn: int, callback: Callback) -> None:
        """Call it when `lsn` is committed at the configured level, or that it may never be."""
        core = self.core
        if core.role == PRIMARY and core.acknowledgeable_lsn >= lsn:
            callback(None)
        else:
            self._acknowledged.add(lsn, core.epoch, callback)

    def when_visible(self, lsn: int, callback: Callback) -> None:
        """Call it when what the state had at `lsn` is committed, so that an answer that saw it may
        go out; with an error if this node loses its role first."""
        core = self.core
        if core.role == PRIMARY and core.visible_lsn >= lsn:
            callback(None)
        else:
            self._visible.add(lsn, core.epoch, callback)

    async def acknowledged(self, lsn: int) -> None:
        """Return when `lsn` is acknowledged. Raises RpcError if that may fail."""
        future = Future()
        self.when_acknowledged(lsn, partial(future.settle, None))
        await future.wait()

    async def visible(self, lsn: int) -> None:
        """Return when `lsn` is visible. Raises RpcError if this node loses its role first."""
        future = Future()
        self.when_visible(lsn, partial(future.settle, None))
        await future.wait()

    def lag_s(self) -> float:
        """How old the state here may be: it has all that was acknowledged so long ago."""
        return 0.0 if self.is_primary else self.core.lag_s(self._now_s())

    @property
    def is_cut(self) -> bool:
        """Whether the log was cut under the state, which is still to go back: nobody may see it."""
        return bool(self.core.cut_from or (self._slow is not None and self._slow.rebuild_from))

    def catch_up(self) -> None:
        """Somebody looks at the state: apply now what has gathered, a slice of it at most. Raises
        RpcError if it has stopped."""
        self._applying.catch_up()
        self._refill.check()

    @property
    def is_stopped(self) -> bool:
        """Whether the state waits for a peer's: a record did not apply to it."""
        return bool(self._refill.problem)

    async def applied(self, lsn: int) -> None:
        """Return when the state contains `lsn`, committed."""
        await self._applying.reached(lsn)

    def facts(self) -> dict[str, Any]:
        """For `describe`: role, epoch, LSNs, who is primary."""
        return facts_of(self)

    def hand_over(self, target: str) -> None:
        """Begin a planned switchover. Raises RpcError."""
        try:
            self.core.hand_over(target, self._now_s())
        except replication.Refused as error:
            raise RpcError("refused", str(error)) from error
        self.pump()

    def change_member(self, name: str, role: str | None) -> None:
        """Add, promote or (None) remove a member; one change at a time. Raises RpcError."""
        try:
            self.core.change_member(name, role, self._now_s())
        except replication.Refused as error:
            raise RpcError("refused", str(error)) from error
        self.pump()

    # --- the pump ------------------------------------------------------------------------

    def _now_s(self) -> float:
        return self.ctx.clock.monotonic_s()

    def take(self, message: Message) -> None:
        """A peer's message, which came for this group or has nobody else to take it."""
        self._step(self.core.step, message)

    def _step(self, step: Callable[[Any, float], object], about: Any) -> None:
        """The core hears of something, and what follows is carried out."""
        try:
            step(about, self._now_s())
        except Exception as error:
            self._fail(error)
        self.pump()

    def _fail(self, error: Exception) -> None:
        """In another's task, whose connection it would end: it is this node that fails by it."""
        self._failure = error
        self.pump_soon()

    def pump_soon(self) -> None:
        """Once per turn of the scheduler: what arrived together is answered together."""
        self._pump_wanted.set()

    async def _pump_forever(self) -> None:
        while True:
            await self._pump_wanted.wait()
            if self._failure is not None:
                raise self._failure
            self.pump()

    def pump(self) -> None:
        """Carry out every Ready, whoever's turn it is. What fails is the node, not it."""
        try:
            self._carry_out_all()
        except Exception as error:
            self._fail(error)

    def _carry_out_all(self) -> None:
        """What must wait for the disk holds back all that follows."""
        while self._slow is None and self._failure is None:
            change_over = self._installer.is_prepared
            ready = Ready() if change_over else self.core.ready()
            if ready is None:
                break
            if change_over or ready.waits_for_disk:
                self._slow = ready
                self._slow_wanted.set()
                break
            self._carry_out(ready)
        self._alarm.set(self.core.deadline_s)

    @property
    def held(self) -> bool:
        """Whether something must be on the platter before anything else happens."""
        return self._slow is not None

    @property
    def is_installing(self) -> bool:
        """Whether a peer's snapshot is about to replace state and log."""
        return self._installer.is_busy

    def _carry_out(self, ready: Ready) -> None:
        for event in ready.events:
            self._tell(event)
        for state in ready.reached:
            self.ctx.reached(state)
        if ready.entries:
            self._write(ready)
        for message in ready.messages:
            self.send(message)
        for chunk in ready.received:
            self._installer.take(chunk)
        if ready.reads or ready.chunks:
            self._reader.want(ready)
        self._applying.follow()
        self._wake(ready)

    def send(self, message: Message) -> None:
        """To the member that it names."""
        self.peer(message.to).notify(REPLICATE, replication.to_wire(message))

    def _write(self, ready: Ready) -> None:
        last_lsn = ready.entries[-1][1]
        if self.files.append(ready.entries, ready.synced_lsn, ready.mark):
            self.files.begin_sync()
            self._sync_wanted.set()
            self.storage.release(last_lsn)
        else:
            self.core.written_down(False)
            self._room_wanted.set()
        self.lag.appended(last_lsn, self._now_s())

    async def _sync_forever(self) -> None:
        self._synced_bytes = self.files.log.written_bytes
        while True:
            await self._sync_wanted.wait()
            await self.files.sync_is_due()
            await self.files.sync(self._synced)
            if self._late is not None:
                (mark, more_bytes), self._late = self._late, None
                await self.ctx.clock.sleep(more_bytes / CATCH_UP_BYTES_PER_S)
                self._step(self.core.synced, mark)

    def _synced(self, mark: int, written_bytes: int) -> None:
        """Perhaps in another's task."""
        if mark != self.files.written_mark:  # written since that began, even before we waited
            self._sync_wanted.set()
        more_bytes, self._synced_bytes = written_bytes - self._synced_bytes, written_bytes
        core = self.core
        # Catching up no client waits for us: those that commit have their share of the machine.
        behind = core.role != PRIMARY and core.quorum_lsn >= core.storage.last_lsn
        if behind and more_bytes > CATCH_UP_BYTES:
            self._late = mark, more_bytes
        else:
            self._step(core.synced, mark)

    async def _make_room_forever(self) -> None:
        """Records that found the disk full are written when there is room again."""
        while True:
            await self._room_wanted.wait()
            await self.ctx.clock.sleep(ROOM_PAUSE_S)
            if self._slow is None and self.files.retry(self.core.flushed_lsn):
                self.core.written_down(True)
                self._sync_wanted.set()
            else:
                self._room_wanted.set()

    async def _slow_forever(self) -> None:
        """What must be on the platter before anything else happens."""
        while True:
            await self._slow_wanted.wait()
            ready = self._slow
            assert ready is not None
            if ready.hard_state is not None:
                await self.files.save_state(ready.hard_state)
            for event in ready.events:
                if isinstance(event, Diverged):
                    await self._save_divergent(event)
            if ready.truncate_from is not None:
                await self.files.cut(ready.truncate_from)
            if ready.rebuild_from is not None and ready.rebuild_from <= self.state_lsn:
                await self._restore()
                await self.files.snapshots.sweep()
                self.ctx.log.info("state rebuilt", from_lsn=self.state_lsn)
            ready.rebuild_from = None
            self._carry_out(ready)
            if ready.install is not None:
                self._installer.begin(ready.install)
            elif self._installer.is_prepared:
                await self._installer.finish()
            self._slow = None
            self.pump()

    async def _save_divergent(self, event: Diverged) -> None:
        name = await self.files.save_divergent(event, self.core.epoch)
        records = event.last_lsn + 1 - event.from_lsn
        self.divergent_records += records
        self.lag.cut(event.from_lsn)
        fields = {"records": records, "from_lsn": event.from_lsn, "file": name}
        self.ctx.log.warning(DIVERGED, **fields)

    async def _restore(self) -> None:
        """Make the state what the snapshot has, in steps; until then it is what it was."""
        become = await take_steps(self.ctx.clock, self._restore_steps(), 0.0)
        self.replace_state(become, self.files.snapshots.lsn)

    def _restore_steps(self) -> Steps[Callable[[], None]]:
        snapshots = self.files.snapshots
        return restore_in_steps(self.machine, snapshots.state(), snapshots.parts)

    def replace_state(self, become: Callable[[], None], lsn: int) -> None:
        """The state is of another origin from now on, and contains so much."""
        become()
        self._refill.replaced()
        self.state_lsn = lsn
        self.times_replaced += 1

    # --- peers, time, waiters ------------------------------------------------------------

    def peer(self, name: str) -> Client:
        client = self._peers.get(name)
        if client is None:
            client = self._peers[name] = Client(self.ctx, self._nursery, name, RPC_PORT)
        return client

    def _tick(self) -> None:
        now_s = self._now_s()
        if now_s >= self.core.deadline_s:
            self.core.tick(now_s)
            self.pump_soon()
        if self._slow is None:
            self._alarm.set(self.core.deadline_s)

    def _wake(self, ready: Ready) -> None:
        core = self.core
        in_office = core.role == PRIMARY
        self._acknowledged.reached(ready.acknowledgeable_lsn, core.epoch, in_office)
        self._visible.reached(ready.visible_lsn, core.epoch, in_office)

    def _tell(self, event: Any) -> None:
        if isinstance(event, Diverged):
            return  # told when the records are saved
        name, fields = in_words(event)
        self.ctx.log.info(name, **fields)
        if isinstance(event, RoleChanged):
            self.failovers += event.role == PRIMARY and event.epoch > 1
            if event.role == PRIMARY:
                self.lag.begin_office(self.core.storage.last_lsn)
            if self.on_role is not None:
                self.on_role(event.role)
