"""A topology that was found valid: who runs where, over which links, with which faults and
expectations. Frozen; nothing here reads YAML or runs anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from emu.machine.links import Links
from emu.machine.world import ClockSpec, CpuSpec, DiskSpec, LogSpec, MachineSpec
from emu.model.expectations import Expected
from emu.model.faults import Fault
from emu.model.problems import Problem, TopologyError, hint
from emu.model.shaping import ACCESS_LINES, NO_LINKS, LinkPlan, Outside
from nodes.kind import Kind

MAX_NODES = 10_000
"""Of a tier, and of a whole cluster."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One node to be: its machine, its program and what it is told."""

    spec: MachineSpec
    config: Any
    kind: Kind
    restart: str = "no"
    """no or on-failure."""
    boot_time_s: float = 0.0
    group: str = ""
    """The declared tier it comes from, where a kind expands to several."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Machines of one kind. Node `NAME-3` is the third of `members`, which holds their regions."""

    name: str
    word: str
    """Its `kind:` as written."""
    kind: Kind
    config: Any
    members: tuple[str, ...]
    regions: tuple[str, ...]
    """Where it may grow."""
    public: bool = False
    cpu: CpuSpec = field(default_factory=CpuSpec)
    logs: LogSpec = field(default_factory=LogSpec)
    disk: DiskSpec = field(default_factory=DiskSpec)
    clock: ClockSpec = field(default_factory=ClockSpec)
    restart: str = "no"
    boot_time_s: float = 0.0
    group: str = ""
    access: str = ""
    """Each member's line to everybody, by name (ACCESS_LINES); "": as links say."""
    dials: tuple[str, ...] = ()
    dials_groups: tuple[str, ...] = ()
    """Groups that it names: it may dial what they come to have, too."""
    rights: tuple[tuple[str, str], ...] = ()
    """What its edges allow beside: (right, tier or group)."""
    outside: tuple[tuple[str, int], ...] = ()
    """Addresses outside the cluster that its edges name."""
    line: int = 0
    column: int = 0

    @property
    def node_names(self) -> list[str]:
        return [f"{self.name}-{number}" for number in range(1, len(self.members) + 1)]

    def scaled(self, nodes: int) -> Tier:
        """With that many members. The last go first; new ones come where there are fewest."""
        members = list(self.members[:nodes])
        while len(members) < nodes:
            load = Counter(members)
            members.append(min(self.regions, key=lambda region: load[region]))
        return replace(self, members=tuple(members))

    def placements(self) -> list[Placement]:
        return [
            Placement(self._machine(name, region), self.config, self.kind, self.restart,
                      self.boot_time_s, self.group)
            for name, region in zip(self.node_names, self.members, strict=True)
        ]  # fmt: skip

    def _machine(self, name: str, region: str) -> MachineSpec:
        return MachineSpec(
            name=name,
            tier=self.name,
            kind=self.word,
            region=region,
            ports=self.kind.ports,
            public=self.public,
            from_outside=bool(self.kind.outside),
            group=self.group,
            dials=self.dials + self.dials_groups,
            outside=self.outside,
            rights=self.rights,
            cpu=self.cpu,
            logs=self.logs,
            disk=self.disk,
            clock=self.clock,
        )


