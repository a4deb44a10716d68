"""The `tiers:` and `users:` of a file: kinds, common options, members, and the edges between them.

What a tier itself may be told is its Config's business (schema.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path as FilePath
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from emu.machine.units import check_drift, shown
from emu.machine.world import ClockSpec, CpuSpec, DiskSpec, LogSpec
from emu.model.kinds import known_kinds
from emu.model.problems import hint
from emu.model.shaping import Access
from emu.model.topology import MAX_NODES, Tier
from emu.topology import code, schema, times
from emu.topology.document import Document, Path
from nodes.kind import Edge, Kind, TierSeen

MAX_TIERS: Final = 1_000
NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME: Final = 40
"""Names are DNS labels with room for a number."""
RESERVED: Final = ("all", "one", "two", "three", "minority", "majority", "half", "outside",
                   "region", "directory", "emu", "defaults")  # fmt: skip
"""Words that targets, links or the network use."""


@cache
def role_words() -> frozenset[str]:
    """What members may be called by their role (`db primary`), so that nothing else is."""
    kinds = known_kinds().values()
    leaders = {kind.leader.role for kind in kinds if kind.leader is not None}
    return frozenset(leaders.union(*(kind.roles for kind in kinds)))


@dataclass(frozen=True, slots=True)
class CpuOptions:
    """The emulated processor of each member."""

    cores: int = 1
    """How many requests are worked on at a time."""
    service_time_s: float = 0.0
    """What a request costs where the tier itself names no cost: `service_time: 5ms`."""
    max_queue: int = 1024
    """Requests that wait for a core; further ones are refused."""
    order: Literal["fifo", "lifo"] = "fifo"
    """Who is next: who came first, or last. A full queue refuses whoever comes; with `lifo` it
    drops who has waited longest, and is about to give up anyway."""
    limit: Literal["static", "gradient"] = "static"
    """static: `max_queue` alone. gradient: so few are let in that none waits much longer than
    usual; the limit finds itself."""
    drop_expired: bool = True
    """Whether a request whose time is over is dropped when its turn comes; else it is worked on."""
    drop_abandoned: bool = True
    """Whether a request whose client has left is dropped, too; else it is worked on for nobody."""
    shed_wait_s: float = 0.0
    """Above 0: while requests wait longer than this for a core, on average, the least urgent ones
    are refused (`urgency` of users and clients; HTTP's `Priority: u=0` to `u=7`), and a full queue,
    or one at its limit, makes room for who is more urgent: `shed_wait: 20ms`."""

    def __post_init__(self) -> None:
        if self.shed_wait_s < 0:
            raise ValueError("`shed_wait` must not be below 0")
        if self.cores < 1:
            raise ValueError("`cores` must be at least 1; leave `cpu` out to charge nothing")


@dataclass(frozen=True, slots=True)
class DiskOptions:
    """The emulated disk of each member."""

    sync: Literal["modelled", "real"] = "modelled"
    """modelled: a sync takes `sync_latency`. real: it is one of the laptop's own disk."""
    sync_latency_s: float = DiskSpec().sync_latency_s
    """What a sync costs, beside its bytes."""
    read_latency_s: float = DiskSpec().read_latency_s
    """What a read costs, beside its bytes."""
    bandwidth_bytes_per_s: float = DiskSpec().bandwidth_bytes_per_s
    """How fast bytes come and go."""
    capacity_bytes: int = DiskSpec().capacity_bytes
    """When it is full, writes fail."""

    def __post_init__(self) -> None:
        if self.bandwidth_bytes_per_s <= 0 or self.capacity_bytes <= 0:
            raise ValueError("`bandwidth` and `capacity` of a disk must be above 0")


@dataclass(frozen=True, slots=True)
class ClockOptions:
    """How far each member's clock is off."""

    offset_s: float = 0.0
    """How far its wall clock is ahead (below 0: behind) at the start."""
    drift_ratio: float = 0.0
    """How much faster (below 0: slower) it runs: 0.1% gains a millisecond a second."""

    def __post_init__(self) -> None:
        check_drift(self.drift_ratio)


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which requests each member tells of: `emu logs`."""

    sample_ratio: float = LogSpec().sample_ratio
    """The share of all requests, the same ones at every tier: `sample: 10%`."""
    slow_s: float = LogSpec().slow_s
    """All that take as long as this: `slow: 200ms`."""


@dataclass(frozen=True, slots=True)
class TierOptions:
    """What every tier may be told, whatever its kind."""

    kind: str
    """What its members are, `kind: web`: a word of `emu explain kind`, or `module:Class` for a node
    of your own."""
    public: bool = False
    """Whether clients from outside and users may dial it."""
    nodes: int | dict[str, int] | None = None
    """How many, spread over its regions in turn, or how many in which region: `nodes: {us: 2}`.
    1 if not said."""
    per_region: int | None = None
    """How many in each of its regions: `per_region: 2`."""
    regions: tuple[str, ...] = ()
    """Where it runs and grows, everywhere if not said: `regions: [us]`."""
    cpu: CpuOptions | None = None
    """Without it nothing is charged: `cpu: {cores: 1, service_time: 5ms}`."""
    disk: DiskOptions = field(default_factory=DiskOptions)
    """What each member's disk can do: `disk: {sync_latency: 5ms}`."""
    clock: ClockOptions = field(default_factory=ClockOptions)
    """How wrong each member's clock is: `clock: {offset: 200ms}`."""
    access: Access | None = None
    """The line of each member to all others, on top of `links`: `access: 4g` (50 ms, 20 Mbit and
    0.1 % of packets lost, each way), 3g (100 ms, 2 Mbit, 0.5 %), satellite (600 ms, 10 Mbit, 0.5 %)
    or local (0.1 ms, 1 Gbit)."""
    logs: LogOptions = field(default_factory=LogOptions)
    """Which requests `emu logs` has lines of: `logs: {sample: 10%, slow: 200ms}`."""
    restart: Literal["no", "on-failure"] = "no"
    """Whether a node that raised is started again, with backoff. One that was killed, crashed or
    stopped stays down until it is started, or healed."""
    boot_time_s: float = 0.0
    """What a machine takes that scaling adds, until its program starts: `boot_time: 20s`."""


COMMON_KEYS: Final = tuple(schema.keys_of(TierOptions))
PEOPLE_KEYS: Final = ("nodes", "cpu", "disk", "clock", "logs", "restart")
"""Those that people may be told, too: who they are and where, their section says."""


@dataclass(frozen=True, slots=True)
class BrokenTier:
    """What can still be checked of a tier with mistakes: the tiers that its edges name."""

    place: Path
    kind: Kind | None = None
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class TierReader:
    """Reads tiers into `tiers`, noting problems in the document."""

    document: Document
    kinds: Mapping[str, Kind]
    regions: tuple[str, ...]
    folder: FilePath
    tiers: dict[str, Tier] = field(default_factory=dict)
    places: dict[str, Path] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    broken: dict[str, BrokenTier] = field(default_factory=dict)
    """Tiers that were declared but did not come to be: naming them is no second mistake."""
    code_files: dict[str, None] = field(default_factory=dict)

    def read(
        self,
        place: Path,
        name: str,
        value: Any,
        *,
        group: str = "",
        common_keys: tuple[str, ...] = COMMON_KEYS,
    ) -> None:
        """Read one declared tier; a kind that expands becomes several. `common_keys`: those of
        every tier that its section lets it have, for hints."""
        self._check_name(place, name)
        if not isinstance(value, dict):
            self.document.problem(
                place, f"tier `{name}` is a mapping, not {shown(value)}; write {{kind: ...}}"
            )
            self.broken[name] = BrokenTier(place)
            return
        problems_before = len(self.document.problems)
        kind = self._kind(place, name, value)
        common = {key: each for key, each in value.items() if key in COMMON_KEYS}
        own = {key: each for key, each in value.items() if key not in COMMON_KEYS}
        options = schema.build(self.document, place, common, TierOptions, f"tier `{name}`")
        members = self._members(place, name, options) if options is not None else None
        config = None
        if kind is not None:
            self._import_code(place, kind, own)
            what = f"a {value['kind']} tier"
            config = schema.build(self.document, place, own, kind.config, what, also=common_keys)
            times.check(self.document, place, config)
        if kind is None or options is None or config is None or members is None:
            self.broken[name] = BrokenTier(place, kind, own)
            return
        if kind.expand is not None:
            self._expand(place, name, kind, value)
            if len(self.document.problems) > problems_before:
                self.broken[name] = BrokenTier(place)
            return
        line, column = self.document.position(place, at_key=True)
        self.places[name] = place
        self.tiers[name] = Tier(
            name=name,
            word=options.kind,
            kind=kind,
            config=config,
            members=members,
            regions=_where(options, self.regions),
            public=options.public,
            cpu=_cpu(options.cpu),
            logs=LogSpec(options.logs.sample_ratio, options.logs.slow_s),
            disk=_disk(options.disk),
            clock=ClockSpec(options.clock.offset_s, options.clock.drift_ratio),
            restart=options.restart,
            boot_time_s=options.boot_time_s,
            group=group,
            access=options.access or "",
            line=line,
            column=column,
        )

    def _check_name(self, place: Path, name: str) -> None:
        if len(name) > MAX_NAME or not NAME.fullmatch(name):
            self.document.problem(
                place, f"`{name[:60]}` is no name; write lower-case letters, digits and single "
                f"dashes, beginning with a letter, at most {MAX_NAME}", at_key=True)  # fmt: skip
        elif name in RESERVED or name in role_words():
            self.document.problem(place, f"`{name}` is a reserved word; rename it", at_key=True)
        elif name in self.regions:
            self.document.problem(
                place, f"`{name}` is a region too; rename one, or targets are ambiguous",
                at_key=True)  # fmt: skip
        elif name in self.tiers:
            self.document.problem(place, f"there is a tier `{name}` already; rename one",
                                  at_key=True)  # fmt: skip

    def _kind(self, place: Path, name: str, value: dict[str, Any]) -> Kind | None:
        word = value.get("kind")
        if "kind" not in value:
            return None  # the common options complain of it
        if not isinstance(word, str):
            return None
        if ":" not in word:
            kind = self.kinds.get(word)
            if kind is None:
                names = hint(word, self.kinds, most=30)
                self.document.problem((*place, "kind"), f"unknown kind `{word[:40]}`; {names}")
            return kind
        try:
            kind, file = code.kind_of(word, self.folder)
        except ValueError as error:
            self.document.problem((*place, "kind"), f"`kind`: {error}")
            return None
        self.code_files[file] = None
        return kind

    def _import_code(self, place: Path, kind: Kind, own: dict[str, Any]) -> None:
        """Import what code fields name, by the rules, before a node looks for it."""
        for key, check in kind.code.items():
            word = own.get(key)
            if not isinstance(word, str) or not word:
                continue
            try:
                found, file = code.load(word, self.folder)
                code.fit(word, found, check)
            except ValueError as error:
                self.document.problem((*place, key), f"`{key}`: {error}")
            else:
                self.code_files[file] = None

    def _expand(self, place: Path, name: str, kind: Kind, value: dict[str, Any]) -> None:
        options = {key: each for key, each in value.items() if key != "kind"}
        assert kind.expand is not None
        try:
            made = kind.expand(name, options)
        except ValueError as error:
            self.document.problem(place, f"tier `{name}`: {error}", at_key=True)
            return
        self.groups[name] = list(made)
        for each, its_options in made.items():
            self.read(place, each, its_options, group=name)

    # --- how many, and where -----------------------------------------------------------------

    def _members(self, place: Path, name: str, options: TierOptions) -> tuple[str, ...] | None:
        """The region of each member, or None with a problem noted."""
        known = [self._region(place, "regions", region) for region in options.regions]
        if options.nodes is not None and options.per_region is not None:
            message = f"tier `{name}` has both `nodes` and `per_region`; keep one"
            self.document.problem((*place, "per_region"), message, at_key=True)
            return None
        where = _where(options, self.regions)
        match options.nodes:
            case dict() as counts:
                known += [self._region(place, "nodes", region) for region in counts]
                wanted = {region: counts.get(region, 0) for region in (*where, *counts)}
            case int() as total:
                share, extra = divmod(total, len(where))
                wanted = {region: share + (i < extra) for i, region in enumerate(where)}
            case None:
                each = options.per_region
                wanted = dict.fromkeys(where, each) if each is not None else {where[0]: 1}
        total = sum(wanted.values())
        if total > MAX_NODES:
            self.document.problem(place, f"tier `{name}` has {total} nodes; at most {MAX_NODES}")
        return _in_turn(wanted) if all(known) and total <= MAX_NODES else None

    def _region(self, place: Path, key: str, region: str) -> bool:
        if region not in self.regions:
            at = (*place, key, region) if key == "nodes" else (*place, key)
            self.document.problem(
                at, f"unknown region `{region[:40]}`; {hint(region, self.regions)}", at_key=True
            )
        return region in self.regions

    # --- edges -------------------------------------------------------------------------------

    def connect(self) -> None:
        """Check the tiers that edges name, and let each tier dial those."""
        for name, broken in self.broken.items():
            for edge in broken.kind.edge_records if broken.kind is not None else ():
                self._reached(name, None, broken.place, edge, broken.own.get(edge.field))
        people_last = sorted(self.tiers.items(), key=lambda each: bool(each[1].kind.outside))
        for name, tier in people_last:  # what they ask may have been told by whom that asks
            dials: dict[str, None] = {}
            groups: dict[str, None] = {}
            rights: dict[tuple[str, str], None] = {}
            outside: dict[tuple[str, int], None] = {}
            seen: dict[str, tuple[TierSeen, ...]] = {}
            for edge in tier.kind.edge_records:
                word, named = edge.field, getattr(tier.config, edge.field)
                named_groups = [each for each in words_of(named) if each in self.groups]
                reached = self._reached(name, tier, self.places[name], edge, named)
                outside |= dict.fromkeys(addresses_of(named) if edge.outside else ())
                groups |= dict.fromkeys(named_groups)
                dials |= dict.fromkeys(reached)
                rights |= dict.fromkeys(product(edge.rights, (*reached, *named_groups)))
                seen[word] = tuple(see(self.tiers[each]) for each in reached if each in self.tiers)
            whole = see(tier, seen, self.regions)
            for mistake in tier.kind.mistakes(whole) if tier.kind.mistakes is not None else ():
                named = words_of(getattr(tier.config, mistake.option, ""))
                if not any(each in self.broken for each in named):  # its own mistakes are told
                    self.document.problem((*self.places[name], mistake.option), mistake.text)
            config = self._joined(whole) if dials else tier.config
            if tier.kind.peers:
                dials[name] = None
            self.tiers[name] = replace(
                tier,
                config=config,
                dials=tuple(dials),
                dials_groups=tuple(groups),
                rights=tuple(rights),
                outside=tuple(outside),
            )

    def _reached(
        self, name: str, tier: Tier | None, place: Path, record: Edge, named: Any
    ) -> tuple[str, ...]:
        """The tiers that an edge names. `tier` is None where it is broken: its words are raw."""
        reached: dict[str, None] = {}
        edge = record.field
        place = (*place, edge)
        for index, word in enumerate(words_of(named)):
            at = (*place, index) if (*place, index) in self.document.values else place
            if record.outside and is_address(word):
                continue
            if word in self.groups:
                reached |= dict.fromkeys(self.groups[word])
            elif word == name:
                self.document.problem(at, f"tier `{word}`: `{edge}` names itself; name another")
            elif word in self.tiers:
                reached[word] = None
                if tier is not None:
                    self._check_reachable(tier, edge, at, self.tiers[word])
            elif word not in self.broken:
                known = hint(word, [*self.tiers, *self.groups, *self.broken])
                self.document.problem(at, f"`{edge}`: there is no tier `{word[:40]}`; {known}")
        return tuple(reached)

    def _joined(self, tier: TierSeen) -> Any:
        """Its config, with what the tiers that it dials bring to it."""
        if tier.kind.joined is None:
            return tier.config
        try:
            return tier.kind.joined(tier)
        except ValueError as error:
            message = str(error)
            key = message.split("`")[1] if message.count("`") > 1 else ""
            self.document.problem((*self.places[tier.name], key), message)
            return tier.config

    def _check_reachable(self, tier: Tier, edge: str, at: Path, target: Tier) -> None:
        people = tier.kind.outside
        if people and not target.public:
            self.document.problem(
                at, f"`{edge}`: {people} reach public tiers only; add `public: true` to "
                f"`{target.name}`, or let them go elsewhere")  # fmt: skip


def see(
    tier: Tier,
    reached: Mapping[str, tuple[TierSeen, ...]] | None = None,
    regions: tuple[str, ...] = (),
) -> TierSeen:
    """The tier as its family's own checks see it."""
    nodes = len(tier.members)
    return TierSeen(
        tier.name, tier.word, tier.config, nodes, tier.public, tier.kind, reached or {}, regions
    )


def words_of(value: Any) -> tuple[str, ...]:
    """The tier names in an edge's value: one, several, the keys of a mapping, or none."""
    if isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, (list, tuple, Mapping)):
        return ()
    return tuple(word for word in value if isinstance(word, str))


