"""Random lives of a small group: each seed draws a shape, a rule of acknowledgement, and faults.

What must hold at every step is world.py's business; here is only what happens.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from protocols.replication.messages import VoteRequest
from protocols.replication.replica import (
    LEARNER,
    PRIMARY,
    VOTER,
    WITNESS,
    Message,
    Ready,
    Refused,
    RoleChanged,
)
from tests.protocols.replication.machine import Machine, Settings
from tests.protocols.replication.world import World

ACKS = ("quorum", "quorum", "remote_apply", "async", "off", "remote_write", "ANY 1", "FIRST 1")
SHAPES = {
    "three": (("a", VOTER), ("b", VOTER), ("c", VOTER)),
    "five": tuple((name, VOTER) for name in "abcde"),
    "two and a witness": (("a", VOTER), ("b", VOTER), ("w", WITNESS)),
    "one": (("a", VOTER),),
}


THEMES = (None, None, "members", "leases", "late", "snapshots")
"""What a seed dwells on: random faults of every kind alone seldom meet the rare conditions."""


def draw(rng: random.Random, theme: str | None) -> Settings:
    """The swarm's choice: most knobs are off in most runs, so that each has runs of its own."""
    shape = rng.choice(("three", "three", "three", "five", "two and a witness", "one"))
    founders = SHAPES[shape]
    drift = rng.choice((0.0, 0.0, 0.02))
    longest_s = rng.choice((0.002, 0.02, 0.1, 0.3))
    return Settings(
        names=(*(name for name, _ in founders), "x", "y"),
        founders=founders,
        ack=rng.choice(ACKS),
        drift=drift,
        max_drift=drift,
        drop=rng.choice((0.0, 0.0, 0.02, 0.2)),
        duplicate=rng.choice((0.0, 0.0, 0.05)),
        late=0.3 if theme == "late" else rng.choice((0.0, 0.0, 0.1)),
        reorder=rng.choice((0.0, 0.0, 0.1)),
        delay_s=(0.0005, 0.005 if theme == "leases" else longest_s),
        sync_s=(0.0005, rng.choice((0.001, 0.02, 0.2))),
        retained_bytes=0 if theme in ("snapshots", "members") else rng.choice((0, 400, 1 << 20)),
        batch_bytes=rng.choice((40, 200, 4096)),
        timeout_s=1.0,
    )


