"""The swarm: what goes wrong in the run of one seed, drawn beforehand as an ordinary timeline.

Each seed draws which faults there are at all, how often they come and how long they last, then
what they hit: nodes, roles, tiers, regions. Every fault undoes itself, and only so many are active
at once, in a tier fewer than half of its members, so that progress stays possible.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from emu.model import faults
from emu.model.faults import Fault
from emu.model.topology import FaultItem, Tier, Topology
from emu.model.vocabulary import operations, operations_of
from nodes.kinds import KINDS
from nodes.operations import Operation, Reach

FIRST_S: Final = 1.0
"""The users have come by then."""
QUIET_END_S: Final = 1.0
TRIES: Final = 8
"""Draws for one place in time before it stays empty."""
GAPS_S: Final = (2.0, 5.0, 12.0)
LASTINGS_S: Final = (0.3, 2.0, 8.0)
MOST_AT_ONCE: Final = (1, 2, 4)
MOST_POWER_CUTS: Final = 4
MAX_DRIFT: Final = 0.008
"""Below what leases state that they bear (protocols/replication/)."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What no protocol can bear, so it is drawn only when asked for."""

    flip_bits: bool = False


@dataclass(frozen=True, slots=True)
class Drawn:
    """A fault, and the tiers of which it takes a node away (or another thing to do only once)."""

    fault: Fault
    takes: tuple[str, ...] = ()


Maker = Callable[["_Draw"], Drawn | None]


def draw(
    topology: Topology, seed: int | str, for_s: float, *, damage: Damage | None = None
) -> tuple[FaultItem, ...]:
    """The timeline of a run of `for_s` under this seed, in the order of its times."""
    rng, moments = random.Random(f"{seed}/swarm"), random.Random(f"{seed}/swarm/moments")
    drawn = _Draw(topology, rng, moments, damage or Damage())
    return tuple(sorted(drawn.items(for_s), key=lambda item: (not item.on, item.at_s or 0.0)))


