"""Stories around who leads a group, told on purpose: at the end of its lease, in the moment after
an election, while one member lacks what the others have. Clients ask on, on every side.

Each is so many faults from one moment on; when, and for which tier, is themes.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

from emu.model import faults
from emu.model.faults import Fault
from emu.model.topology import FaultItem, Tier
from emu.seeds.chances import Chances
from emu.seeds.makers import MAX_DRIFT

FAR_LEASES: Final = (1.8, 3.5)

Story = Callable[[Chances, Tier, float, float], Iterator[FaultItem]]
"""(draws, tier, from when, the length of a lease in seconds) → what happens."""


# --- the end of a lease ----------------------------------------------------------------------


def two_stages(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """First one direction is cut, then the other too: it hears longer than it is heard, or the
    other way round."""
    rng = draw.themes
    others = draw.voters(tier)
    ways = [(draw.leading(tier), others), (others, draw.leading(tier))]
    rng.shuffle(ways)
    first_s, second_s = rng.uniform(0.3, 1.2) * lease_s, rng.uniform(0.5, 1.5) * lease_s
    yield cut(ways[0], at_s, first_s + second_s, one_way=True)
    yield cut(ways[1], at_s + first_s, second_s, one_way=True)
    if rng.random() < 0.6:
        yield from turned_away(draw, tier, few_of(draw, tier), at_s, first_s + second_s)


def sides(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """The leader and some clients on one side, all others on the other: each side asks on."""
    rng = draw.themes
    lasts_s = rng.uniform(0.8, 3.0) * lease_s
    yield from apart(draw, tier, at_s, lasts_s)


def held_up(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """It sleeps until about the end of its lease, and wakes up with a queue of requests and
    answers; maybe cut off, so that these are the last that it heard."""
    rng = draw.themes
    lasts_s = rng.uniform(0.6, 1.7) * lease_s
    yield timed(faults.Pause(draw.leading(tier)), at_s, lasts_s)
    if rng.random() < 0.7:
        began_s = rng.uniform(0.01, 0.5) * lease_s
        ends_s = lasts_s + rng.uniform(0.2, 1.2) * lease_s
        yield from apart(draw, tier, at_s + began_s, ends_s - began_s)


def late_answers(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """What the others answer comes late, and then they hear nothing any more, while answers still
    come: how long it leads counts from what it asked, not from what it heard."""
    rng = draw.themes
    latency_s = round(rng.uniform(0.15, 0.85) * lease_s, 3)
    yield timed(
        faults.Slow(tier.name, latency_s, to=draw.leading(tier), one_way=rng.random() < 0.8),
        at_s,
        3.0 * lease_s,
    )
    cut_s = at_s + rng.uniform(0.9, 1.6) * lease_s
    lasts_s = rng.uniform(1.2, 2.2) * lease_s
    one_way = rng.random() < 0.7
    yield cut((draw.leading(tier), draw.voters(tier)), cut_s, lasts_s, one_way=one_way)
    yield from turned_away(draw, tier, few_of(draw, tier), cut_s, lasts_s)


def off_the_clock(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """Its clock is slow or its timers late, and then it is cut off with some clients."""
    rng = draw.themes
    leader = draw.leading(tier)
    wrong: Fault = faults.Late(leader, round(rng.uniform(0.05, 0.5) * lease_s, 3))
    if rng.random() < 0.5:
        wrong = faults.Skew(leader, drift_ratio=rng.choice((-MAX_DRIFT, MAX_DRIFT)))
    yield timed(wrong, at_s, 2.5 * lease_s)
    yield from sides(draw, tier, at_s + 0.2 * lease_s, lease_s)


def deaf_follower(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """One member no longer hears the leader, whom all others hear; it may still be heard."""
    rng = draw.themes
    name = rng.choice(tier.node_names)
    one_way = rng.random() < 0.7
    yield cut((draw.leading(tier), name), at_s, rng.uniform(1.0, 2.4) * lease_s, one_way=one_way)


# --- one office after the other --------------------------------------------------------------


def old_and_new(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """The leader is cut off until another is elected, and that one just after: who is back by then
    has records that nobody else has, and lacks those of the office between."""
    rng = draw.themes
    gone_s = rng.uniform(1.2, 2.8) * lease_s
    yield cut((draw.leading(tier), draw.voters(tier)), at_s, gone_s)
    for_s = rng.uniform(0.2, 3.0) * lease_s
    if rng.random() < 0.5:
        assert tier.kind.leader is not None, "somebody leads it"
        wait_s = rng.choice((0.0, round(rng.uniform(0.001, 0.5) * lease_s, 3)))
        again = faults.Partition((draw.leading(tier), draw.voters(tier)))
        yield FaultItem(again, wait_s, tier.kind.leader.event, round(for_s, 3))
    else:
        again_s = at_s + rng.uniform(0.9, 1.5) * lease_s
        yield cut((draw.leading(tier), draw.voters(tier)), again_s, for_s)


def short_office(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """The leader is cut off with all its clients, each of whom leaves a record there; who succeeds
    it decides a few, and is gone before the first is back: then the longer log is the older one."""
    assert tier.kind.leader is not None, "somebody leads it"
    rng = draw.short_office
    yield cut((draw.leading(tier), draw.voters(tier)), at_s, rng.uniform(1.3, 2.0) * lease_s)
    whom, wait_s = rng.choice(("all", draw.voters(tier))), draw.log_uniform(0.001, 0.2, rng)
    gone = faults.Partition((draw.leading(tier), whom))
    gone_s = round(rng.uniform(1.5, 3.0) * lease_s, 3)
    yield FaultItem(gone, wait_s, tier.kind.leader.event, gone_s, since_s=round(at_s, 3))


def one_behind(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """A member misses what the others agree on; when it hears them again, whoever leads is gone,
    and maybe the disk of one who had it all."""
    rng = draw.themes
    name = rng.choice(tier.node_names)
    missed_s = rng.uniform(0.4, 2.0) * lease_s
    struck_s = at_s + missed_s
    between = (draw.leading(tier) if rng.random() < 0.5 else tier.name, name)
    late_s = rng.uniform(-0.1, 0.1) * lease_s
    yield cut(between, at_s, missed_s + late_s, one_way=rng.random() < 0.2)
    others = [each for each in tier.node_names if each != name]
    if draw.disks_to_spare(tier) and rng.random() < 0.5:
        before_s, after_s = rng.uniform(0.005, 0.15), rng.uniform(0.02, 0.3)
        wiped = draw.wipe(tier, rng.choice(others))
        yield timed(wiped, struck_s - before_s * lease_s, (before_s + after_s) * lease_s)
    yield strike(draw, tier, struck_s, rng.uniform(0.8, 2.5) * lease_s)


def back_and_gone(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """A member is away for so long that it must be filled up, and falls as soon as it is."""
    rng = draw.themes
    name = rng.choice(tier.node_names)
    away_s = rng.uniform(1.0, 4.0) * lease_s
    yield cut((name, tier.name), at_s, away_s)
    again = rng.choice((faults.Kill, faults.Crash, faults.Restart))(name)
    wait_s, short_s = rng.uniform(0.05, 1.2) * lease_s, round(rng.uniform(0.02, 0.3) * lease_s, 3)
    yield draw.item(again, round(at_s + away_s + wait_s, 3), short_s)


def strike(draw: Chances, tier: Tier, at_s: float, lasts_s: float) -> FaultItem:
    """Whoever leads is gone, one way or another."""
    leading = draw.leading(tier)
    kinds = (faults.Kill, faults.Crash, faults.Pause, None, None)
    kind = draw.themes.choice(kinds)
    if kind is not None:
        return timed(kind(leading), at_s, lasts_s)
    return cut((leading, draw.themes.choice(("all", tier.name))), at_s, lasts_s)


STORIES: Final[Sequence[Story]] = (
    two_stages, sides, sides, sides, held_up, late_answers, late_answers, off_the_clock,
    deaf_follower,
    old_and_new, old_and_new, one_behind, one_behind, back_and_gone,
)  # fmt: skip


def apart(draw: Chances, tier: Tier, at_s: float, lasts_s: float) -> Iterator[FaultItem]:
    """Whoever leads, with a few clients and maybe too few members, against all others, both ways or
    one."""
    rng = draw.themes
    beside = few_of(draw, tier)
    one_way, rejects = rng.random() < 0.2, rng.random() < 0.4
    members = draw.beside(tier)
    if members:  # what is written there reaches them too, so others may see it
        beside = draw.sides.sample(draw.clients_of(tier), len(draw.clients_of(tier)) // 2)
    between = (",".join([draw.leading(tier), *members, *beside]), draw.voters(tier))
    yield cut(between, at_s, lasts_s, one_way=one_way, rejects=rejects)
    yield from turned_away(draw, tier, beside, at_s, lasts_s)


def turned_away(
    draw: Chances, tier: Tier, but: Sequence[str], at_s: float, lasts_s: float
) -> Iterator[FaultItem]:
    """Other clients do not reach whoever leads any more; most of them notice at once."""
    others = [each for each in draw.clients_of(tier) if each not in but]
    if others:
        between = (draw.leading(tier), ",".join(others))
        yield cut(between, at_s, lasts_s, rejects=draw.themes.random() < 0.7)


def few_of(draw: Chances, tier: Tier) -> list[str]:
    """Some of a tier's clients, mostly of those who only read: what one wants to write at a leader
    that is cut off holds up what others are answered there."""
    rng = draw.themes
    clients = draw.clients_of(tier)
    last_ones = [each for each in clients if not each.endswith("-1")]
    if last_ones and rng.random() < 0.75:
        return rng.sample(last_ones, rng.randint(1, len(last_ones)))
    return rng.sample(clients, rng.randint(0, len(clients)))


# --- across regions --------------------------------------------------------------------------


def region_alone(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """A region with its people is cut off: whoever leads there is asked on, and all others elect
    another one."""
    region = draw.themes.choice(list(dict.fromkeys(tier.members)))
    inside = ",".join([f"region {region}", *draw.people_of(region)])
    yield cut((inside, "all"), at_s, draw.themes.uniform(*FAR_LEASES) * lease_s)


def far_sides(draw: Chances, tier: Tier, at_s: float, lease_s: float) -> Iterator[FaultItem]:
    """As `sides`, for as long as those who are far from each other take for their votes."""
    yield from apart(draw, tier, at_s, draw.themes.uniform(*FAR_LEASES) * lease_s)


FAR_STORIES: Final[Sequence[Story]] = (
    *STORIES, *(region_alone,) * 4, *(far_sides,) * 5,
)  # fmt: skip
"""Of a tier in several regions."""


# --- as items of a timeline ------------------------------------------------------------------


def cut(
    between: tuple[str, str],
    at_s: float,
    lasts_s: float,
    *,
    one_way: bool = False,
    rejects: bool = False,
) -> FaultItem:
    mode: Literal["hold", "reject"] = "reject" if rejects else "hold"
    return timed(faults.Partition(between, one_way, mode), at_s, lasts_s)


def timed(fault: Fault, at_s: float, lasts_s: float) -> FaultItem:
    return FaultItem(fault, round(at_s, 3), for_s=max(0.001, round(lasts_s, 3)))
