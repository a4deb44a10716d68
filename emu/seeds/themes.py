"""Stories that chance hardly ever tells: some seeds tell one of them on purpose.

Each knows only what the Kind says: who leads and for how long unheard, whose disks may be lost,
which events are followed by a weak moment, which files are written aside.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from emu.model import faults
from emu.model.faults import Fault
from emu.model.topology import FaultItem, Tier
from emu.seeds.chances import FIRST_S, Chances
from emu.seeds.makers import MAX_DRIFT

TRIES: Final = 4
MOST_POWER_CUTS: Final = 4
WAITS_S: Final = 3.0
"""So long a power cut may wait for a write of its file: it comes before the end."""
LEASES_RATIO: Final = 0.4
MOST_LEASES: Final = 4
FAR_LEASES: Final = (1.8, 3.5)
WIPES_RATIO: Final = 0.25
JOINS_RATIO: Final = 0.2
COPIES_RATIO: Final = 0.6
MOST_COPIES: Final = 3

Theme = Callable[[Chances, float], Iterator[FaultItem]]
"""(draws, last moment in seconds) → what happens."""


# --- power -----------------------------------------------------------------------------------


def power_cuts(draw: Chances, last_s: float) -> Iterator[FaultItem]:
    """In every second run power fails in the middle of writes, which chance seldom hits: of any
    file, or of one that is written seldom."""
    rng = draw.moments
    if not draw.groups or rng.random() < 0.5:
        return
    for _ in range(rng.randint(1, MOST_POWER_CUTS)):
        tier = rng.choice(draw.groups)
        at_s = round(rng.uniform(FIRST_S, last_s), 3)
        lasts_s = draw.lasts_s(last_s - at_s, rng)
        if draw.book(at_s, lasts_s, (tier.name,)):
            file = rng.choice(("", *tier.kind.damaged)) if at_s + WAITS_S < last_s else ""
            fault = faults.Crash(rng.choice(tier.node_names), in_write=True, file=file)
            yield draw.item(fault, at_s, lasts_s)


def wiped_disks(draw: Chances, last_s: float) -> Iterator[FaultItem]:
    """A machine is replaced, as often as its tier bears it: it must be filled up again."""
    rng = draw.themes
    tiers = [(tier, _disks_to_spare(tier)) for tier in draw.replicated if _disks_to_spare(tier)]
    if not tiers or rng.random() >= WIPES_RATIO:
        return
    tier, spare = rng.choice(tiers)
    for name in rng.sample(tier.node_names, spare):
        at_s = round(rng.uniform(FIRST_S, last_s), 3)
        lasts_s = draw.lasts_s(last_s - at_s, rng)
        if draw.book(at_s, lasts_s, (tier.name,)):
            yield draw.item(faults.Wipe(name), at_s, lasts_s)


def _disks_to_spare(tier: Tier) -> int:
    spare = tier.kind.disks_to_spare
    return spare(tier.config, len(tier.members)) if spare is not None else 0


def joins(draw: Chances, last_s: float) -> Iterator[FaultItem]:
    """A fresh member joins a group, and mostly leaves it again."""
    rng = draw.themes
    tiers = [tier for tier in draw.replicated if not tier.kind.fixed]
    if not tiers or rng.random() >= JOINS_RATIO:
        return
    tier = rng.choice(tiers)
    at_s = round(rng.uniform(FIRST_S, max(FIRST_S, 0.7 * last_s)), 3)
    lasts_s = draw.lasts_s(last_s - at_s, rng)
    if draw.book(at_s, lasts_s, ("scaling",)):
        yield draw.item(faults.Scale(tier.name, len(tier.members) + 1), at_s, lasts_s)


# --- copies ----------------------------------------------------------------------------------


def copies(draw: Chances, last_s: float) -> Iterator[FaultItem]:
    """What fills a copy comes so late that it is old by then; or who keeps it goes, comes back, and
    goes again within a copy's life."""
    rng = draw.copies
    keepers = [tier for tier in draw.tiers if tier.kind.copies]
    if not keepers or not draw.groups or rng.random() >= COPIES_RATIO:
        return
    for _ in range(rng.randint(1, MOST_COPIES)):
        keeper = rng.choice(keepers)
        at_s = round(rng.uniform(FIRST_S, max(FIRST_S, last_s - 2.0)), 3)
        story = _twice if rng.random() < 0.25 else _late_fills
        yield from story(draw, keeper, at_s, last_s)


