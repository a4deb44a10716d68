"""What a seed varies of a topology: options of its tiers, within what their kinds say is still the
same promise. Small limits and quick clients meet in a minute what the file's own meet in days.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Final

from emu.model.topology import Tier, Topology

VARIED_RATIO: Final = 0.5
"""How many of the options a seed varies, each by itself; the others are as the file says."""


def varied(topology: Topology, seed: int | str) -> Topology:
    """The topology as this seed runs it. Node, link and fault stay what they are."""
    tiers = tuple(_varied(tier, f"{seed}/variation/{tier.name}") for tier in topology.tiers)
    return replace(topology, tiers=tiers)


def _varied(tier: Tier, stream: str) -> Tier:
    rng = random.Random(stream)
    changes: dict[str, Any] = {}
    for option, values in tier.kind.varied.items():
        drawn, value = rng.random() < VARIED_RATIO, rng.choice(values)
        declared = getattr(tier.config, option)
        if drawn and (isinstance(value, str) or not 0 < declared < value):
            changes[option] = value  # but a file's own limit is never widened
    return replace(tier, config=replace(tier.config, **changes)) if changes else tier