@dataclass(frozen=True, slots=True)
class FaultItem:
    """One line of the timeline: at a time, or so long after an event, do this (and undo it)."""

    fault: Fault
    at_s: float | None = None
    """From the start; with `on`, from the event."""
    on: str = ""
    for_s: float | None = None
    line: int = 0
    since_s: float = 0.0
    """With `on`: an event that comes sooner after the start is not meant."""


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole file. `accepts` says why a lint warning (by code, or `code tier`) is meant to be."""

    name: str
    tiers: tuple[Tier, ...]
    regions: tuple[str, ...] = ("local",)
    seed: int = 0
    links: LinkPlan = NO_LINKS
    outside: Outside = field(default_factory=Outside)
    faults: tuple[FaultItem, ...] = ()
    expect: tuple[Expected, ...] = ()
    accepts: Mapping[str, str] | None = None
    path: str = ""
    code: tuple[str, ...] = ()
    """The files of Python code that loading it imported: a topology that names code is code."""

    def tier(self, name: str) -> Tier:
        """The tier of that name, or KeyError."""
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise KeyError(name)

    @property
    def sample(self) -> float:
        """The share of people's requests that is really sent; what the others would have been is
        work for cpus alone."""
        shares = [
            tier.kind.sampled(tier.config) for tier in self.tiers if tier.kind.sampled is not None
        ]
        return min(shares, default=1.0)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Of its tiers, in their order."""
        return tuple(tier.kind for tier in self.tiers)

    @property
    def users(self) -> tuple[Tier, ...]:
        return tuple(tier for tier in self.tiers if tier.kind.outside)

    def placements(self) -> list[Placement]:
        """Every node, in the file's order."""
        return [placement for tier in self.tiers for placement in tier.placements()]

    def scaled(self, tier: str, nodes: int) -> Topology:
        """With that many members in one tier; KeyError if there is none of that name."""
        self.tier(tier)
        tiers = (each.scaled(nodes) if each.name == tier else each for each in self.tiers)
        return replace(self, tiers=tuple(tiers))

    def copied(self, tier: str, name: str) -> Topology:
        """With one more tier like that one, behind it; KeyError if there is none of that name."""
        like = self.tier(tier)
        at = self.tiers.index(like) + 1
        made = replace(like, name=name)
        return replace(self, tiers=(*self.tiers[:at], made, *self.tiers[at:]))

    def without(self, tier: str) -> Topology:
        return replace(self, tiers=tuple(each for each in self.tiers if each.name != tier))

    def arm(self, links: Links) -> None:
        """Give the world's links their declared shapes."""
        where = {name: (tier.name, region)
                 for tier in self.tiers
                 for name, region in zip(tier.node_names, tier.members, strict=True)}  # fmt: skip
        access = {name: ACCESS_LINES[tier.access]
                  for tier in self.tiers if tier.access for name in tier.node_names}  # fmt: skip
        links.shape(self.links.shaper(where, self.outside, access))


@dataclass(frozen=True, slots=True)
class Plan:
    """What turning one topology into another does to the nodes of a running cluster."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    """Same name, but its kind, options, machine or region changed."""
    reconfigured: tuple[str, ...] = ()
    """Sections that change without touching a node: links, outside, faults, expect."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.restarted or self.reconfigured)

    def lines(self) -> list[str]:
        """For people, one line for each kind of change."""
        words = ("add", self.added), ("remove", self.removed), ("restart", self.restarted), (
            "change in place", self.reconfigured)  # fmt: skip
        return [f"{verb}: {', '.join(names)}" for verb, names in words if names] or ["no change"]


def diff(old: Topology, new: Topology) -> Plan:
    """What `emu up` with a changed file has to do."""
    before = {each.spec.name: each for each in old.placements()}
    after = {each.spec.name: each for each in new.placements()}
    sections = ("links", "outside", "faults", "expect")
    return Plan(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        restarted=tuple(
            name for name in after if name in before and before[name] != after[name]
        ),
        reconfigured=tuple(
            name for name in sections if _seen(getattr(old, name)) != _seen(getattr(new, name))
        ),
    )  # fmt: skip


def _seen(section: Any) -> Any:
    """A section without the places where it stands in the file."""
    if isinstance(section, tuple) and section and isinstance(section[0], FaultItem):
        return tuple(replace(item, line=0) for item in section)
    return section


def problem_at(topology: Topology, tier: Tier | None, message: str) -> Problem:
    """A problem at a tier of a topology (or at its start)."""
    line, column = (tier.line, tier.column) if tier is not None else (1, 1)
    return Problem(line, column, topology.path, message)


def check_runners(topology: Topology, known: Iterable[str]) -> None:
    """Raises TopologyError at each tier whose kind asks for a runner that is not known."""
    names = [name for name in known if name]
    problems = [
        problem_at(
            topology,
            tier,
            f"kind `{tier.word}` runs in `{tier.kind.runner}`, of which nothing is known here; "
            + hint(tier.kind.runner, names),
        )
        for tier in topology.tiers
        if tier.kind.runner and tier.kind.runner not in names
    ]
    if problems:
        raise TopologyError(problems)