def is_address(word: str) -> bool:
    """Whether that is no tier, but a place outside the cluster."""
    return "://" in word


def addresses_of(value: Any) -> list[tuple[str, int]]:
    """The places outside that an edge's value names; its kind has checked how they are written."""
    parts = [urlsplit(word) for word in words_of(value) if is_address(word)]
    return [
        ("127.0.0.1" if each.hostname == "localhost" else str(each.hostname), each.port or 80)
        for each in parts
    ]


def _where(options: TierOptions, regions: tuple[str, ...]) -> tuple[str, ...]:
    if options.regions:
        return options.regions
    if isinstance(options.nodes, dict) and options.nodes:
        return tuple(region for region in regions if region in options.nodes) or regions
    return regions


def _in_turn(wanted: Mapping[str, int]) -> tuple[str, ...]:
    """a, b, a, b ...: so that numbers stay when the same change is made in every region."""
    rounds = range(max(wanted.values(), default=0))
    return tuple(region for turn in rounds for region, count in wanted.items() if count > turn)


def _cpu(options: CpuOptions | None) -> CpuSpec:
    if options is None:
        return CpuSpec()
    return CpuSpec(
        options.cores,
        options.service_time_s,
        options.max_queue,
        order=options.order,
        limit=options.limit,
        drop_expired=options.drop_expired,
        drop_abandoned=options.drop_abandoned,
        shed_wait_s=options.shed_wait_s,
    )


def _disk(options: DiskOptions) -> DiskSpec:
    return DiskSpec(
        options.sync,
        options.sync_latency_s,
        options.read_latency_s,
        options.bandwidth_bytes_per_s,
        options.capacity_bytes,
    )
