"""Stories that chance hardly ever tells: some seeds tell one of them on purpose.

Each knows only what the Kind says: who leads and for how long unheard, whose disks may be lost,
which events are followed by a weak moment, which files are written aside.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from emu.model import faults
from emu.model.faults import Fault
from emu.model.topology import FaultItem, Tier
from emu.seeds.chances import FIRST_S, Chances
from emu.seeds.offices import FAR_STORIES, STORIES, short_office

TRIES: Final = 8
MOST_POWER_CUTS: Final = 4
WAITS_S: Final = 3.0
"""So long a power cut may wait for a write of its file: it comes before the end."""
OUTAGES_RATIO: Final = 0.2
OFFICES_RATIO: Final = 0.8
MOST_STORIES: Final = 5
SHORTS_RATIO: Final = 0.25
"""Of the seeds: there every office is short."""
WIPES_RATIO: Final = 0.25
JOINS_RATIO: Final = 0.2
REFILLED_RATIO: Final = 0.5
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


def outages(draw: Chances, last_s: float) -> Iterator[FaultItem]:
    """All members of a tier lose power at once, as in one rack: what was promised is on their
    disks, which may have been slow just before."""
    rng = draw.themes
    tiers = [tier for tier in draw.groups if _keeps_promises(tier)]
    if not tiers or rng.random() >= OUTAGES_RATIO:
        return
    tier = rng.choice(tiers)
    at_s = round(rng.uniform(FIRST_S, last_s), 3)
    lasts_s = round(rng.uniform(0.05, 1.0), 3)
    if not draw.book(at_s, lasts_s, (tier.name,) * len(tier.members)):
        return
    if rng.random() < 0.7:
        slow_s = round(rng.uniform(0.05, 0.6), 3)
        slow = faults.Disk(tier.name, slow_factor=draw.log_uniform(10.0, 2000.0, rng))
        yield FaultItem(slow, max(0.0, round(at_s - slow_s, 3)), for_s=slow_s)
    yield draw.item(faults.Crash(tier.name, in_write=rng.random() < 0.3), at_s, lasts_s)


def _keeps_promises(tier: Tier) -> bool:
    """Whether nothing that was acknowledged may get lost."""
    ask = tier.kind.may_lose
    return tier.kind.stores and not (ask is not None and ask(tier.config, len(tier.members)))


def wiped_disks(draw: Chances, last_s: float) -> Iterator[FaultItem]:
    """A machine is replaced, as often as its tier bears it: it must be filled up again."""
    rng = draw.themes
    tiers = [tier for tier in draw.replicated if draw.disks_to_spare(tier)]
    if not tiers or rng.random() >= WIPES_RATIO:
        return
    tier = rng.choice(tiers)
    for name in rng.sample(tier.node_names, draw.disks_to_spare(tier)):
        at_s = round(rng.uniform(FIRST_S, last_s), 3)
        lasts_s = draw.lasts_s(last_s - at_s, rng)
        if draw.book(at_s, lasts_s, (tier.name,)):
            yield draw.item(draw.wipe(tier, name), at_s, lasts_s)


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


def refilled(draw: Chances, last_s: float) -> Iterator[FaultItem]:
    """Who got all that it lacked from another falls soon after, and finds on its disk what it was
    given beside what it had before. Which member that is shows only then: all restart in turn."""
    rng = draw.sides
    tiers = [tier for tier in draw.replicated if _filled(tier)]
    if tiers and rng.random() < REFILLED_RATIO:
        tier = rng.choice(tiers)
        wait_s = round(rng.uniform(0.05, 1.5), 3)
        yield FaultItem(faults.Restart(tier.name), wait_s, _filled(tier))


def _filled(tier: Tier) -> str:
    return tier.kind.leader.filled if tier.kind.leader else ""


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


# --- who leads ---------------------------------------------------------------------------------


def offices(draw: Chances, last_s: float) -> Iterator[FaultItem]:
    """Whoever leads is cut off, held up, hurried or succeeded, with clients on every side."""
    rng = draw.themes
    tiers = [tier for tier in draw.replicated if _lease_s(tier)]
    if not tiers or rng.random() >= OFFICES_RATIO:
        return
    are_short = draw.short_office.random() < SHORTS_RATIO
    for _ in range(rng.randint(2, MOST_STORIES)):
        for _ in range(TRIES):
            tier = rng.choice(tiers)
            lease_s = _lease_s(tier)
            at_s = round(rng.uniform(FIRST_S, max(FIRST_S, last_s - 3 * lease_s)), 3)
            if draw.book(at_s, 2.5 * lease_s, (tier.name,), faults_at_once=2):
                stories = FAR_STORIES if len(set(tier.members)) > 1 else STORIES
                story = short_office if are_short else rng.choice(stories)
                yield from story(draw, tier, at_s, lease_s)
                break


def _lease_s(tier: Tier) -> float:
    leader = tier.kind.leader
    return getattr(tier.config, leader.timeout, 0.0) if leader and leader.timeout else 0.0


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
        ends: Fault = rng.choice((faults.Kill, faults.Crash))(draw.node(tier))
        yield _after(draw, "node up", ends, last_s)
    weak = {tier.group or tier.name: tier.kind.weak_after
            for tier in draw.tiers if tier.kind.weak_after}  # fmt: skip
    if weak:
        name = rng.choice(list(weak))
        tiers = [tier for tier in draw.groups if name in (tier.group, tier.name)]
        hit = rng.choice((faults.Kill, faults.Crash, faults.Pause, faults.Restart))
        target = draw.leading(rng.choice(tiers)) if tiers else name
        yield _after(draw, rng.choice(weak[name]), hit(target), last_s)
        if tiers and rng.random() < 0.6:
            fault = _unheard(draw, name, rng.choice(tiers))
            yield _after(draw, rng.choice(weak[name]), fault, last_s)


def _unheard(draw: Chances, group: str, tier: Tier) -> Fault:
    """What a tier of a group says comes late to the others, or its clients hear nothing of it: they
    ask again, and by then it may be somebody else's."""
    rng, clients = draw.rng, draw.clients_of(tier)
    if clients and rng.random() < 0.5:
        return faults.Partition((tier.name, ",".join(clients)), one_way=True)
    return faults.Slow(tier.name, draw.log_uniform(0.005, 0.5, rng), to=group, one_way=True)


def _after(draw: Chances, event: str, fault: Fault, last_s: float) -> FaultItem:
    rng: random.Random = draw.rng
    wait_s = rng.choice((0.0, round(rng.uniform(0.001, 1.0), 3)))
    return draw.item(fault, wait_s, draw.lasts_s(last_s / 4), event)


THEMES: Final[Sequence[Theme]] = (
    weak_moments, power_cuts, outages, offices, wiped_disks, joins, copies, refilled,
)  # fmt: skip
