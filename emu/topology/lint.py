"""Warnings about a valid topology: what would surprise whoever runs it. Never errors.

A file says in `accepts:` which of them are meant to be, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from emu.model.problems import Problem
from emu.model.topology import Tier, Topology, problem_at
from emu.topology.tiers import see, words_of
from nodes.kind import Kind, TierSeen

PROCESS_REQUESTS_PER_S: Final = 5_000
"""What one Python process passes through a tier, to the order of magnitude: beyond it the laptop
is the ceiling, not the declared cpu."""


@dataclass(frozen=True, slots=True)
class Warned:
    """One warning; `accepted` is the file's own word why it is meant to be."""

    code: str
    tier: str
    problem: Problem
    accepted: str = ""

    def __str__(self) -> str:
        return f"{self.problem} [{self.code}]"


Found = tuple[Tier | None, str]


def lint(topology: Topology) -> list[Warned]:
    """Every warning in the file's order, the accepted ones too."""
    accepts = topology.accepts or {}
    found = []
    for code, tier, message in _found(topology):
        name = tier.name if tier is not None else ""
        why = accepts.get(f"{code} {name}") or accepts.get(code, "")
        found.append(Warned(code, name, problem_at(topology, tier, message), why))
    return sorted(found, key=lambda warning: warning.problem)


def _found(topology: Topology) -> Iterator[tuple[str, Tier | None, str]]:
    for code, check in CODES.items():
        for tier, message in check(topology):
            yield code, tier, message
    for tier in topology.tiers:
        edges = [edge.field for edge in tier.kind.edge_records]
        seen = see(tier, {edge: _seen(topology, tier, edge) for edge in edges})
        for code, warns in tier.kind.cautions.items():
            for text, about in warns(seen):
                yield code, topology.tier(about.name) if about is not None else tier, text


def _seen(topology: Topology, tier: Tier, edge: str) -> tuple[TierSeen, ...]:
    return tuple(see(each) for each in _targets(topology, tier, edge))


def unaccepted(topology: Topology) -> list[Warned]:
    """The warnings to show: those the file does not explain."""
    return [warning for warning in lint(topology) if not warning.accepted]


def _incoming(topology: Topology) -> dict[str, list[str]]:
    """For each tier, the tiers that name it in an edge."""
    found: dict[str, list[str]] = {tier.name: [] for tier in topology.tiers}
    for tier in topology.tiers:
        for target in tier.dials:
            if target != tier.name:
                found[target].append(tier.name)
    return found


def _single_points(topology: Topology) -> Iterator[Found]:
    for tier in topology.tiers:
        if not tier.members:
            yield tier, f"`{tier.name}` has no nodes; give it `nodes: 1`, or scale it later"
        if len(tier.members) == 1 and not tier.kind.clients and not tier.group:
            yield tier, f"`{tier.name}` is a single point of failure; give it `nodes: 2` or more"


def _unused(topology: Topology) -> Iterator[Found]:
    incoming = _incoming(topology)
    for tier in topology.tiers:
        reached = tier.public or incoming[tier.name]
        works_alone = tier.dials and not (tier.kind.visited or tier.kind.stores)
        if not (reached or works_alone or tier.kind.clients or tier.group):
            what = f"nothing uses `{tier.name}`: it is private and no other tier names it"
            yield tier, f"{what}; name it (uses, balances, visits ...) or remove it"


def _public_or_private(topology: Topology) -> Iterator[Found]:
    for tier in topology.tiers:
        if tier.public and tier.kind.stores:
            yield tier, f"`{tier.name}` keeps data and is public; remove `public: true`"
    from_inside = any(tier.kind.clients and not tier.kind.outside for tier in topology.tiers)
    if topology.tiers and not from_inside and not any(tier.public for tier in topology.tiers):
        yield None, "no tier is public: nobody can get in; give the front tier `public: true`"


