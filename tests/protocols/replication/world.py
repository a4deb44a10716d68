"""A seeded world for replicas: clocks that drift, a network that loses, disks that forget.

It drives the core as a real driver would (state before messages, background sync) and checks on the
way what must hold at every moment. Test files only choose what happens.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Callable

from protocols.replication.messages import AppendReply, VoteReply
from protocols.replication.replica import (
    DATA,
    WITNESS,
    Entry,
    Message,
    PrimaryRefused,
    Ready,
    Refused,
    RoleChanged,
)
from tests.protocols.replication.machine import Machine, Settings


class Broken(AssertionError):
    """The world saw what must never happen."""


class World:
    """Machines, the wires between them, and what has been seen so far."""

    def __init__(self, seed: int | str, settings: Settings) -> None:
        self.seed, self.settings = seed, settings
        self.rng = random.Random(f"world/{seed}")
        self.now_s = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self.cuts: set[tuple[str, str]] = set()
        self.slow: dict[tuple[str, str], float] = {}
        self.last_arrival_s: dict[tuple[str, str], float] = defaultdict(float)
        self.primaries: dict[int, str] = {}
        self.truth: dict[int, Entry] = {}
        self.written: dict[tuple[int, int], tuple[bytes, int]] = {}
        self.acked_lsn = 0
        self.sent = 0
        self.on_send: Callable[[Message], None] | None = None
        self.on_ready: Callable[[str, Ready], None] | None = None
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
        self.check_promises(message)
        if self.on_send is not None:
            self.on_send(message)
        link, target = (message.sender, message.to), self.machines[message.to]
        if self.rng.random() < self.settings.late:
            self.at(self.now_s + self.rng.uniform(0.2, 6.0), lambda: target.receive(message))
        if link in self.cuts or self.rng.random() < self.settings.drop:
            return
        for _ in range(2 if self.rng.random() < self.settings.duplicate else 1):
            delay_s = self.rng.uniform(*self.settings.delay_s) * self.slow.get(link, 1.0)
            arrival_s = self.now_s + delay_s
            if self.rng.random() >= self.settings.reorder:
                arrival_s = self.last_arrival_s[link] = max(arrival_s, self.last_arrival_s[link])
            self.at(arrival_s, lambda: target.receive(message))

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
        if replica.role == "primary" and replica.config.ack.survives_failover(len(replica.voters)):
            self.acked_lsn = max(self.acked_lsn, ready.acknowledgeable_lsn)

    def forget(self, machine: Machine, ready: Ready) -> None:
        """What a primary made and died with, before its own disk had its epoch."""
        for epoch, lsn, _, _ in ready.entries:
            if self.primaries.get(epoch) == machine.name:
                self.written.pop((lsn, epoch), None)

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
            for entry in machine.known(start, quorum_lsn):
                if self.truth.setdefault(entry[1], entry) != entry:
                    raise Broken(f"{machine.name} committed another record {entry[1]}")
        machine.seen_quorum_lsn = quorum_lsn

    def check_promises(self, message: Message) -> None:
        """What a message says must be on its sender's disk before it leaves."""
        disk = self.machines[message.sender].disk
        if getattr(message, "pre", False) or getattr(message, "granted", True) is False:
            return  # these promise nothing
        if disk.state.epoch < message.epoch:
            raise Broken(f"{message.sender} speaks of epoch {message.epoch} before it is durable")
        if isinstance(message, VoteReply) and message.granted:
            moved = disk.state.epoch > message.epoch
            if not moved and disk.state.vote != message.to:
                raise Broken(f"{message.sender} granted a vote that is not on its disk")
        if isinstance(message, AppendReply):
            base = disk.log[0][1] - 1 if disk.log else 0
            durable = max(base + disk.durable_records, disk.snapshot.lsn if disk.snapshot else 0)
            if message.flushed_lsn > durable:
                raise Broken(f"{message.sender} confirms {message.flushed_lsn} before its sync")

    def check_leases(self) -> None:
        serving = [
            m for m in self.machines.values() if m.running and m.replica.can_serve(m.now_s())
        ]
        if len(serving) > 1:
            raise Broken(f"two primaries serve: {[m.name for m in serving]}")
        if serving and serving[0].replica.visible_lsn < self.acked_lsn:
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

    def change_member(self, machine: Machine, name: str, role: str | None) -> bool:
        try:
            machine.replica.change_member(name, role, machine.now_s())
        except Refused:
            return False
        machine.pump()
        return True

    def all_standing(self) -> bool:
        """Whether every member's word counts, durably."""
        primary = self.primary()
        return primary is not None and all(
            self.machines[name].disk.state.standing for name in primary.replica.members
        )

    def heal(self) -> None:
        self.cuts.clear()
        self.slow.clear()
        for fault in ("drop", "duplicate", "late", "reorder"):
            setattr(self.settings, fault, 0.0)
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
        if primary.replica.quorum_lsn < self.acked_lsn:
            raise Broken(f"acknowledged {self.acked_lsn} is lost")