def _late_fills(draw: Chances, keeper: Tier, at_s: float, last_s: float) -> Iterator[FaultItem]:
    """And some of those that fill meanwhile, or keep, are gone before it has come."""
    rng = draw.copies
    source = rng.choice(draw.groups)
    asking = (tier for tier in draw.topology.tiers if {keeper.name, source.name} <= {*tier.dials})
    filler = rng.choice([keeper, *asking])
    lasts_s = draw.lasts_s(last_s - at_s, rng)
    latency_s = draw.log_uniform(0.02, 0.5, rng)
    if not draw.book(at_s, lasts_s, ()):
        return
    slow = faults.Slow(source.name, latency_s, latency_s / 2, rng.choice(filler.node_names))
    yield draw.item(slow, at_s, lasts_s)
    gone = rng.choice([keeper] if filler.kind.clients else [keeper, filler])
    gone_s = round(at_s + rng.uniform(0.0, lasts_s), 3)
    if rng.random() < 0.5 and draw.book(gone_s, 0.1, (gone.name,)):
        yield draw.item(faults.Kill(rng.choice(gone.node_names)), gone_s, 0.1)


def _twice(draw: Chances, keeper: Tier, at_s: float, last_s: float) -> Iterator[FaultItem]:
    rng = draw.copies
    name = rng.choice(keeper.node_names)
    first_s, between_s, second_s = (round(rng.uniform(0.2, most), 3) for most in (0.8, 0.6, 1.0))
    if draw.book(at_s, first_s + between_s + second_s, (keeper.name,)):
        yield draw.item(faults.Kill(name), at_s, first_s)
        yield draw.item(faults.Kill(name), round(at_s + first_s + between_s, 3), second_s)


# --- leases ----------------------------------------------------------------------------------


def leases(draw: Chances, last_s: float) -> Iterator[FaultItem]:
    """Whoever leads is cut off, held up or hurried around the end of its lease, with clients on
    both sides."""
    rng = draw.themes
    tiers = [tier for tier in draw.replicated if _lease_s(tier)]
    if not tiers or rng.random() >= LEASES_RATIO:
        return
    for _ in range(rng.randint(1, MOST_LEASES)):
        for _ in range(TRIES):
            tier = rng.choice(tiers)
            lease_s = _lease_s(tier)
            at_s = round(rng.uniform(FIRST_S, max(FIRST_S, last_s - 3 * lease_s)), 3)
            if draw.book(at_s, 2.5 * lease_s, (tier.name,), faults_at_once=2):
                stories = FAR_STORIES if len(set(tier.members)) > 1 else LEASE_STORIES
                yield from rng.choice(stories)(draw, tier, at_s, lease_s)
                break


def _lease_s(tier: Tier) -> float:
    leader = tier.kind.leader
    return getattr(tier.config, leader.timeout, 0.0) if leader and leader.timeout else 0.0


