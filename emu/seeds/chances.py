"""What one seed has to draw from: its dice, its topology as targets of faults, and what is broken
at which time already. Which faults there are is makers.py's and themes.py's.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from emu.model.faults import Fault, Wipe
from emu.model.topology import FaultItem, Tier, Topology
from emu.model.vocabulary import operations, passing
from nodes.operations import Operation, Reach

FIRST_S: Final = 1.0
"""The users have come by then."""
QUIET_END_S: Final = 1.0
LASTINGS_S: Final = (0.3, 2.0, 8.0)
MOST_AT_ONCE: Final = (1, 2, 4)
RECOVERS_S: Final = 0.5
"""A node that comes back needs a moment."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What no protocol can bear, so it is drawn only when asked for."""

    flip_bits: bool = False


@dataclass(frozen=True, slots=True)
class Drawn:
    """A fault, and the tiers of which it takes a node away (or another thing to do only once)."""

    fault: Fault
    takes: tuple[str, ...] = ()


Maker = Callable[["Chances"], Drawn | None]


class Chances:
    """The draws of one seed, with its knobs."""

    def __init__(self, topology: Topology, seed: int | str, damage: Damage) -> None:
        rng = self.rng = random.Random(f"{seed}/swarm")
        self.moments = random.Random(f"{seed}/swarm/moments")
        self.themes = random.Random(f"{seed}/swarm/themes")
        self.copies = random.Random(f"{seed}/swarm/copies")
        self.sides = random.Random(f"{seed}/swarm/sides")
        self.short_office = random.Random(f"{seed}/swarm/short office")
        self.damage = damage
        self.topology = topology
        self.tiers = [tier for tier in topology.tiers if not tier.kind.clients and tier.members]
        self.groups = [tier for tier in self.tiers if tier.kind.leader is not None]
        self.replicated = [tier for tier in self.groups if len(tier.members) > 1]
        known = operations(topology)
        self.operations = [each for each in known.values() if self._is_drawn(each)]
        self.before: dict[str, list[Fault]] = {each.verb: [] for each in self.operations}
        """The words of each operation that were drawn so far."""
        self._passing = passing(known)
        self.bearable = {tier.name: _may_lose(tier) for tier in self.tiers}
        self.lasting_s = rng.choice(LASTINGS_S)
        self.most_at_once = rng.choice(MOST_AT_ONCE)
        self._busy: list[tuple[float, float, tuple[str, ...]]] = []
        self._wiped = Counter[str]()

    # --- what is broken when -------------------------------------------------------------------

    def book(
        self, at_s: float, lasts_s: float, takes: tuple[str, ...], *, faults_at_once: int = 1
    ) -> bool:
        """Whether so much may be broken at once; then it is."""
        end_s = at_s + lasts_s
        meanwhile = [tiers for begun_s, done_s, tiers in self._busy
                     if begun_s < end_s + RECOVERS_S and at_s < done_s + RECOVERS_S]  # fmt: skip
        if meanwhile and len(meanwhile) + faults_at_once > self.most_at_once:
            return False
        taken = [tier for tiers in meanwhile for tier in tiers]
        if any(taken.count(name) >= self.bearable.get(name, 1) for name in takes):
            return False
        self._busy.append((at_s, end_s, takes))
        self._busy += [(at_s, end_s, ())] * (faults_at_once - 1)
        return True

    def disks_to_spare(self, tier: Tier) -> int:
        """How many more of this tier may be lost for good."""
        spare = tier.kind.disks_to_spare
        all_of_them = spare(tier.config, len(tier.members)) if spare is not None else 0
        return max(0, all_of_them - self._wiped[tier.name])

    def wipe(self, tier: Tier, name: str) -> Fault:
        """This member's disk is lost: one of those that could be spared."""
        self._wiped[tier.name] += 1
        return Wipe(name)

    def lasts_s(self, most_s: float, rng: random.Random | None = None) -> float:
        """How long a fault lasts in this seed."""
        drawn_s = 0.05 + (rng or self.rng).expovariate(1 / self.lasting_s)
        return max(0.001, round(min(drawn_s, most_s), 3))

    def item(self, fault: Fault, at_s: float, lasts_s: float, on: str = "") -> FaultItem:
        """At that time, or so long after the event."""
        return FaultItem(fault, at_s, on, None if fault.verb in self._passing else lasts_s)

    # --- operations --------------------------------------------------------------------------

    def _is_drawn(self, operation: Operation) -> bool:
        """Only where some tier has it, so that no other family's shifts what a seed draws."""
        return operation.draw is not None and bool(self.able(operation))

    def able(self, operation: Operation) -> list[Reach]:
        """The tiers that it may be done to."""
        return [
            Reach(tier.name, tier.group, len(tier.members))
            for tier in self.tiers
            if operation in tier.kind.operations
        ]

    def operate(self, operation: Operation) -> Drawn | None:
        """What an operator does to a family, or a fault of its own, as the family draws it."""
        assert operation.draw is not None, "the others are left out"
        before = self.before[operation.verb]
        drawn = operation.draw(self.rng, self.able(operation), before)
        if drawn is None:
            return None
        before.append(drawn.word)
        return Drawn(drawn.word, drawn.takes)

    # --- targets -----------------------------------------------------------------------------

    def tier(self) -> Tier:
        return self.rng.choice(self.tiers)

    def node(self, tier: Tier) -> str:
        """One of a tier, sometimes by its role: then whoever has it when the fault comes."""
        if tier in self.replicated and self.rng.random() < 0.5:
            return self.leading(tier)
        return self.rng.choice(tier.node_names)

    def leading(self, tier: Tier) -> str:
        """Whoever leads it then."""
        assert tier.kind.leader is not None, "nobody ever leads it"
        return f"{tier.name} {tier.kind.leader.role}"

    def voters(self, tier: Tier) -> str:
        """All who choose its leader; sometimes not its witnesses, which go on hearing everybody."""
        elsewhere = tier.kind.votes_with(tier.config) if tier.kind.votes_with is not None else ()
        if elsewhere and self.sides.random() < 0.3:
            return tier.name
        return ",".join((tier.name, *elsewhere))

    def beside(self, tier: Tier) -> list[str]:
        """Members that stay with a leader which has lost its majority, where a group has more than
        three: what only they have is shown there, and is never decided."""
        most = (len(tier.members) - 1) // 2 - 1
        count = self.sides.randint(0, most) if most > 0 else 0
        return self.sides.sample(tier.node_names, count)

    def some(self, tier: Tier) -> str:
        """One node, or so many as the tier may lose."""
        names = self.rng.sample(tier.node_names, self.rng.randint(1, _may_lose(tier)))
        return ",".join(sorted(names, key=tier.node_names.index))

    def clients_of(self, tier: Tier) -> list[str]:
        """The nodes of clients that ask it."""
        return [
            name
            for each in self.topology.tiers
            if each.kind.clients and {tier.name, tier.group} & set(each.dials)
            for name in each.node_names
        ]

    def people_of(self, region: str) -> list[str]:
        """The nodes there that stand for people, or for what is with them."""
        return [
            name
            for tier in self.topology.tiers
            if tier.kind.clients
            for name, place in zip(tier.node_names, tier.members, strict=True)
            if place == region
        ]

    def ways(self) -> list[tuple[str, str]]:
        """(tier, tier): who sends to whom; parts of one group to each other too."""
        names = {tier.name for tier in self.tiers}
        dialled = [(tier.name, each) for tier in self.tiers for each in tier.dials if each in names]
        within = [(one.name, other.name) for one in self.groups for other in self.groups
                  if one is not other and one.group and one.group == other.group]  # fmt: skip
        return list(dict.fromkeys((*dialled, *within)))

    def log_uniform(self, least: float, most: float, rng: random.Random | None = None) -> float:
        """As often between 1 and 10 as between 10 and 100."""
        value = least * (most / least) ** (rng or self.rng).random()
        return float(f"{value:.3g}")


def _may_lose(tier: Tier) -> int:
    """How many members may be away at once: less than half, but one of one or two."""
    return max(1, (len(tier.members) - 1) // 2)