class Swarm:
    """One seed's life: `run` draws faults and work for a while, then heals and judges."""

    def __init__(self, seed: int | str) -> None:
        rng = self.rng = random.Random(f"swarm/{seed}")
        self.theme = theme = rng.choice(THEMES)
        settings = draw(rng, theme)
        memory = random.Random(f"memory/{seed}")
        settings.latest_bytes = memory.choice((0, 100, 1000, 1 << 30))
        self.world = World(seed, settings)
        self.world.on_ready = self.seen_ready
        self.world.on_send = self.seen_message
        self.payloads = 0
        self.over = False
        self.after_promotion = rng.choice((0.0, 0.0, 0.5, 0.9))
        self.before_vote = 0.9 if theme == "leases" else rng.choice((0.0, 0.0, 0.5))
        self.after_cut = 0.7 if theme == "snapshots" else rng.choice((0.0, 0.0, 0.7))
        self.after_change = 0.3 if theme == "members" else 0.0
        self.acts = self.draw_acts()

    def draw_acts(self) -> list[tuple[float, Callable[[], None]]]:
        """What may happen, and how often a second."""
        rng = self.rng
        rate = rng.choice((0.03, 0.1, 0.4))
        proposals = (0.2, 1.0) if self.theme == "leases" else (2.0, 20.0)
        acts = [(rng.choice(proposals), self.propose)]
        acts += [(rate * rng.choice((0.0, 0.3, 1.0)), act) for act in self.faults()]
        acts += [(rng.choice((0.0, 0.1, 0.3)), act) for act in (self.compact, self.change_members)]
        dwelt_on: dict[str | None, tuple[Callable[[], None], ...]] = {
            "members": (
                self.compact_and_restart,
                self.change_members,
                self.change_members,
                self.mend,
            ),
            "leases": (self.part_primary_and_one, self.part_primary_and_one, self.mend),
            "late": (self.isolate_primary, self.mend),
            "snapshots": (self.compact, self.compact, self.isolate_primary, self.mend),
        }
        return acts + [(0.4, act) for act in dwelt_on.get(self.theme, ())]

    def faults(self) -> list[Callable[[], None]]:
        return [
            self.kill,
            self.crash,
            self.wipe,
            self.pause,
            self.resume,
            self.cut,
            self.isolate_primary,
            self.deafen_primary,
            self.part_primary_and_one,
            self.split,
            self.mend,
            self.slow,
            self.hand_over,
            self.stall,
        ]

    def run(self, seconds: float = 40.0) -> World:
        world = self.world
        total = sum(weight for weight, _ in self.acts)
        acts = [act for _, act in self.acts]
        weights = [weight for weight, _ in self.acts]
        while world.now_s < seconds:
            world.run(self.rng.expovariate(total))
            self.rng.choices(acts, weights)[0]()
        self.over = True
        world.settle()
        return world

    def later(self, delay_s: float, fault: Callable[[], None]) -> None:
        self.world.at(self.world.now_s + delay_s, lambda: None if self.over else fault())

    # -- work

    def propose(self) -> None:
        machine = self.world.primary()
        if machine is not None:
            for _ in range(self.rng.choice((1, 1, 5))):
                self.payloads += 1
                self.world.propose(machine, b"%d" % self.payloads)

    def compact(self) -> None:
        machine = self.one(lambda machine: machine.running)
        if machine is not None:
            machine.compact()

    def compact_and_restart(self) -> None:
        """What is known of the members comes from the snapshot then."""
        machine = self.one(lambda machine: machine.running)
        if machine is not None:
            machine.compact()
            if self.rng.random() < 0.5:
                self.crash_one(machine)

    def change_members(self) -> None:
        """Take a spare in, make a learner a voter, or take somebody out."""
        machine = self.world.primary()
        if machine is None:
            return
        members = machine.replica.members
        joining = [n for n in self.world.settings.names if n not in members and n != "w"]
        learners = [name for name, role in members.items() if role == LEARNER]
        changes: list[tuple[str, str | None]] = [(name, LEARNER) for name in joining]
        changes += [(name, VOTER) for name in learners] * 3
        may_shrink = machine.replica.config.ack.method == "quorum"  # else it waits for who is gone
        if len(members) > 3 and may_shrink and self.world.all_standing():
            changes += [(name, None) for name in members]
        self.rng.shuffle(changes)
        for name, role in changes[: self.rng.choice((1, 1, 2))]:
            self.world.change_member(machine, name, role)
        if self.rng.random() < self.after_change:
            self.later(self.rng.choice((0.0, 0.01, 0.1)), self.rng.choice((self.split, self.crash)))

    def hand_over(self) -> None:
        machine = self.world.primary()
        others = [n for n in machine.replica.members if n != machine.name] if machine else []
        if self.rng.random() < 0.5:
            self.propose()
        if machine is not None and others:
            try:
                machine.replica.hand_over(self.rng.choice(others), machine.now_s())
            except Refused:
                return
            machine.pump()

    # -- faults

    def one(self, fits: Callable[[Machine], bool]) -> Machine | None:
        found = [machine for machine in self.world.machines.values() if fits(machine)]
        return self.rng.choice(found) if found else None

    def kill(self) -> None:
        self.end(power_cut=False)

    def crash(self) -> None:
        self.end(power_cut=True)

    def end(self, *, power_cut: bool) -> None:
        machine = self.one(lambda machine: machine.up)
        if machine is not None:
            machine.stop(power_cut=power_cut)
            self.boot_later(machine)

    def crash_one(self, machine: Machine) -> None:
        if machine.up:
            machine.stop(power_cut=True)
            self.boot_later(machine)

    def boot_later(self, machine: Machine) -> None:
        def boot() -> None:
            if not machine.up:
                machine.boot()

        self.world.at(self.world.now_s + self.rng.choice((0.01, 0.5, 3.0)), boot)

    def wipe(self) -> None:
        """A disk is lost; at most one at a time, or no quorum could promise anything."""
        primary = self.world.primary()
        if primary is None or len(primary.replica.voters) < 3 or not self.world.all_standing():
            return
        machine = self.one(lambda machine: machine.disk.state.standing)
        vouched = [each.replica.hard_state.vouched for each in self.world.machines.values()]
        vouched.append(primary.replica._leading.in_sync.declared)
        if machine is not None and (machine.name,) not in vouched:  # else it has the only copy
            machine.wipe()
            self.boot_later(machine)

    def pause(self) -> None:
        machine = self.one(lambda machine: machine.running)
        if machine is not None:
            machine.paused = True

    def resume(self) -> None:
        machine = self.one(lambda machine: machine.up and machine.paused)
        if machine is not None:
            machine.resume()

    def stall(self) -> None:
        machine = self.one(lambda machine: machine.running)
        if machine is not None:
            machine.replica.stalled(self.rng.random())

    def cut(self) -> None:
        first, second = self.rng.sample(self.world.settings.names, 2)
        self.world.cuts.add((first, second))
        if self.rng.random() < 0.5:
            self.world.cuts.add((second, first))

    def isolate_primary(self) -> None:
        machine = self.world.primary()
        if machine is not None:
            one_way = self.rng.choice((None, "in", "out"))
            if self.rng.random() < 0.3:
                self.later(0.3, lambda: machine.compact() if machine.running else None)
            for name in self.world.settings.names:
                if one_way != "in":
                    self.world.cuts.add((machine.name, name))
                if one_way != "out":
                    self.world.cuts.add((name, machine.name))

    def deafen_primary(self) -> None:
        """What others say reaches it late; and perhaps they do not hear it at all."""
        machine = self.world.primary()
        if machine is not None:
            factor = self.rng.uniform(0.3, 2.0) / self.world.settings.delay_s[1]
            for name in self.world.settings.names:
                self.world.slow[name, machine.name] = factor
                if self.rng.random() < 0.7:
                    link = (machine.name, name)
                    self.later(self.rng.random(), partial(self.world.cuts.add, link))

    def split(self) -> None:
        """Two halves that do not hear each other."""
        names = list(self.world.settings.names)
        self.rng.shuffle(names)
        left = names[: self.rng.randint(1, len(names) - 1)]
        right = [name for name in names if name not in left]
        for one in left:
            for other in right:
                self.world.cuts |= {(one, other), (other, one)}

    def part_primary_and_one(self) -> None:
        machine = self.world.primary()
        others = [n for n in machine.replica.voters if n != machine.name] if machine else []
        if machine is not None and others:
            name = self.rng.choice(others)
            self.world.cuts |= {(machine.name, name), (name, machine.name)}

    def mend(self) -> None:
        self.world.cuts.clear()
        self.world.slow.clear()

    def slow(self) -> None:
        first, second = self.rng.sample(self.world.settings.names, 2)
        self.world.slow[first, second] = self.rng.choice((5.0, 50.0))

    # -- faults that an event triggers

    def seen_ready(self, name: str, ready: Ready) -> None:
        """Just after a promotion: the new primary goes, the old one is back."""
        promoted = any(isinstance(e, RoleChanged) and e.role == PRIMARY for e in ready.events)
        if (ready.truncate_from or ready.install) and self.rng.random() < self.after_cut:
            machine = self.world.machines[name]
            self.later(self.rng.choice((0.0, 0.01, 0.3)), lambda: self.crash_one(machine))
        if promoted and self.rng.random() < self.after_promotion:
            self.later(self.rng.choice((0.01, 0.1, 0.5, 1.0)), lambda: self.turn_the_tables(name))

    def turn_the_tables(self, name: str) -> None:
        machine = self.world.machines[name]
        if self.rng.random() < 0.7:
            self.mend()
        for other in self.world.machines.values():
            if other.up and other.paused:
                other.resume()
            if other.running and self.rng.random() < 0.3:
                other.compact()
        match self.rng.choice(("crash", "pause", "cut")):
            case "crash":
                self.crash_one(machine)
            case "pause":
                machine.paused = machine.up
            case "cut":
                for other_name in self.world.settings.names:
                    self.world.cuts |= {(name, other_name), (other_name, name)}

    def seen_message(self, message: Message) -> None:
        """Just before it is asked for its vote, a voter restarts."""
        if isinstance(message, VoteRequest) and self.rng.random() < self.before_vote:
            machine = self.world.machines[message.to]

            def restart() -> None:
                if machine.running:
                    machine.stop(power_cut=False)
                    machine.boot()

            self.later(0.0, restart)