def _two_stages(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """First one direction is cut, then the other too: it hears longer than it is heard, or the
    other way round."""
    rng = draw.themes
    ways = [(draw.leading(tier), tier.name), (tier.name, draw.leading(tier))]
    rng.shuffle(ways)
    first_s, second_s = rng.uniform(0.3, 1.2) * lease_s, rng.uniform(0.5, 1.5) * lease_s
    yield _cut(ways[0], at_s, first_s + second_s, one_way=True)
    yield _cut(ways[1], at_s + first_s, second_s, one_way=True)


def _sides(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """The leader and some clients on one side, all others on the other: each side asks on."""
    rng = draw.themes
    clients = draw.clients_of(tier)
    beside = rng.sample(clients, rng.randint(0, len(clients)))
    others = [tier.name, *(each for each in clients if each not in beside)]
    between = (",".join([draw.leading(tier), *beside]), ",".join(others))
    yield _cut(between, at_s, rng.uniform(0.8, 2.2) * lease_s, one_way=rng.random() < 0.3)


def _held_up(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """It sleeps until about the end of its lease, and wakes up with a queue of requests."""
    lasts_s = draw.themes.uniform(0.6, 1.7) * lease_s
    yield _timed(faults.Pause(draw.leading(tier)), at_s, lasts_s)


def _off_the_clock(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """Its clock is slow or its timers late, and then it is cut off with some clients."""
    rng = draw.themes
    leader = draw.leading(tier)
    wrong: Fault = faults.Late(leader, round(rng.uniform(0.05, 0.5) * lease_s, 3))
    if rng.random() < 0.5:
        wrong = faults.Skew(leader, drift_ratio=rng.choice((-MAX_DRIFT, MAX_DRIFT)))
    yield _timed(wrong, at_s, 2.5 * lease_s)
    yield from _sides(draw, tier, at_s + 0.2 * lease_s, lease_s)


def _deaf_follower(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """One member no longer hears the leader, whom all others hear; it may still be heard."""
    rng = draw.themes
    name = rng.choice(tier.node_names)
    one_way = rng.random() < 0.7
    yield _cut((draw.leading(tier), name), at_s, rng.uniform(1.0, 2.4) * lease_s, one_way=one_way)


def _old_and_new(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """The leader is cut off until another is elected, and that one just after."""
    rng = draw.themes
    yield _cut((draw.leading(tier), tier.name), at_s, rng.uniform(1.1, 1.6) * lease_s)
    again_s = at_s + rng.uniform(1.3, 1.9) * lease_s
    yield _cut((draw.leading(tier), tier.name), again_s, rng.uniform(0.2, 0.9) * lease_s)


def _region_alone(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """A region with its people is cut off: whoever leads there is asked on, and all others elect
    another one."""
    region = draw.themes.choice(list(dict.fromkeys(tier.members)))
    inside = ",".join([f"region {region}", *draw.people_of(region)])
    yield _cut((inside, "all"), at_s, draw.themes.uniform(*FAR_LEASES) * lease_s)


def _far_sides(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """As `_sides`, for as long as those who are far from each other take for their votes."""
    for item in _sides(draw, tier, at_s, lease_s):
        yield replace(item, for_s=round(draw.themes.uniform(*FAR_LEASES) * lease_s, 3))


LEASE_STORIES: Final[Sequence[Callable[[Chances, Tier, float, float], Iterator[FaultItem]]]] = (
    _two_stages, _sides, _sides, _held_up, _off_the_clock, _deaf_follower, _old_and_new,
)  # fmt: skip
FAR_STORIES: Final = (
    *LEASE_STORIES, _region_alone, _region_alone, _far_sides, _far_sides, _far_sides,
)  # fmt: skip
"""Of a tier in several regions."""


def _cut(
    between: tuple[str, str], at_s: float, lasts_s: float, *, one_way: bool = False
) -> FaultItem:
    return _timed(faults.Partition(between, one_way), at_s, lasts_s)


def _timed(fault: Fault, at_s: float, lasts_s: float) -> FaultItem:
    return FaultItem(fault, round(at_s, 3), for_s=max(0.001, round(lasts_s, 3)))


# --- weak moments ----------------------------------------------------------------------------


def weak_moments(draw: Chances, last_s: float) -> Iterator[FaultItem]:
    """Just after somebody was promoted, came back, or said that it is at a weak point."""
    rng = draw.rng
    if draw.replicated and rng.random() < 0.5:
        tier = rng.choice(draw.replicated)
        kind = rng.choice((faults.Kill, faults.Crash, faults.Pause))
        assert tier.kind.leader is not None, "so it is replicated"
        yield _after(draw, tier.kind.leader.event, kind(draw.leading(tier)), last_s)
    if rng.random() < 0.25:
        tier = rng.choice(draw.tiers)
        fault = rng.choice((faults.Kill, faults.Crash))(draw.node(tier))
        yield _after(draw, "node up", fault, last_s)
    weak = {tier.group or tier.name: tier.kind.weak_after
            for tier in draw.tiers if tier.kind.weak_after}  # fmt: skip
    if weak:
        name = rng.choice(list(weak))
        tiers = [tier for tier in draw.groups if name in (tier.group, tier.name)]
        hit = rng.choice((faults.Kill, faults.Crash, faults.Pause, faults.Restart))
        target = draw.leading(rng.choice(tiers)) if tiers else name
        yield _after(draw, rng.choice(weak[name]), hit(target), last_s)


def _after(draw: Chances, event: str, fault: Fault, last_s: float) -> FaultItem:
    rng: random.Random = draw.rng
    wait_s = rng.choice((0.0, round(rng.uniform(0.001, 1.0), 3)))
    return draw.item(fault, wait_s, draw.lasts_s(last_s / 4), event)


THEMES: Final[Sequence[Theme]] = (
    weak_moments, power_cuts, leases, wiped_disks, joins, copies,
)  # fmt: skip
