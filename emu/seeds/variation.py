"""What a seed varies of a topology: options of its tiers, and how many members they have, within
what their kinds say is still the same promise. Small limits and quick clients meet in a minute what
the file's own meet in days; a larger group can be in states that three cannot.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Final

from emu.model.topology import Tier, Topology

VARIED_RATIO: Final = 0.5
"""How many of the options a seed varies, each by itself; the others are as the file says."""


GROWN_RATIO: Final = 0.25
GROWN_CLIENTS_RATIO: Final = 0.75
"""How many of the tiers whose kinds name sizes have another one: clients of the same objects can
then be on both sides of a cut."""


def varied(topology: Topology, seed: int | str) -> Topology:
    """The topology as this seed runs it. Node, link and fault stay what they are."""
    led = {name for tier in topology.tiers if tier.kind.leader and len(tier.members) > 1
           for name in (tier.name, tier.group)}  # fmt: skip
    tiers = []
    for tier in topology.tiers:
        rng = random.Random(f"{seed}/variation/{tier.name}")
        changed = _varied(tier, rng)
        asks_leaders = not led.isdisjoint(tier.dials)
        tiers.append(_grown(changed, rng) if asks_leaders or tier.kind.leader else changed)
    return replace(topology, tiers=tuple(tiers))


def _varied(tier: Tier, rng: random.Random) -> Tier:
    changes: dict[str, Any] = {}
    for option, values in tier.kind.varied.items():
        drawn, value = rng.random() < VARIED_RATIO, rng.choice(values)
        declared = getattr(tier.config, option)
        if drawn and (isinstance(value, str) or not 0 < declared < value):
            changes[option] = value  # but a file's own limit is never widened
    return replace(tier, config=replace(tier.config, **changes)) if changes else tier


def _grown(tier: Tier, rng: random.Random) -> Tier:
    """Of groups, and of those who ask them. A group of one stays one: it promises less."""
    members = len(tier.members)
    sizes = [each for each in tier.kind.sizes if each > members]
    is_drawn = rng.random() < (GROWN_CLIENTS_RATIO if tier.kind.clients else GROWN_RATIO)
    if not (is_drawn and sizes) or members < tier.kind.least_size:
        return tier
    size = rng.choice(sizes)
    grown = tier.scaled(size)
    return replace(grown, config=replace(grown.config, **tier.kind.sizes[size]))