class _Draw:
    """The draws of one seed, with its knobs."""

    def __init__(
        self, topology: Topology, rng: random.Random, moments: random.Random, damage: Damage
    ) -> None:
        self.rng = rng
        self.moments = moments
        self.damage = damage
        self.topology = topology
        self.tiers = [tier for tier in topology.tiers if not tier.kind.clients and tier.members]
        self.groups = [tier for tier in self.tiers if tier.kind.leader is not None]
        self.replicated = [tier for tier in self.groups if len(tier.members) > 1]
        self.operations = [each for each in operations(topology).values() if self._is_drawn(each)]
        self.weak = {tier.group or tier.name: tier.kind.weak_after
                     for tier in self.tiers if tier.kind.weak_after}  # fmt: skip
        """Tier or group → the events after which it is to be hit."""
        self.before: dict[str, list[Fault]] = {each.verb: [] for each in self.operations}
        """The words of each operation that were drawn so far."""
        self.bearable = {tier.name: _may_lose(tier) for tier in self.tiers}
        self.gap_s = rng.choice(GAPS_S)
        self.lasting_s = rng.choice(LASTINGS_S)
        self.most_at_once = rng.choice(MOST_AT_ONCE)
        # each kind of fault is there or not: seeds that differ in this find what averages hide
        makers = [*MAKERS, *(_operate(each) for each in self.operations)]
        self.makers = [maker for maker in makers if rng.random() < 0.5] or [_kill, _cut]
        self.weights = [rng.choice((1, 1, 4)) for _ in self.makers]
        self._busy: list[tuple[float, float, tuple[str, ...]]] = []

    def items(self, for_s: float) -> list[FaultItem]:
        rng = self.rng
        found = [*self._moving(for_s), *self._triggered(for_s)]
        at_s = FIRST_S + rng.expovariate(1 / self.gap_s)
        last_s = for_s - QUIET_END_S
        while at_s < last_s:
            lasts_s = min(0.05 + rng.expovariate(1 / self.lasting_s), last_s - at_s)
            item = self._one(round(at_s, 3), max(0.001, round(lasts_s, 3)))
            if item is not None:
                found.append(item)
            at_s += rng.expovariate(1 / self.gap_s)
        return [*found, *self._power_cuts(last_s)]

    def _one(self, at_s: float, lasts_s: float) -> FaultItem | None:
        for _ in range(TRIES):
            maker = self.rng.choices(self.makers, self.weights)[0]
            drawn = maker(self)
            if drawn is not None and self._fits(at_s, at_s + lasts_s, drawn.takes):
                self._busy.append((at_s, at_s + lasts_s, drawn.takes))
                once = self._is_once(drawn.fault)
                return FaultItem(drawn.fault, at_s, for_s=None if once else lasts_s)
        return None

    def _fits(self, start_s: float, end_s: float, takes: tuple[str, ...]) -> bool:
        """Whether so much may be broken at once. A node that comes back needs a moment."""
        meanwhile = [tiers for begun_s, done_s, tiers in self._busy
                     if begun_s < end_s + 0.5 and start_s < done_s + 0.5]  # fmt: skip
        if len(meanwhile) >= self.most_at_once:
            return False
        taken = [tier for tiers in meanwhile for tier in tiers]
        return all(taken.count(name) < self.bearable.get(name, 1) for name in takes)

    def _power_cuts(self, last_s: float) -> list[FaultItem]:
        """In every second run power fails in the middle of writes, which chance seldom hits."""
        rng, found = self.moments, list[FaultItem]()
        if not self.groups or last_s <= FIRST_S or rng.random() < 0.5:
            return found
        for _ in range(rng.randint(1, MOST_POWER_CUTS)):
            tier = rng.choice(self.groups)
            at_s = round(rng.uniform(FIRST_S, last_s), 3)
            lasts_s = round(min(0.05 + rng.expovariate(1 / self.lasting_s), last_s - at_s), 3)
            if self._fits(at_s, at_s + lasts_s, (tier.name,)):
                self._busy.append((at_s, at_s + lasts_s, (tier.name,)))
                fault = faults.Crash(rng.choice(tier.node_names), in_write=True)
                found.append(FaultItem(fault, at_s, for_s=max(0.001, lasts_s)))
        return found

    def _moving(self, for_s: float) -> list[FaultItem]:
        """Where slots can move, they mostly do, so that the other faults meet them on their way."""
        found = []
        for each in self.operations:
            drawn = _operate(each)(self) if each.mostly and self.rng.random() < 0.8 else None
            if drawn is not None:
                at_s = round(self.rng.uniform(FIRST_S, for_s / 2), 3)
                found.append(FaultItem(drawn.fault, at_s))
        return found

    def _triggered(self, for_s: float) -> list[FaultItem]:
        """Just after somebody was promoted, or came back: where protocols are weakest."""
        rng, found = self.rng, []
        if self.replicated and rng.random() < 0.5:
            tier = rng.choice(self.replicated)
            kind = rng.choice((faults.Kill, faults.Crash, faults.Pause))
            fault: Fault = kind(self.leading(tier))
            assert tier.kind.leader is not None, "so it is replicated"
            found.append(self._after(tier.kind.leader.event, fault, for_s))
        if rng.random() < 0.25:
            tier = rng.choice(self.tiers)
            fault = rng.choice((faults.Kill, faults.Crash))(self.node(tier))
            found.append(self._after("node up", fault, for_s))
        if self.weak:
            name = rng.choice(list(self.weak))
            tiers = [tier for tier in self.groups if name in (tier.group, tier.name)]
            hit = rng.choice((faults.Kill, faults.Crash, faults.Pause, faults.Restart))
            fault = hit(self.leading(rng.choice(tiers)) if tiers else name)
            found.append(self._after(rng.choice(self.weak[name]), fault, for_s))
        return found

    def _after(self, event: str, fault: Fault, for_s: float) -> FaultItem:
        rng = self.rng
        wait_s = rng.choice((0.0, round(rng.uniform(0.001, 1.0), 3)))
        lasts_s = min(0.05 + rng.expovariate(1 / self.lasting_s), for_s / 4)
        once = self._is_once(fault)
        return FaultItem(fault, wait_s, event, None if once else max(0.001, round(lasts_s, 3)))

    # --- operations --------------------------------------------------------------------------

    def _is_drawn(self, operation: Operation) -> bool:
        """What is shipped counts in every topology, so that a seed draws the same; what was
        installed beside it only where some tier has it."""
        shipped = operation.verb in operations_of(KINDS.values())
        return operation.draw is not None and (shipped or bool(self.reached(operation)))

    def reached(self, operation: Operation) -> list[Reach]:
        """The tiers that it may be done to."""
        return [
            Reach(tier.name, tier.group, len(tier.members))
            for tier in self.tiers
            if operation in tier.kind.operations
        ]

    def _is_once(self, fault: Fault) -> bool:
        """Whether it is over when it is done: there is nothing to undo."""
        if fault.verb in faults.PASSING:
            return True
        return any(each.undo is None for each in self.operations if each.verb == fault.verb)

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

    def some(self, tier: Tier) -> str:
        """One node, or so many as the tier may lose."""
        names = self.rng.sample(tier.node_names, self.rng.randint(1, _may_lose(tier)))
        return ",".join(sorted(names, key=tier.node_names.index))

    def log_uniform(self, least: float, most: float) -> float:
        """As often between 1 and 10 as between 10 and 100."""
        value = least * (most / least) ** self.rng.random()
        return float(f"{value:.3g}")


