"""Tiers that come and go with an operation (nodes.operations.Resizing): how many a group has is
founded by the file, and from then on changed by that operation alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emu.model.topology import Tier, Topology
from nodes.operations import Resizing


def resizing_of(tier: Tier) -> Resizing | None:
    """What lets there be more or fewer tiers like this one; None where nothing does."""
    found = (each.resizing for each in tier.kind.operations)
    return next((each for each in found if each is not None), None) if tier.group else None


def resizable(topology: Topology) -> dict[str, list[str]]:
    """The tiers that may come and go, by their group, in their family's order."""
    orders: dict[str, Resizing] = {}
    found: dict[str, list[str]] = {}
    for tier in topology.tiers:
        resizing = resizing_of(tier)
        if resizing is not None:
            orders[tier.group] = resizing
            found.setdefault(tier.group, []).append(tier.name)
    return {group: sorted(tiers, key=orders[group].order) for group, tiers in found.items()}


def with_tiers(topology: Topology, group: str, wanted: Sequence[str]) -> Topology:
    """The same, where the group has these tiers too."""
    have = resizable(topology).get(group, [])
    for tier in wanted:
        if tier not in have:
            topology = topology.copied(have[-1], tier)
    return topology


def without_tiers(topology: Topology, group: str, kept: Sequence[str]) -> Topology:
    """The same, where the group has no others than these."""
    for tier in resizable(topology).get(group, []):
        if tier not in kept:
            topology = topology.without(tier)
    return topology


def with_kept(topology: Topology, kept: Mapping[str, Sequence[str]]) -> Topology:
    """The same, with the tiers that the groups have already: of groups that both know."""
    for group in resizable(topology):
        if kept.get(group):
            topology = with_tiers(topology, group, kept[group])
            topology = without_tiers(topology, group, kept[group])
    return topology


def kept_lines(file: Topology, kept: Topology) -> list[str]:
    """What is told where a group has another number of tiers than its file says."""
    have = resizable(kept)
    lines = []
    for group, declared in resizable(file).items():
        if have[group] != declared:
            resizing = resizing_of(file.tier(declared[0]))
            assert resizing is not None, "so it was found"
            lines.append(resizing.kept(group, len(have[group]), len(declared)))
    return lines
