"""One simulated replica with its driver: it carries out each Ready as a real driver would.

State before messages, sync in the background, a disk that forgets. What must hold is judged by
world.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import msgpack

from protocols.replication import replica as replication
from protocols.replication.replica import (
    DATA,
    VOTER,
    WITNESS,
    AckRule,
    Diverged,
    Entry,
    GroupConfig,
    HardState,
    MemoryLog,
    Message,
    Ready,
    Replica,
    Snapshot,
)

if TYPE_CHECKING:
    from tests.protocols.replication.world import World


@dataclass
class Settings:
    """What a run is made of; each test sets what matters to it."""

    names: tuple[str, ...] = ("a", "b", "c")
    founders: tuple[tuple[str, str], ...] = (("a", VOTER), ("b", VOTER), ("c", VOTER))
    ack: str = "quorum"
    drift: float = 0.0
    max_drift: float = 0.02
    drop: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    """How many messages arrive once more seconds later, even over a cut link."""
    reorder: float = 0.0
    """How many messages do not keep the order of their link (a connection does, mostly)."""
    delay_s: tuple[float, float] = (0.001, 0.02)
    sync_s: tuple[float, float] = (0.001, 0.02)
    retained_bytes: int = 1 << 20
    batch_bytes: int = 4096
    timeout_s: float = 1.0
    latest_bytes: int = 1 << 30
    """Of the log, so much (and at most twice that) stays in memory."""
    group: str = ""


@dataclass
class Disk:
    """What is in files, and how much of the log would survive a power cut."""

    log: list[Entry] = field(default_factory=list)
    durable_records: int = 0
    state: HardState = field(default_factory=HardState)
    snapshot: Snapshot | None = None
    states: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """What is in snapshots, by LSN and epoch."""
    divergent: list[Entry] = field(default_factory=list)

    def lose_unsynced(self, rng: random.Random) -> None:
        keep = rng.randint(self.durable_records, len(self.log))
        del self.log[keep:]

    def records(self, from_lsn: int, before_lsn: int) -> list[Entry]:
        """What the file has of them."""
        first_lsn = self.log[0][1] if self.log else 1
        return self.log[max(0, from_lsn - first_lsn) : max(0, before_lsn - first_lsn)]

    def load(self) -> list[tuple[int, bytes]]:
        """The state that the snapshot has."""
        if self.snapshot is None:
            return []
        data = self.states[self.snapshot.lsn, self.snapshot.epoch]
        return [tuple(item) for item in msgpack.unpackb(data)]


class Machine:
    """A replica with its driver."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        rng = world.rng
        drift = world.settings.drift
        self.rate = rng.choice([1 - drift, 1 + drift, 1.0, rng.uniform(1 - drift, 1 + drift)])
        self.offset_s = rng.uniform(0, 1000)
        self.disk = Disk()
        self.up = self.paused = self.wiped = False
        self.generation = 0
        self.held: list[Message] = []
        self.incoming = b""
        """As much of a peer's snapshot as is here."""
        self.state: list[tuple[int, bytes]] = []
        self.applied_lsn = 0
        self.replica: Replica
        self.replies: dict[int, bytes] = {}
        self.unwritten: Ready | None = None
        """What waits for the state file: nobody has heard of it."""

    @property
    def running(self) -> bool:
        return self.up and not self.paused

    def now_s(self) -> float:
        return self.offset_s + self.rate * self.world.now_s

    def boot(self) -> None:
        settings = self.world.settings
        self.up, self.paused = True, False
        self.generation += 1
        self.incoming = b""
        self.held.clear()
        founders = settings.founders if self.name in dict(settings.founders) else ()
        if self.wiped and len(founders) == 1:
            founders = ()  # whoever lost the disk of a group of one must not found another
        config = GroupConfig(
            name=self.name,
            group=settings.group,
            witness=dict(founders).get(self.name) == WITNESS,
            ack=AckRule.parse(settings.ack),
            detection_timeout_s=settings.timeout_s,
            max_clock_drift=settings.max_drift,
            max_batch_bytes=settings.batch_bytes,
            retained_bytes=settings.retained_bytes,
        )
        disk = self.disk
        disk.durable_records = len(disk.log)  # a driver syncs once before it starts
        rng = random.Random(f"{self.world.seed}/{self.name}/{self.generation}")
        storage = MemoryLog(disk.log, disk.snapshot, settings.latest_bytes)
        if storage.last_lsn < storage.first_lsn:  # as a driver drops it
            disk.log, disk.durable_records = [], 0
        self.replica = Replica(config, storage, disk.state, founders, rng, self.now_s())
        storage.release(storage.last_lsn)
        self.state = disk.load()
        self.applied_lsn = disk.snapshot.lsn if disk.snapshot else 0
        self.written_mark = self.tick_serial = 0
        self.syncing = self.persisting = False
        self.pump()

    def stop(self, *, power_cut: bool) -> None:
        self.up = False
        self.generation += 1
        if self.unwritten is not None:
            self.world.forget(self, self.unwritten)
            self.unwritten = None
        if power_cut:
            self.disk.lose_unsynced(self.world.rng)

    def wipe(self) -> None:
        self.stop(power_cut=True)
        self.disk, self.wiped = Disk(), True

    def receive(self, message: Message) -> None:
        if self.paused:
            self.held.append(message)
        elif self.up:
            wire = replication.to_wire(message)
            self.replica.step(replication.from_wire(wire), self.now_s())
            self.pump()

    def resume(self) -> None:
        self.paused = False
        held, self.held = self.held, []
        if self.up:
            self.replica.tick(self.now_s())
            for message in held:
                self.replica.step(message, self.now_s())
            self.pump()

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        generation = self.generation

        def run() -> None:
            if self.generation != generation:
                return
            if self.paused:
                self.world.at(self.world.now_s + 0.05, run)
            else:
                action()

        self.world.at(self.world.now_s + delay_s, run)

    def pump(self) -> None:
        """Carry out every Ready; a state file's sync holds back all that follows."""
        while not self.persisting:
            ready = self.replica.ready()
            if ready is None:
                break
            self.world.observe(self, ready)
            if ready.hard_state is not None:
                self.persisting, self.unwritten = True, ready
                self.later(self.world.sync_delay_s(), lambda ready=ready: self.persisted(ready))
            else:
                self.carry_out(ready)
        self.arm()

    def persisted(self, ready: Ready) -> None:
        assert ready.hard_state is not None
        self.disk.state = ready.hard_state
        self.persisting, self.unwritten = False, None
        self.carry_out(ready)
        self.pump()

    def carry_out(self, ready: Ready) -> None:
        disk = self.disk
        for event in ready.events:
            if isinstance(event, Diverged):
                at_hand_lsn = event.last_lsn + 1 - len(event.records)
                disk.divergent += disk.records(event.from_lsn, at_hand_lsn)
                disk.divergent += event.records
        if ready.truncate_from is not None:
            self.cut(ready.truncate_from)
        if ready.rebuild_from is not None:
            self.rebuild(ready.rebuild_from)
        if ready.entries:
            assert ready.entries[0][1] == (disk.log[-1][1] + 1 if disk.log else self.base_lsn + 1)
            disk.log += ready.entries
            self.written_mark = ready.mark
            self.replica.storage.release(disk.log[-1][1])
        for message in ready.messages:
            self.world.send(message)
        self.carry_snapshots(ready)
        for lsn in ready.reads:
            found = disk.records(lsn, lsn + self.world.rng.randint(1, 9))
            self.later(self.world.sync_delay_s(), partial(self.have_read, lsn, found))
        if ready.install is not None:
            self.later(self.world.sync_delay_s(), lambda: self.install(ready.install))
        self.apply(ready.visible_lsn)
        self.sync()

    def carry_snapshots(self, ready: Ready) -> None:
        for chunk, size_bytes in ready.chunks:
            data = self.disk.states[chunk.lsn, chunk.lsn_epoch]
            data = data[chunk.offset : chunk.offset + size_bytes]
            self.world.send(chunk._replace(data=data))
        for chunk in ready.received:
            if chunk.offset == 0:
                self.incoming = b""
            assert chunk.offset == len(self.incoming)
            self.incoming += chunk.data

    def have_read(self, lsn: int, entries: list[Entry]) -> None:
        self.replica.fetched(lsn, entries, self.now_s())
        self.pump()

    @property
    def base_lsn(self) -> int:
        return self.disk.snapshot.lsn if self.disk.snapshot else 0

    def cut(self, lsn: int) -> None:
        disk = self.disk
        keep = lsn - disk.log[0][1] if disk.log else 0
        del disk.log[keep:]
        disk.durable_records = min(disk.durable_records, keep)
        self.covered = min(getattr(self, "covered", 0), keep)

    def rebuild(self, lsn: int) -> None:
        self.state = [(at, payload) for at, payload in self.state if at < lsn]
        self.applied_lsn = min(self.applied_lsn, lsn - 1)

    def install(self, snapshot: Snapshot | None) -> None:
        assert snapshot is not None
        disk = self.disk
        disk.snapshot, disk.log, disk.durable_records, self.covered = snapshot, [], 0, 0
        disk.states[snapshot.lsn, snapshot.epoch] = self.incoming
        self.state, self.applied_lsn = disk.load(), snapshot.lsn
        self.replica.snapshot_installed()
        self.pump()

    def apply(self, visible_lsn: int) -> None:
        replica = self.replica
        target = min(visible_lsn, replica.storage.last_lsn)
        if target <= self.applied_lsn:
            return
        for _, lsn, kind, payload in self.known(self.applied_lsn + 1, target):
            if kind == DATA:
                self.state.append((lsn, payload))
        self.applied_lsn = target
        replica.applied(target, self.now_s())

    def known(self, from_lsn: int, to_lsn: int) -> list[Entry]:
        """Records from the file and from memory, as the core has them."""
        latest = self.replica.storage.latest(from_lsn)
        at_hand_lsn = latest[0][1] if latest else to_lsn + 1
        found = [*self.disk.records(from_lsn, min(at_hand_lsn, to_lsn + 1)), *latest]
        return [entry for entry in found if entry[1] <= to_lsn]

    def sync(self) -> None:
        disk = self.disk
        if self.syncing or disk.durable_records == len(disk.log):
            return
        self.syncing = True
        self.covered, mark = len(disk.log), self.written_mark

        def done() -> None:
            self.syncing = False
            disk.durable_records = max(disk.durable_records, min(self.covered, len(disk.log)))
            self.replica.synced(mark, self.now_s())
            self.sync()
            self.pump()

        self.later(self.world.sync_delay_s(), done)

    def arm(self) -> None:
        """Call tick when the core wants it."""
        self.tick_serial += 1
        serial = self.tick_serial
        deadline_s = self.replica.deadline_s
        if deadline_s == float("inf"):
            return

        def run() -> None:
            if serial == self.tick_serial:
                self.replica.tick(self.now_s())
                self.pump()

        wait_s = (deadline_s - self.now_s()) / self.rate
        self.later(max(wait_s, 0.0) + self.world.rng.random() * 0.002, run)

    def compact(self) -> None:
        """Snapshot what is applied and quorum-committed; drop what the log need not keep."""
        replica = self.replica
        lsn = min(self.applied_lsn, replica.quorum_lsn)
        if self.config_witness or lsn <= self.base_lsn or self.persisting:
            return
        data = msgpack.packb([item for item in self.state if item[0] <= lsn])
        snapshot = replica.snapshot_of(lsn, len(data))
        assert replica.is_settled(snapshot)
        self.disk.snapshot = snapshot
        self.disk.states[lsn, snapshot.epoch] = data
        first_lsn = replica.compact(snapshot)
        log = self.disk.log
        drop = min(first_lsn - log[0][1] if log else 0, self.disk.durable_records)
        if drop > 0:
            del log[:drop]
            self.disk.durable_records -= drop
            self.covered = max(getattr(self, "covered", 0) - drop, 0)

    @property
    def config_witness(self) -> bool:
        return self.replica.config.witness