def _targets(topology: Topology, tier: Tier, edge: str) -> list[Tier]:
    """The tiers that an edge names (a group stands for all of its tiers)."""
    names = words_of(getattr(tier.config, edge, None))
    return [each for each in topology.tiers if each.name in names or each.group in names]


def _capacity_per_s(tier: Tier) -> float:
    """What the declared cpus can do; infinite where nothing is charged."""
    if not tier.cpu.cores or not tier.cpu.service_time_s:
        return math.inf
    return len(tier.members) * tier.cpu.cores / tier.cpu.service_time_s


def _asked_per_s(topology: Topology) -> dict[str, float]:
    """What open-loop users ask of each tier, along the edges that every request takes."""
    asked = dict.fromkeys((tier.name for tier in topology.tiers), 0.0)
    for clients in topology.tiers:
        demand = clients.kind.demand
        rate = demand(clients.config).rate_per_s if demand is not None else 0.0
        reached: dict[str, Tier] = {}
        frontier = [clients] if rate else []
        while frontier:
            tier = frontier.pop()
            for edge in tier.kind.passes:
                new = [each for each in _targets(topology, tier, edge) if each.name not in reached]
                reached |= {each.name: each for each in new}
                frontier += new
        for name in reached:
            asked[name] += rate * len(clients.members)
    return asked


def _impossible_rates(topology: Topology) -> Iterator[Found]:
    asked = _asked_per_s(topology)
    for tier in topology.tiers:
        capacity, rate = _capacity_per_s(tier), asked[tier.name]
        if rate > capacity:
            what = f"users ask {rate:g}/s of `{tier.name}`, whose cpus can do {capacity:g}/s"
            yield tier, f"{what}: overload; add nodes or cores, or lower the rate"


def _beyond_the_laptop(topology: Topology) -> Iterator[Found]:
    asked, sent = _asked_per_s(topology), topology.sample
    for tier in topology.tiers:
        capacity = _capacity_per_s(tier) * sent
        declared = capacity if math.isfinite(capacity) else 0.0
        most = max(declared, asked[tier.name] * sent)
        if most > PROCESS_REQUESTS_PER_S:
            verb = "can do" if declared == most else "is asked for"
            what = f"`{tier.name}` {verb} {most:g}/s, one process on a laptop about "
            what += f"{PROCESS_REQUESTS_PER_S}/s: the laptop will be the ceiling"
            yield tier, f"{what}; scale rates and cpus down together, or send a `sample` of them"


def _plain_regions(topology: Topology) -> Iterator[Found]:
    plan = topology.links
    if len(topology.regions) > 1 and not plan.declared and not plan.defaults.between_s:
        what = "several regions and no latency between them"
        yield None, f"{what}; add `links: {{defaults: {{between: 40ms}}}}`"


def _far_users(topology: Topology) -> Iterator[Found]:
    """People whose region has no member of what they visit."""
    for tier in topology.tiers:
        if not tier.kind.outside:
            continue
        visited = [each for edge in tier.kind.passes for each in _targets(topology, tier, edge)]
        served = dict.fromkeys(region for each in visited for region in each.members)
        far = [region for region in dict.fromkeys(tier.members) if region not in served]
        if served and far:
            names = ", ".join(each.name for each in visited)
            what = f"`{tier.name}`: nothing of `{names}` is in {', '.join(far)}"
            yield tier, f"{what}; each request crosses to {' or '.join(served)}"


CODES: Final[dict[str, Callable[[Topology], Iterator[Found]]]] = {
    "single-point": _single_points,
    "unused-tier": _unused,
    "public-private": _public_or_private,
    "impossible-rate": _impossible_rates,
    "beyond-laptop": _beyond_the_laptop,
    "plain-regions": _plain_regions,
    "far-users": _far_users,
}
"""Warning code → check of a whole file. Each kind may have more, of its own tiers."""


def codes(kinds: Iterable[Kind]) -> tuple[str, ...]:
    """Every code that a warning may have."""
    return tuple(dict.fromkeys([*CODES, *(code for kind in kinds for code in kind.cautions)]))
