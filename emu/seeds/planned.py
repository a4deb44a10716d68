"""What operators do to a cluster that is well, drawn per seed: restarts, scaling, switchovers.

Nothing is broken here, so a run may be held to all that its topology expects.
"""

from __future__ import annotations

import random
from typing import Final

from emu.model import faults
from emu.model.topology import FaultItem, Tier, Topology
from emu.seeds.chances import FIRST_S, QUIET_END_S
from nodes.operations import Reach

LEAST_GAP_S: Final = 1.0
GAPS_S: Final = (0.5, 2.0, 5.0)
LASTS_S: Final = 3.0


def draw(topology: Topology, seed: int | str, for_s: float) -> tuple[FaultItem, ...]:
    """The timeline of a run of `for_s` under this seed: one thing after the other."""
    rng = random.Random(f"{seed}/planned")
    tiers = [tier for tier in topology.tiers if _is_redundant(tier) and _has_plans(tier)]
    gap_s = rng.choice(GAPS_S)
    found: list[FaultItem] = []
    at_s = FIRST_S + rng.expovariate(1 / gap_s)
    while tiers and at_s < for_s - QUIET_END_S:
        item = _one(rng, rng.choice(tiers), round(at_s, 3))
        found.append(item)
        at_s += (item.for_s or 0.0) + LEAST_GAP_S + rng.expovariate(1 / gap_s)
    return tuple(found)


def _is_redundant(tier: Tier) -> bool:
    """Whether one member may go for a while: others do its work, and somebody chooses among
    them."""
    return len(tier.members) > 1 and not tier.public and not tier.kind.clients


def _has_plans(tier: Tier) -> bool:
    """A group's members change by its own rules: only what its family brings is done to it."""
    own = any(each.planned is not None for each in tier.kind.operations)
    return own or tier.kind.leader is None


def _one(rng: random.Random, tier: Tier, at_s: float) -> FaultItem:
    reach = Reach(tier.name, tier.group, len(tier.members))
    own = [each.planned(reach) for each in tier.kind.operations if each.planned is not None]
    if own:
        return FaultItem(own[0] if len(own) == 1 else rng.choice(own), at_s)
    if rng.random() < 0.5:
        return FaultItem(faults.Restart(rng.choice(tier.node_names)), at_s)
    now = len(tier.members)
    nodes = rng.choice((now - 1, now + 1, now + 2))
    return FaultItem(
        faults.Scale(tier.name, nodes), at_s, for_s=round(rng.uniform(0.5, LASTS_S), 3)
    )
