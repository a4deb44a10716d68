"""Which tiers that one of their members leads are led by nobody just now, and whose votes lack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from emu.model.topology import Topology
from emu.running.instance import Instance

NAMED: Final = 5
"""Nodes whose votes lack; of more, only so many are named."""


def leaderless(
    topology: Topology, instances: Mapping[str, Instance], of: str = ""
) -> dict[str, str]:
    """Tier → `kv-shard-1 has no primary: 1 of 3 voters up, 2 are needed (...)`, by what its members
    last said of themselves. `of`: only of that tier, or of those that it expands to."""
    found = {}
    for tier in topology.tiers:
        leader = tier.kind.leader
        if leader is None or (of and of not in (tier.name, tier.group)):
            continue
        members = [each for each in instances.values() if each.spec.tier == tier.name]
        if not members or _is_led(members, leader.role):
            continue
        found[tier.name] = f"{tier.name} has no {leader.role}: {_votes(members, instances)}"
    return found


def _is_led(members: list[Instance], role: str) -> bool:
    return any(each.role == role and each.shown_state == "up" for each in members)


def _votes(members: list[Instance], instances: Mapping[str, Instance]) -> str:
    told = next((each.voters for each in _best_informed(members) if each.voters), ())
    voters = [name for name in told if name in instances] or [each.spec.name for each in members]
    away = [name for name in voters if instances[name].shown_state != "up"]
    up, needed = len(voters) - len(away), len(voters) // 2 + 1
    text = f"{up} of {len(voters)} voters up"
    if up >= needed:
        return f"{text}, they elect one"
    names = ", ".join(f"{name} {instances[name].shown_state}" for name in away[:NAMED])
    more = f" and {len(away) - NAMED} more" if len(away) > NAMED else ""
    return f"{text}, {needed} are needed ({names}{more})"


def _best_informed(members: list[Instance]) -> list[Instance]:
    """Who answers knows who votes; who does not, knew it."""
    return sorted(members, key=lambda each: each.shown_state != "up")
