"""A seeded world for replicas: clocks that drift, a network that loses, disks that forget.

It drives the core as a real driver would (state before messages, background sync) and checks on the
way what must hold at every moment. Test files only choose what happens.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import msgpack

from protocols import replication
from protocols.replication import (
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
    PrimaryRefused,
    Ready,
    Refused,
    Replica,
    RoleChanged,
    Snapshot,
)


class Broken(AssertionError):
    """The world saw what must never happen."""


@dataclass
class Settings:
    """What a run is made of; each test sets what matters to it."""

    names: tuple[str, ...] = ("a", "b", "c")
    founders: tuple[tuple[str, str], ...] = (("a", VOTER), ("b", VOTER), ("c", VOTER))
    ack: str = "quorum"
    drift: float = 0.0
    max_drift: float = 0.02
    drop: float = 0.0
    delay_s: tuple[float, float] = (0.001, 0.02)
    sync_s: tuple[float, float] = (0.001, 0.02)
    retained_bytes: int = 1 << 20
    batch_bytes: int = 4096
    timeout_s: float = 1.0


@dataclass
class Disk:
    """What is in files, and how much of the log would survive a power cut."""

    log: list[Entry] = field(default_factory=list)
    durable_records: int = 0
    state: HardState = field(default_factory=HardState)
    snapshot: Snapshot | None = None
    divergent: list[Entry] = field(default_factory=list)

    def lose_unsynced(self, rng: random.Random) -> None:
        keep = rng.randint(self.durable_records, len(self.log))
        del self.log[keep:]


class Machine:
    """A replica with its driver."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        rng = world.rng
        drift = world.settings.drift
        self.rate = rng.choice([1 - drift, 1 + drift, 1.0, rng.uniform(1 - drift, 1 + drift)])
        self.offset_s = rng.uniform(0, 1000)
        self.disk = Disk()
        self.up = self.paused = False
        self.generation = 0
        self.held: list[Message] = []
        self.state: list[tuple[int, bytes]] = []
        self.applied_lsn = 0
        self.replica: Replica
        self.replies: dict[int, bytes] = {}

    @property
    def running(self) -> bool:
        return self.up and not self.paused

    def now_s(self) -> float:
        return self.offset_s + self.rate * self.world.now_s

    def boot(self) -> None:
        settings = self.world.settings
        self.up, self.paused = True, False
        self.generation += 1
        self.held.clear()
        founders = settings.founders if self.name in dict(settings.founders) else ()
        config = GroupConfig(
            name=self.name,
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
        storage = MemoryLog(disk.log, disk.snapshot)
        self.replica = self.world.replica_class(
            config, storage, disk.state, founders, rng, self.now_s()
        )
        self.state = load(disk.snapshot)
        self.applied_lsn = disk.snapshot.lsn if disk.snapshot else 0
        self.written_mark = self.tick_serial = 0
        self.syncing = self.persisting = False
        self.pump()

    def stop(self, *, power_cut: bool) -> None:
        self.up = False
        self.generation += 1
        if power_cut:
            self.disk.lose_unsynced(self.world.rng)

    def wipe(self) -> None:
        self.stop(power_cut=True)
        self.disk = Disk()

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
                self.persisting = True
                self.later(self.world.sync_delay_s(), lambda ready=ready: self.persisted(ready))
            else:
                self.carry_out(ready)
        self.arm()

    def persisted(self, ready: Ready) -> None:
        assert ready.hard_state is not None
        self.disk.state = ready.hard_state
        self.persisting = False
        self.carry_out(ready)
        self.pump()

    def carry_out(self, ready: Ready) -> None:
        disk = self.disk
        for event in ready.events:
            if isinstance(event, Diverged):
                disk.divergent += event.records
        if ready.truncate_from is not None:
            self.cut(ready.truncate_from)
        if ready.rebuild_from is not None:
            self.rebuild(ready.rebuild_from)
        if ready.entries:
            assert ready.entries[0][1] == (disk.log[-1][1] + 1 if disk.log else self.base_lsn + 1)
            disk.log += ready.entries
            self.written_mark = ready.mark
        for message in ready.messages:
            self.world.send(message)
        if ready.install is not None:
            self.later(self.world.sync_delay_s(), lambda: self.install(ready.install))
        self.apply(ready.visible_lsn)
        self.sync()

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
        self.state, self.applied_lsn = load(snapshot), snapshot.lsn
        self.replica.snapshot_installed()
        self.pump()

    def apply(self, visible_lsn: int) -> None:
        replica = self.replica
        target = min(visible_lsn, replica.storage.last_lsn)
        if target <= self.applied_lsn:
            return
        for _, lsn, kind, payload in replica.storage.entries(self.applied_lsn + 1, target, 1 << 60):
            if kind == DATA:
                self.state.append((lsn, payload))
        self.applied_lsn = target
        replica.applied(target, self.now_s())

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
        epoch = replica.storage.epoch_at(lsn)
        if self.config_witness or not epoch or lsn <= self.base_lsn or self.persisting:
            return
        members = next(m for at, m in reversed(replica._members_log) if at <= lsn)
        data = msgpack.packb([item for item in self.state if item[0] <= lsn])
        snapshot = Snapshot(lsn, epoch, members, data)
        self.disk.snapshot = Snapshot.decode(snapshot.encode())
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


def load(snapshot: Snapshot | None) -> list[tuple[int, bytes]]:
    return [tuple(item) for item in msgpack.unpackb(snapshot.data)] if snapshot else []


class World:
    """Machines, the wires between them, and what has been seen so far."""

    def __init__(
        self, seed: int | str, settings: Settings, replica_class: type[Replica] = Replica
    ) -> None:
        self.seed, self.settings, self.replica_class = seed, settings, replica_class
        self.rng = random.Random(f"world/{seed}")
        self.now_s = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self.cuts: set[tuple[str, str]] = set()
        self.slow: dict[tuple[str, str], float] = {}
        self.primaries: dict[int, str] = {}
        self.truth: dict[int, Entry] = {}
        self.written: dict[tuple[int, int], tuple[bytes, int]] = {}
        self.acked_lsn = 0
        self.sent = 0
        self.on_send: Callable[[Message], None] | None = None
        self.on_ready: Callable[[str, Ready], None] | None = None
        voters = sum(1 for _, role in settings.founders if role != "learner")
        self.safe = AckRule.parse(settings.ack).survives_failover(voters)
        self.machines = {name: Machine(self, name) for name in settings.names}
        for machine in self.machines.values():
            machine.boot()

    # -- time and wires

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (time_s, self._serial, action))

    def run(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self._heap and self._heap[0][0] <= until_s:
            self.now_s, _, action = heapq.heappop(self._heap)
            action()
            self.check_leases()
        self.now_s = until_s
        self.check_leases()

    def sync_delay_s(self) -> float:
        return self.rng.uniform(*self.settings.sync_s)

    def send(self, message: Message) -> None:
        self.sent += 1
        if self.on_send is not None:
            self.on_send(message)
        link = (message.sender, message.to)
        if link in self.cuts or self.rng.random() < self.settings.drop:
            return
        delay_s = self.rng.uniform(*self.settings.delay_s) * self.slow.get(link, 1.0)
        target = self.machines[message.to]
        self.at(self.now_s + delay_s, lambda: target.receive(message))

    # -- what must hold

    def observe(self, machine: Machine, ready: Ready) -> None:
        if self.on_ready is not None:
            self.on_ready(machine.name, ready)
        replica = machine.replica
        for _ in (e for e in ready.events if isinstance(e, PrimaryRefused)):
            raise Broken(f"{machine.name} was asked to cut what the quorum has")
        for epoch, lsn, _, payload in ready.entries:
            before = replica.storage.epoch_at(lsn - 1) or 0
            known = self.written.setdefault((lsn, epoch), (payload, before))
            if known[0] != payload or (before and known[1] and known[1] != before):
                raise Broken(f"two records ({epoch}, {lsn}): logs do not match")
        for event in ready.events:
            if isinstance(event, RoleChanged) and event.role == "primary":
                self.see_primary(machine, event.epoch)
        self.see_quorum(machine, ready.quorum_lsn)
        if replica.role == "primary" and self.safe:
            self.acked_lsn = max(self.acked_lsn, ready.acknowledgeable_lsn)

    def see_primary(self, machine: Machine, epoch: int) -> None:
        if self.primaries.setdefault(epoch, machine.name) != machine.name:
            raise Broken(f"epoch {epoch} has two primaries")
        storage = machine.replica.storage
        for lsn, entry in self.truth.items():
            if lsn > storage.last_lsn:
                raise Broken(f"primary {machine.name} of epoch {epoch} lacks committed {lsn}")
            if lsn >= storage.first_lsn and storage.epoch_at(lsn) != entry[0]:
                raise Broken(f"primary {machine.name} of epoch {epoch} has another {lsn}")

    def see_quorum(self, machine: Machine, quorum_lsn: int) -> None:
        storage = machine.replica.storage
        seen = getattr(machine, "seen_quorum_lsn", 0)
        if getattr(machine, "seen_generation", 0) != machine.generation:
            seen, machine.seen_generation = 0, machine.generation
        start = max(seen + 1, storage.first_lsn)
        if quorum_lsn > storage.last_lsn:
            raise Broken(f"{machine.name} counts {quorum_lsn} beyond its log")
        if quorum_lsn >= start:
            for entry in storage.entries(start, quorum_lsn, 1 << 60):
                if self.truth.setdefault(entry[1], entry) != entry:
                    raise Broken(f"{machine.name} committed another record {entry[1]}")
        machine.seen_quorum_lsn = quorum_lsn

    def check_leases(self) -> None:
        serving = [
            m for m in self.machines.values() if m.running and m.replica.can_serve(m.now_s())
        ]
        if len(serving) > 1:
            raise Broken(f"two primaries serve: {[m.name for m in serving]}")
        if serving and self.safe and serving[0].replica.visible_lsn < self.acked_lsn:
            raise Broken(f"{serving[0].name} serves without acknowledged {self.acked_lsn}")

    # -- for scripts

    def primary(self) -> Machine | None:
        serving = (m for m in self.machines.values() if m.running)
        return next((m for m in serving if m.replica.can_serve(m.now_s())), None)

    def wait_for_primary(self, limit_s: float = 20.0) -> Machine:
        waited_s = 0.0
        while (machine := self.primary()) is None:
            if waited_s > limit_s:
                raise Broken(f"no primary within {limit_s} s")
            self.run(0.05)
            waited_s += 0.05
        return machine

    def propose(self, machine: Machine, payload: bytes) -> int | None:
        if not (machine.running and machine.replica.can_write(machine.now_s())):
            return None
        try:
            lsn = machine.replica.propose(payload)
        except Refused:
            return None
        machine.pump()
        return lsn

    def heal(self) -> None:
        self.cuts.clear()
        self.slow.clear()
        self.settings.drop = 0.0
        for machine in self.machines.values():
            if machine.paused:
                machine.resume()
            if not machine.up:
                machine.boot()

    def settle(self, limit_s: float = 40.0) -> None:
        """Heal, then demand progress and that all members end up equal."""
        self.heal()
        marker, waited_s, lsn = b"final", 0.0, None
        while True:
            self.run(0.25)
            waited_s += 0.25
            primary = self.primary()
            if primary is not None:
                members = primary.replica.members
                if lsn is None or not any(p == marker for _, p in primary.state):
                    lsn = self.propose(primary, marker) or lsn
                data = [self.machines[n] for n, role in members.items() if role != WITNESS]
                if lsn and all(m.applied_lsn == primary.applied_lsn >= lsn for m in data):
                    break
            if waited_s > limit_s:
                raise Broken(f"no progress within {limit_s} s after healing")
        for machine in data:
            if machine.state != primary.state:
                raise Broken(f"{machine.name} and {primary.name} differ after healing")
        mine = dict(primary.state)
        for lsn, entry in self.truth.items():
            if entry[2] == DATA and mine.get(lsn) != entry[3]:
                raise Broken(f"committed {lsn} is lost")
        if self.safe and primary.replica.quorum_lsn < self.acked_lsn:
            raise Broken(f"acknowledged {self.acked_lsn} is lost")