def _may_lose(tier: Tier) -> int:
    """How many members may be away at once: less than half, but one of one or two."""
    return max(1, (len(tier.members) - 1) // 2)


# --- the faults ------------------------------------------------------------------------------


def _hit(kind: Callable[[str], Fault]) -> Maker:
    def make(draw: _Draw) -> Drawn:
        tier = draw.tier()
        return Drawn(kind(draw.node(tier)), (tier.name,))

    return make


_kill = _hit(faults.Kill)
_pause = _hit(faults.Pause)
_restart = _hit(faults.Restart)


def _crash(draw: _Draw) -> Drawn:
    """Half of the power cuts of those who keep something come in the middle of a write."""
    tier = draw.tier()
    node = draw.node(tier)
    in_write = tier in draw.groups and draw.moments.random() < 0.5
    return Drawn(faults.Crash(node, in_write), (tier.name,))


def _cut(draw: _Draw) -> Drawn | None:
    """Two tiers, a few nodes against all others or their own group, or two regions; one way or
    both, held or rejected."""
    rng, topology = draw.rng, draw.topology
    takes: tuple[str, ...] = ()
    shape = rng.choice(("nodes", "tiers", "regions"))
    if shape == "regions" and len(topology.regions) > 1:
        between = tuple(rng.sample(topology.regions, 2))
    elif shape == "tiers" and len(draw.tiers) > 1:
        first = rng.choice([tier for tier in topology.tiers if tier.dials] or draw.tiers)
        second = rng.choice(first.dials) if first.dials else draw.tier().name
        if first.name == second:
            return None
        between = rng.choice(((first.name, second), (second, first.name)))
    else:
        tier = draw.tier()
        takes = (tier.name,)
        between = (draw.some(tier), "all")
        if tier in draw.replicated and draw.moments.random() < 0.5:
            # clients go on reaching who has lost its group
            alone = draw.moments.choice((between[0], draw.leading(tier)))
            between = (alone, tier.name)
    one_way = rng.random() < 0.4
    mode = "reject" if rng.random() < 0.2 else "hold"
    return Drawn(faults.Partition(between, one_way, mode), takes)  # type: ignore[arg-type]


def _slow(draw: _Draw) -> Drawn:
    """From a little to a clog."""
    latency_s = draw.log_uniform(0.005, 2.0)
    jitter_s = draw.rng.choice((0.0, float(f"{latency_s / 2:.3g}")))
    tier = draw.tier()
    target = draw.rng.choice((tier.name, draw.node(tier)))
    return Drawn(faults.Slow(target, latency_s, jitter_s))


def _loss(draw: _Draw) -> Drawn:
    tier = draw.tier()
    target = draw.rng.choice((tier.name, draw.node(tier)))
    return Drawn(faults.Loss(target, draw.log_uniform(0.005, 0.3)))


def _throttle(draw: _Draw) -> Drawn:
    return Drawn(faults.Throttle(draw.node(draw.tier()), draw.log_uniform(2e4, 2e6)))


def _disk(draw: _Draw) -> Drawn:
    tier = draw.rng.choice(draw.groups) if draw.groups else draw.tier()
    node = draw.node(tier)
    if draw.damage.flip_bits and tier.kind.damaged and draw.rng.random() < 0.3:
        file = draw.rng.choice(tier.kind.damaged)
        return Drawn(faults.Disk(node, flip_bit=file), (tier.name,))
    broken = draw.rng.random()
    if broken < 0.1:  # whoever cannot write gives up, and is away until the end
        return Drawn(faults.Disk(node, fail="writes"), (tier.name,))
    if broken < 0.2:
        return Drawn(faults.Disk(node, full=True), (tier.name,))
    return Drawn(faults.Disk(node, slow_factor=draw.log_uniform(2.0, 1000.0)))


def _skew(draw: _Draw) -> Drawn:
    rng = draw.rng
    step_s = rng.choice((0.0, round(rng.uniform(-60.0, 60.0), 3)))
    drift = round(rng.uniform(-MAX_DRIFT, MAX_DRIFT), 4)
    return Drawn(faults.Skew(draw.node(draw.tier()), step_s, drift))


def _scale(draw: _Draw) -> Drawn | None:
    """Tiers without roles only: a group's members change by its own rules."""
    tiers = [tier for tier in draw.tiers if not tier.kind.roles and not tier.kind.peers]
    if not tiers:
        return None
    tier = draw.rng.choice(tiers)
    now = len(tier.members)
    nodes = draw.rng.choice([n for n in range(max(1, now - 1), now + 3) if n != now])
    return Drawn(faults.Scale(tier.name, nodes), ("scaling", tier.name))


def _cores(draw: _Draw) -> Drawn | None:
    tiers = [tier for tier in draw.tiers if tier.cpu.cores]
    if not tiers:
        return None
    tier = draw.rng.choice(tiers)
    return Drawn(faults.Cpu(draw.node(tier), draw.rng.randint(1, 2 * tier.cpu.cores)))


def _operate(operation: Operation) -> Maker:
    """What an operator does to a family, or a fault of its own, as the family draws it."""

    def make(draw: _Draw) -> Drawn | None:
        assert operation.draw is not None, "the others are left out"
        before = draw.before[operation.verb]
        drawn = operation.draw(draw.rng, draw.reached(operation), before)
        if drawn is None:
            return None
        before.append(drawn.word)
        return Drawn(drawn.word, drawn.takes)

    return make


MAKERS: Final[Sequence[Maker]] = (
    _kill, _crash, _pause, _restart, _cut, _cut, _slow, _loss, _throttle, _disk, _skew, _scale,
    _cores,
)  # fmt: skip
