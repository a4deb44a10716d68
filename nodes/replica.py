"""Driving the replication core: its log and state on the node's disk, its messages on the wire.

Every replicated tier runs on this: it hands over a StateMachine, proposes records, and waits for
them. The state runs
*ahead* on the primary; an answer waits until the records it saw are acknowledgeable.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, Protocol

import trio

from nodes.base import RPC_PORT, Context, Timer
from nodes.client import Client
from nodes.parts.lag import LagClock
from nodes.wire import Call, Service
from protocols import log as log_format
from protocols import replication
from protocols.errors import RpcError
from protocols.replication import (
    DATA,
    PRIMARY,
    WITNESS,
    Diverged,
    GroupConfig,
    HardState,
    MemoryLog,
    Ready,
    Replica,
    RoleChanged,
    Snapshot,
)
from protocols.replication_messages import Members

LOG: Final = "log"
SNAPSHOT: Final = "snapshot"
STATE: Final = "state"
REPLICATE: Final = "replicate"
APPLY_SLICE: Final = 100


class StateMachine(Protocol):
    """What the records mean. Synchronous and deterministic."""

    def apply(self, payload: bytes, lsn: int) -> None: ...
    def dump(self) -> bytes: ...
    def restore(self, data: bytes | None) -> None:
        """Become what `dump` gave; None: become empty."""
        ...

    def describe(self, payload: bytes) -> Any:
        """A divergent record for people to read (JSON-able)."""
        ...


class CorruptLog(Exception):
    """The log is damaged where it had been synced: it is not repaired by guessing."""


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
    ) -> None:
        self.ctx = ctx
        self.config = config
        self.machine = machine
        self.state_lsn = 0
        """The last record that the state contains (on a primary: ahead of what is committed)."""
        self.divergent_records = 0
        self.failovers = 0
        """Promotions of this node after the group's first."""
        self.lag = LagClock()
        self.on_role: Callable[[str], None] | None = None
        self._founders = founders
        self._nursery = nursery
        self._snapshot_every_bytes = snapshot_every_bytes
        self._peers: dict[str, Client] = {}
        self._waiters: list[tuple[int, int, int, _Waiter]] = []
        self._order = count()
        self._slow: Ready | None = None
        self._slow_wanted = trio.Event()
        self._sync_wanted = trio.Event()
        self._apply_wanted = trio.Event()
        self._changed = trio.Event()
        self._timer: Timer | None = None
        self._written_mark = 0
        self._base_lsn = 1
        self._ends: list[int] = []
        """Where each record of the log file ends; the first is `_base_lsn`."""
        self._shifted = 0

    # --- start ---------------------------------------------------------------------------

    async def recover(self) -> None:
        """Read state, snapshot and log; cut a torn tail; raise CorruptLog for worse damage."""
        disk, names = self.ctx.disk, self.ctx.disk.names()
        state = HardState()
        if STATE in names:
            state = HardState.decode(await disk.read(STATE))
        snapshot = None
        if SNAPSHOT in names:
            snapshot = Snapshot.decode(await disk.read(SNAPSHOT))
        records = await self._recover_log() if LOG in names else []
        storage = MemoryLog(records, snapshot)
        if records and not storage.entries(storage.first_lsn, storage.last_lsn):
            await disk.remove(LOG)
            records = []
        self._index(records, snapshot)
        self.machine.restore(snapshot.data if snapshot is not None else None)
        self.state_lsn = snapshot.lsn if snapshot is not None else 0
        self.core = Replica(
            self.config, storage, state, self._founders, self.ctx.rng("replica"), self._now_s()
        )

    async def _recover_log(self) -> list[log_format.Entry]:
        disk = self.ctx.disk
        data = await disk.read(LOG)
        found = log_format.scan(data)
        if found.problem is not None:
            await self._set_aside_damaged(found)
        if found.good_length < len(data):
            torn = len(data) - found.good_length
            self.ctx.log.warning("torn log tail cut", bytes=torn, position=found.good_length)
            await disk.truncate(LOG, found.good_length)
        await disk.sync(LOG)
        return list(found.records)

    async def _set_aside_damaged(self, found: log_format.Scan) -> None:
        problem = found.problem
        assert problem is not None
        where = f"file {LOG}, byte {problem.position}"
        self.ctx.log.error("log damaged", where=where, why=problem.reason)
        raise CorruptLog(
            f"{where}: {problem.reason}; acknowledged records may be there, so it is not cut. "
            f"Restore the file, or wipe this node's disk and let it catch up from its peers"
        )

    def _index(self, records: list[log_format.Entry], snapshot: Snapshot | None) -> None:
        self._base_lsn = records[0][1] if records else (snapshot.lsn + 1 if snapshot else 1)
        end, self._ends = 0, []
        for entry in records:
            end += log_format.record_bytes(entry)
            self._ends.append(end)

    async def run(self) -> None:
        """Drive until cancelled. Call `recover` first."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sync_forever)
            nursery.start_soon(self._apply_forever)
            nursery.start_soon(self._slow_forever)
            nursery.start_soon(self._snapshot_forever)
            self._pump()

    def add_methods(self, service: Service) -> None:
        """Take the peers' messages at the node's main listener."""
        service.notified[REPLICATE] = self._receive

    # --- what tiers use ------------------------------------------------------------------

    @property
    def is_primary(self) -> bool:
        return self.core.role == PRIMARY

    @property
    def next_lsn(self) -> int:
        return self.core.storage.last_lsn + 1

    def check_can_write(self) -> None:
        """Raises RpcError: not_primary, unavailable or no_space."""
        core = self.core
        if core.role != PRIMARY:
            raise RpcError("not_primary", f"the primary may be {core.primary}", core.primary)
        if not core.can_write(self._now_s()) or self.state_lsn != core.storage.last_lsn:
            raise RpcError("unavailable", "the primary is not ready to write yet")
        try:
            self.ctx.disk.append(LOG, b"")
        except OSError as error:
            raise RpcError("no_space", f"the disk refuses writes: {error.strerror}") from error

    def check_can_read(self) -> None:
        """Raises RpcError unless this is a primary that may serve now."""
        core = self.core
        if core.role != PRIMARY:
            raise RpcError("not_primary", f"the primary may be {core.primary}", core.primary)
        if self.state_lsn < core.storage.last_lsn:
            raise RpcError("unavailable", "the primary is still replaying its log")
        if not core.can_serve(self._now_s()):
            raise RpcError("unavailable", "the primary has no lease just now")

    def propose(self, payload: bytes) -> int:
        """Append a record whose effect the state has already; its LSN. Raises RpcError."""
        try:
            lsn = self.core.propose(payload)
        except replication.NotPrimary as error:
            raise RpcError("not_primary", str(error), error.primary) from error
        except replication.Refused as error:
            raise RpcError("overloaded", str(error)) from error
        self.state_lsn = lsn
        self._pump_soon()
        return lsn

    def rebuild(self) -> None:
        """Go back to what the log says: the state ran ahead of what the log could take."""
        self._rebuild()
        self._apply_wanted.set()

    async def acknowledged(self, lsn: int) -> None:
        """Return when `lsn` is committed at the configured level. Raises RpcError
        if that may fail."""
        core = self.core
        if core.role == PRIMARY and core.acknowledgeable_lsn >= lsn:
            await trio.lowlevel.checkpoint()
            return
        waiter = _Waiter()
        heappush(self._waiters, (lsn, next(self._order), core.epoch, waiter))
        await waiter.done.wait()
        if waiter.lost:
            raise RpcError(
                "unknown_outcome", "this node lost its role while the write was on its way"
            )

    async def applied(self, lsn: int) -> None:
        """Return when the state contains `lsn`, committed."""
        while min(self.state_lsn, self.core.visible_lsn) < lsn:
            await self._changed.wait()

    def facts(self) -> dict[str, Any]:
        """For `describe`: role, epoch, LSNs, who is primary."""
        core = self.core
        role = "replica" if core.role != PRIMARY else "primary"
        return {
            "role": role,
            "epoch": core.epoch,
            "lsn": core.storage.last_lsn,
            "committed_lsn": core.visible_lsn,
            "applied_lsn": self.state_lsn,
            "primary": core.name if role == "primary" else core.primary,
            "divergent_records": self.divergent_records,
            "members": dict(core.members),
            "lags_s": self.lags_s(),
        }

    def lags_s(self) -> dict[str, float]:
        """On the primary: how far each replica is behind (see parts/lag.py)."""
        now_s, members = self._now_s(), self.core.members
        return {
            name: self.lag.behind_s(progress.flushed_lsn, now_s)
            for name, progress in self.core.progress.items()
            if members.get(name) != WITNESS
        }

    def log_bytes_after(self, lsn: int) -> int:
        """Bytes of our log behind a position (all of it, if that is before its start)."""
        if not self._ends:
            return 0
        place = lsn - self._base_lsn
        before = self._ends[min(place, len(self._ends) - 1)] if place >= 0 else 0
        return self._ends[-1] - before

    def hand_over(self, target: str) -> None:
        """Begin a planned switchover. Raises RpcError."""
        try:
            self.core.hand_over(target, self._now_s())
        except replication.Refused as error:
            raise RpcError("refused", str(error)) from error
        self._pump()

    def change_member(self, name: str, role: str | None) -> None:
        """Add, promote or (None) remove a member; one change at a time. Raises RpcError."""
        try:
            self.core.change_member(name, role, self._now_s())
        except replication.Refused as error:
            raise RpcError("refused", str(error)) from error
        self._pump()

    # --- the pump ------------------------------------------------------------------------

    def _now_s(self) -> float:
        return self.ctx.clock.monotonic_s()

    def _receive(self, call: Call, wire: Any) -> None:
        try:
            message = replication.from_wire(wire)
        except replication.BadMessage as error:
            raise ValueError(str(error)) from error
        if call.peer != message.sender:
            raise ValueError(f"{call.peer} speaks for {message.sender}")
        self.core.step(message, self._now_s())
        self._pump_soon()

    def _pump_soon(self) -> None:
        """Once per turn of the scheduler: what arrived together is answered together."""
        if not self._shifted:
            self._shifted = 1
            self._nursery.start_soon(self._pump_later)

    async def _pump_later(self) -> None:
        self._shifted = 0
        self._pump()

    def _pump(self) -> None:
        """Carry out every Ready; what must wait for the disk holds back all that follows."""
        while self._slow is None:
            ready = self.core.ready()
            if ready is None:
                break
            if _needs_waiting(ready):
                self._slow = ready
                self._slow_wanted.set()
                break
            self._carry_out(ready)
        self._arm()

    def _carry_out(self, ready: Ready) -> None:
        for event in ready.events:
            self._tell(event)
        if ready.entries:
            self._write(ready)
        for message in ready.messages:
            self._peer(message.to).notify(REPLICATE, replication.to_wire(message))
        self._catch_up()
        self._wake_waiters()

    def _write(self, ready: Ready) -> None:
        data = log_format.encode_batch(ready.entries, ready.synced_lsn)
        end = self._ends[-1] if self._ends else 0
        for entry in ready.entries:
            end += log_format.record_bytes(entry)
            self._ends.append(end)
        self.ctx.disk.append(LOG, data)
        self.lag.appended(ready.entries[-1][1], self._now_s())
        self._written_mark = ready.mark
        self._sync_wanted.set()

    def _catch_up(self) -> None:
        """A short way the state goes at once; a long one in slices."""
        if self._apply_some() or self._lags():
            self._apply_wanted.set()

    def _lags(self) -> bool:
        return self.state_lsn < self._apply_target()

    def _apply_target(self) -> int:
        core = self.core
        if core.role == PRIMARY:
            return core.storage.last_lsn  # a primary works ahead
        return min(core.visible_lsn, core.storage.last_lsn)

    def _apply_some(self) -> bool:
        """Apply one slice; whether there is more."""
        storage = self.core.storage
        target = self._apply_target()
        if self.state_lsn < target:
            stop = min(target, self.state_lsn + APPLY_SLICE)
            for _, lsn, kind, payload in storage.entries(self.state_lsn + 1, stop, 1 << 60):
                if kind == DATA:
                    self.machine.apply(payload, lsn)
            self.state_lsn = stop
        if self.core.applied_lsn != min(self.state_lsn, self.core.visible_lsn):
            self.core.applied(min(self.state_lsn, self.core.visible_lsn), self._now_s())
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        return self.state_lsn < target

    async def _apply_forever(self) -> None:
        while True:
            await self._apply_wanted.wait()
            self._apply_wanted = trio.Event()
            while self._slow is None and self._lags():
                self._apply_some()
                await self.ctx.clock.sleep(0)
            self._pump()

    async def _sync_forever(self) -> None:
        while True:
            await self._sync_wanted.wait()
            self._sync_wanted = trio.Event()
            mark = self._written_mark
            await self.ctx.disk.sync(LOG)
            self.core.synced(mark, self._now_s())
            self._pump()

    async def _slow_forever(self) -> None:
        """What must be on the platter before anything else happens."""
        while True:
            await self._slow_wanted.wait()
            self._slow_wanted = trio.Event()
            ready = self._slow
            assert ready is not None
            if ready.hard_state is not None:
                await self._replace(STATE, ready.hard_state.encode())
            for event in ready.events:
                if isinstance(event, Diverged):
                    await self._save_divergent(event)
            if ready.truncate_from is not None:
                await self._cut_log(ready.truncate_from)
            if ready.rebuild_from is not None and ready.rebuild_from <= self.state_lsn:
                self._rebuild()
            if ready.install is not None:
                await self._install(ready.install)
            self._slow = None
            self._carry_out(ready)
            self._pump()

    async def _replace(self, name: str, data: bytes) -> None:
        disk, aside = self.ctx.disk, f"{name}.new"
        if aside in disk.names():
            await disk.remove(aside)
        disk.append(aside, data)
        await disk.sync(aside)
        await disk.rename(aside, name)

    async def _save_divergent(self, event: Diverged) -> None:
        """Before they are cut: our records that the group does not have, readable, counted."""
        self.divergent_records += len(event.records)
        name = f"divergent-{self.core.epoch}-{event.from_lsn}.jsonl"
        lines = []
        for epoch, lsn, kind, payload in event.records:
            shown = self.machine.describe(payload) if kind == DATA else None
            lines.append(json.dumps({"epoch": epoch, "lsn": lsn, "record": shown}, default=repr))
        self.ctx.disk.append(name, ("\n".join(lines) + "\n").encode())
        await self.ctx.disk.sync(name)
        self.ctx.log.warning(
            "divergent records saved", records=len(lines), from_lsn=event.from_lsn, file=name
        )

    async def _cut_log(self, lsn: int) -> None:
        keep = max(0, lsn - self._base_lsn)
        if keep < len(self._ends):
            end = self._ends[keep - 1] if keep else 0
            del self._ends[keep:]
            await self.ctx.disk.truncate(LOG, end)
            self.ctx.log.info("log cut", from_lsn=lsn)

    def _rebuild(self) -> None:
        snapshot = self.core.storage.snapshot
        self.machine.restore(snapshot.data if snapshot is not None else None)
        self.state_lsn = snapshot.lsn if snapshot is not None else 0
        self.ctx.log.info("state rebuilt", from_lsn=self.state_lsn)

    async def _install(self, snapshot: Snapshot) -> None:
        await self._replace(SNAPSHOT, snapshot.encode())
        if LOG in self.ctx.disk.names():
            await self.ctx.disk.truncate(LOG, 0)
        self._base_lsn, self._ends = snapshot.lsn + 1, []
        self.machine.restore(snapshot.data)
        self.state_lsn = snapshot.lsn
        self.core.snapshot_installed()
        self.ctx.log.info("snapshot installed", lsn=snapshot.lsn)

    # --- snapshots of our own ------------------------------------------------------------

    async def _snapshot_forever(self) -> None:
        """When the log is long: snapshot what is committed, and drop what nobody needs."""
        while True:
            await self.ctx.clock.sleep(1.0)
            if self._slow is None and (self._ends and self._ends[-1] > self._snapshot_every_bytes):
                await self._snapshot()

    async def _snapshot(self) -> None:
        core = self.core
        lsn = self.state_lsn
        before = core.storage.snapshot.lsn if core.storage.snapshot is not None else 0
        if not core.storage.epoch_at(lsn) or lsn <= before:
            return
        made = core.snapshot_of(lsn, self.machine.dump())
        for _ in range(100):
            if core.is_settled(made):
                break
            await self.ctx.clock.sleep(0.05)
        if not core.is_settled(made) or self._slow is not None:
            return
        await self._replace(SNAPSHOT, made.encode())
        if self._slow is None:
            first_lsn = core.compact(made)
            await self._shorten_log(first_lsn)
            self.ctx.log.info("snapshot taken", lsn=lsn, log_from_lsn=first_lsn)

    async def _shorten_log(self, first_lsn: int) -> None:
        """Rewrite the log file from `first_lsn`; what is appended meanwhile waits."""
        storage = self.core.storage
        if first_lsn <= self._base_lsn:
            return
        last_lsn = self._base_lsn + len(self._ends) - 1
        kept = list(storage.entries(first_lsn, last_lsn, 1 << 60)) if first_lsn <= last_lsn else []
        self._slow = Ready()
        try:
            await self._replace(LOG, log_format.encode_batch(kept))
            self._base_lsn, end, self._ends = first_lsn, 0, []
            for entry in kept:
                end += log_format.record_bytes(entry)
                self._ends.append(end)
        finally:
            self._slow = None
        self._pump()

    # --- peers, time, waiters ------------------------------------------------------------

    def _peer(self, name: str) -> Client:
        client = self._peers.get(name)
        if client is None:
            client = self._peers[name] = Client(self.ctx, self._nursery, name, RPC_PORT)
        return client

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline_s = self.core.deadline_s
        if deadline_s != float("inf"):
            self._timer = self.ctx.clock.call_at(deadline_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.core.tick(self._now_s())
        self._pump_soon()
        if self._timer is None:
            self._arm_after_slow()

    def _arm_after_slow(self) -> None:
        if self._slow is None:
            self._arm()

    def _wake_waiters(self) -> None:
        core, waiters = self.core, self._waiters
        primary = core.role == PRIMARY
        while waiters:
            lsn, _, epoch, waiter = waiters[0]
            if primary and epoch == core.epoch:
                if lsn > core.acknowledgeable_lsn:
                    return
            else:
                waiter.lost = True
            heappop(waiters)
            waiter.done.set()

    def _tell(self, event: Any) -> None:
        if isinstance(event, RoleChanged):
            fields = {"role": event.role, "epoch": event.epoch, "primary": event.primary}
            self.ctx.log.info("promoted" if event.role == PRIMARY else "role changed", **fields)
            self.failovers += event.role == PRIMARY and event.epoch > 1
            if self.on_role is not None:
                self.on_role(event.role)
        elif not isinstance(event, Diverged):
            self.ctx.log.info(_event_name(event), **_event_fields(event))


class _Waiter:
    __slots__ = ("done", "lost")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.lost = False


def _needs_waiting(ready: Ready) -> bool:
    return (
        ready.hard_state is not None
        or ready.truncate_from is not None
        or ready.rebuild_from is not None
        or ready.install is not None
    )


def _event_name(event: Any) -> str:
    """`SwitchoverEnded` → `switchover ended`."""
    name = type(event).__name__
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


def _event_fields(event: Any) -> dict[str, Any]:
    return dict(event._asdict()) if hasattr(event, "_asdict") else {}
