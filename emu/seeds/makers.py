"""The faults that a swarm draws one by one, at any time: what each hits, and how hard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from emu.model import faults
from emu.model.faults import Fault
from emu.seeds.chances import Chances, Drawn, Maker
from nodes.operations import Operation

MAX_DRIFT: Final = 0.008
"""Below what leases state that they bear (protocols/replication/)."""


def _hit(kind: Callable[[str], Fault]) -> Maker:
    def make(draw: Chances) -> Drawn:
        tier = draw.tier()
        return Drawn(kind(draw.node(tier)), (tier.name,))

    return make


kill = _hit(faults.Kill)
pause = _hit(faults.Pause)
restart = _hit(faults.Restart)


def crash(draw: Chances) -> Drawn:
    """Half of the power cuts of those who keep something come in the middle of a write."""
    tier = draw.tier()
    node = draw.node(tier)
    in_write = tier in draw.groups and draw.moments.random() < 0.5
    return Drawn(faults.Crash(node, in_write), (tier.name,))


def cut(draw: Chances) -> Drawn | None:
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


def region(draw: Chances) -> Drawn | None:
    """All of a region at once, where every group has its majority elsewhere. Whoever is cut off
    has its people with it half of the time: they go on asking what is near."""
    regions = [each for each in draw.topology.regions if _spared(draw, each)]
    if not regions:
        return None
    gone = draw.rng.choice(regions)
    takes = tuple(t.name for t in draw.tiers for member in t.members if member == gone)
    words = f"region {gone}"
    end = draw.rng.choice((faults.Kill, faults.Crash, faults.Pause, None))
    if end is not None:
        return Drawn(end(words), takes)
    inside = [gone, *(draw.people_of(gone) if draw.moments.random() < 0.5 else ())]
    return Drawn(faults.Partition((",".join(inside), "all")), takes)


def _spared(draw: Chances, region: str) -> bool:
    lost = [(tier.members.count(region), len(tier.members)) for tier in draw.groups]
    return all(2 * here < members for here, members in lost) and any(
        region in tier.members for tier in draw.tiers
    )


def slow(draw: Chances) -> Drawn:
    """From a little to a clog; of everything that a tier or node says, or of one way."""
    latency_s = draw.log_uniform(0.005, 2.0)
    jitter_s = draw.rng.choice((0.0, float(f"{latency_s / 2:.3g}")))
    target, to = _way(draw)
    return Drawn(faults.Slow(target, latency_s, jitter_s, to))


def loss(draw: Chances) -> Drawn:
    loss_ratio = draw.log_uniform(0.005, 0.3)
    target, to = _way(draw)
    return Drawn(faults.Loss(target, loss_ratio, to))


def _way(draw: Chances) -> tuple[str, str]:
    """A tier or a node and everybody, or two tiers that talk."""
    ways = draw.ways()
    if ways and draw.moments.random() < 0.4:
        return draw.moments.choice(ways)
    tier = draw.tier()
    return draw.rng.choice((tier.name, draw.node(tier))), "all"


def throttle(draw: Chances) -> Drawn:
    return Drawn(faults.Throttle(draw.node(draw.tier()), draw.log_uniform(2e4, 2e6)))


def disk(draw: Chances) -> Drawn:
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


def skew(draw: Chances) -> Drawn | None:
    rng = draw.rng
    step_s = rng.choice((0.0, round(rng.uniform(-60.0, 60.0), 3)))
    drift = round(rng.uniform(-MAX_DRIFT, MAX_DRIFT), 4)
    node = draw.node(draw.tier())
    return Drawn(faults.Skew(node, step_s, drift)) if step_s or drift else None


def late(draw: Chances) -> Drawn:
    """Timers, by a little or by half of what members bear of each other's silence."""
    return Drawn(faults.Late(draw.node(draw.tier()), draw.log_uniform(0.002, 0.5)))


def scale(draw: Chances) -> Drawn | None:
    """Tiers without roles only: a group's members change by its own rules."""
    tiers = [tier for tier in draw.tiers if not tier.kind.roles and not tier.kind.peers]
    if not tiers:
        return None
    tier = draw.rng.choice(tiers)
    now = len(tier.members)
    nodes = draw.rng.choice([n for n in range(max(1, now - 1), now + 3) if n != now])
    return Drawn(faults.Scale(tier.name, nodes), ("scaling", tier.name))


def cores(draw: Chances) -> Drawn | None:
    tiers = [tier for tier in draw.tiers if tier.cpu.cores]
    if not tiers:
        return None
    tier = draw.rng.choice(tiers)
    return Drawn(faults.Cpu(draw.node(tier), draw.rng.randint(1, 2 * tier.cpu.cores)))


def operate(operation: Operation) -> Maker:
    return partial(Chances.operate, operation=operation)


MAKERS: Final[Sequence[Maker]] = (
    kill, crash, pause, restart, cut, cut, slow, loss, throttle, disk, skew, late, scale, cores,
)  # fmt: skip
