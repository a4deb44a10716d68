"""A topology file to a Topology, or to everything that is wrong with it.

The sections that are no tiers are read here; what each holds is checked in its own module."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any, Final

from emu.extensions import ExtensionError
from emu.machine.units import shown
from emu.model import expectations as expecting
from emu.model.kinds import known_kinds
from emu.model.problems import Problem, TopologyError, hint
from emu.model.shaping import (
    DeclaredLink,
    LinkDefaults,
    LinkOptions,
    LinkPlan,
    Outside,
)
from emu.model.topology import MAX_NODES, FaultItem, Tier, Topology, check_runners
from emu.model.vocabulary import operations_of, passing, verbs_of
from emu.topology import document as documents
from emu.topology import schema, shipped
from emu.topology import settings as changing
from emu.topology.document import Document, Path
from emu.topology.lint import codes
from emu.topology.tiers import (
    COMMON_KEYS,
    MAX_NAME,
    MAX_TIERS,
    NAME,
    PEOPLE_KEYS,
    RESERVED,
    TierReader,
    role_words,
)
from emu.topology.timelines import FaultReader, growing
from nodes.base import OUTSIDE
from nodes.kind import Kind
from nodes.operations import Operation

SECTIONS: Final = {
    "name": "What the cluster is called: `name: shop`. The file's own name if not said.",
    "seed": "Of all that is random: `seed: 7`.",
    "regions": "Places, between which links may be long: `regions: [us, eu]`.",
    "links": "How far machines are apart: `links: {defaults: {within: 0.3ms}, us <-> eu: 40ms}`.",
    "tiers": "Machines of one kind each: `tiers: {web: {kind: web, public: true}}`.",
    "outside": "Where curl and browsers come from: `outside: {region: eu}`.",
    "faults": "What breaks, and when: `faults: [{at: 10s, kill: web-1, for: 5s}]`.",
    "expect": "What the run is judged by: `expect: [availability >= 99%]`.",
    "healing": "Whether who fails is started again, and spares replace the dead: `healing: off`.",
    "accepts": "Warnings that are meant to be, and why: `accepts: {single-point db: a lesson}`.",
}
"""Section → what it is for, with an example."""
DEFAULT_REGION: Final = "local"
ARROW: Final = re.compile(r"\s*(\S+)\s+(->|<->)\s+(\S+)\s*")
MAX_ITEMS: Final = 10_000
HEALING: Final[Mapping[Any, bool]] = {"on": True, "off": False, True: True, False: False}
"""What YAML makes of `on` and `off`, by either of its versions."""


@dataclass(frozen=True, slots=True)
class OutsideOptions:
    """Where clients that are no nodes (curl, dig, a browser) are, and their access line."""

    region: str = ""
    """Where they are, so that links between regions count: `region: eu-west`."""
    link: LinkOptions | None = None
    """Their access line, on top of that: `link: {latency: 50ms}`."""


def load(
    path: str | FilePath,
    *,
    kinds: Mapping[str, Kind] | None = None,
    runners: Collection[str] = (),
    settings: Collection[str] = (),
) -> Topology:
    """Read a file, or a topology that ships (`04`). Raises TopologyError with every problem,
    OSError if it cannot be read.

    `runners`: who may run nodes beside emu's own process, where a kind asks for one. `settings`:
    what is to be otherwise than in the file, as `db.ack=async`.
    """
    path = shipped.find(path)
    with open(path, "rb") as file:
        data = file.read(documents.MAX_FILE_BYTES + 1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        problem = Problem(line, column, str(path), "not UTF-8 text; save it as UTF-8")
        raise TopologyError([problem]) from None
    return loads(text, path=path, kinds=kinds, runners=runners, settings=settings)


def loads(
    text: str,
    *,
    path: str | FilePath = "topology.yaml",
    kinds: Mapping[str, Kind] | None = None,
    runners: Collection[str] = (),
    settings: Collection[str] = (),
) -> Topology:
    """Read a text as if it stood in `path`. Raises TopologyError with every problem."""
    document = documents.read(text, str(path))
    if kinds is None:
        kinds = _known_kinds(path)
    unreadable = bool(document.problems) and document.data is None
    loader = _Loader(document, FilePath(path), kinds)
    if settings and not unreadable:
        changing.change(document, settings, loader.sections)
    topology = None if unreadable else loader.topology()
    if document.problems or topology is None:
        raise TopologyError(document.problems)
    check_runners(topology, runners)
    return topology


def _known_kinds(path: str | FilePath) -> Mapping[str, Kind]:
    try:
        return known_kinds()
    except ExtensionError as error:
        raise TopologyError([Problem(1, 1, str(path), str(error))]) from error


class _Loader:
    """Reads one document section by section; each method notes problems and goes on."""

    def __init__(
        self,
        document: Document,
        path: FilePath,
        kinds: Mapping[str, Kind],
    ) -> None:
        self.document = document
        self.path = path
        self.kinds = kinds
        self.data: dict[str, Any] = {}

    def topology(self) -> Topology | None:
        if not isinstance(self.document.data, dict):
            got = shown(self.document.data)
            self.document.problem((), f"a topology is a mapping, not {got}; begin with `tiers:`")
            return None
        self.data = self.document.data
        self.document.known_keys((), self.data, self.sections)
        regions = self._regions()
        reader = TierReader(self.document, self.kinds, regions, self.path.resolve().parent)
        self._tiers(reader)
        for section, word in self._people().items():
            self._come_from_outside(reader, section, word)
        reader.connect()
        tiers = tuple(self._left_alone(self._crowded(reader)))
        self._check_node_names(reader)
        ends = [*regions, *reader.tiers, *reader.broken, *reader.groups, OUTSIDE]
        ends += [name for tier in tiers for name in tier.node_names]
        return Topology(
            name=self._name(),
            seed=self._seed(),
            regions=regions,
            tiers=tiers,
            links=self._links(regions, ends, reader.groups),
            outside=self._outside(regions),
            faults=self._faults(reader),
            expect=self._expect(),
            accepts=self._accepts(ends, tiers),
            path=str(self.path),
            code=tuple(reader.code_files),
        )

    @property
    def sections(self) -> list[str]:
        """What a file may have at its top."""
        return [*SECTIONS, *self._people()]

    # --- small sections ----------------------------------------------------------------------

    def _name(self) -> str:
        stem = re.sub(r"[^a-z0-9]+", "-", self.path.stem.lower()).strip("-")[:MAX_NAME]
        name = self.data.get("name", stem or "topology")
        if isinstance(name, str) and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name[:200]):
            if len(name) <= MAX_NAME:
                return name
            self.document.problem(("name",), f"`name` is longer than {MAX_NAME}; shorten it")
            return ""
        self.document.problem(
            ("name",), f"`name`: {shown(name)} is no name; write lower-case letters, digits and "
            "single dashes")  # fmt: skip
        return ""

    def _seed(self) -> int:
        seed = self.data.get("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            self.document.problem(("seed",), f"`seed`: {shown(seed)}; write a whole number from 0")
            return 0
        return seed

    def _regions(self) -> tuple[str, ...]:
        found = self.data.get("regions", [DEFAULT_REGION])
        if not isinstance(found, list) or not found:
            self.document.problem(
                ("regions",), f"`regions` is a list, not {shown(found)}; write [us-east, eu-west]"
                if found != [] else "`regions` is empty; name one or leave it out")  # fmt: skip
            return (DEFAULT_REGION,)
        good: dict[str, None] = {}
        for index, region in enumerate(found[:MAX_TIERS]):
            place: Path = ("regions", index)
            if not isinstance(region, str) or not NAME.fullmatch(region[:200]):
                self.document.problem(place, f"{shown(region)} is no region's name; write us-east")
            elif region in {*RESERVED, *role_words()} or len(region) > MAX_NAME:
                self.document.problem(place, f"{shown(region)} is reserved or too long; rename it")
            elif region in good:
                self.document.problem(place, f"region `{region}` is named twice; remove one")
            else:
                good[region] = None
        return tuple(good) or (DEFAULT_REGION,)

    def _mapping(self, section: str, example: str) -> dict[str, Any]:
        found = self.data.get(section)
        if isinstance(found, dict):
            return found
        if section in self.data:
            message = f"`{section}` is a mapping, not {shown(found)}; write {example}"
            self.document.problem((section,), message)
        return {}

    def _list(self, section: str, example: str) -> list[Any]:
        found = self.data.get(section)
        if isinstance(found, list):
            if len(found) > MAX_ITEMS:
                self.document.problem((section,), f"more than {MAX_ITEMS} items; split the file")
            return found[:MAX_ITEMS]
        if section in self.data:
            message = f"`{section}` is a list, not {shown(found)}; write {example}"
            self.document.problem((section,), message)
        return []

    def _accepts(self, ends: list[str], tiers: Sequence[Tier]) -> dict[str, str]:
        found = self._mapping("accepts", "{single-point: why that is meant to be}")
        kinds = [*self.kinds.values(), *(tier.kind for tier in tiers)]
        for key, why in found.items():
            words = key.split()
            known = codes(kinds)
            if not words or words[0] not in known or len(words) > 2:
                message = f"no warning is called `{key[:40]}`; {hint(key, known)}"
                self.document.problem(("accepts", key), message, at_key=True)
            elif len(words) == 2 and words[1] not in ends:
                message = f"there is no tier `{words[1][:40]}`; {hint(words[1], ends)}"
                self.document.problem(("accepts", key), message, at_key=True)
            if not isinstance(why, str) or not why.strip():
                self.document.problem(("accepts", key), f"`{key[:40]}`: write why it is accepted")
        return {key: why for key, why in found.items() if isinstance(why, str)}

    # --- tiers, and who comes from outside ----------------------------------------------------

    def _tiers(self, reader: TierReader) -> None:
        tiers = self._mapping("tiers", "{web: {kind: web}}")
        if not tiers and ("tiers" not in self.data or self.data["tiers"] == {}):
            self.document.problem((), "a topology needs `tiers`; add `tiers: {web: {kind: web}}`")
        if len(tiers) > MAX_TIERS:
            self.document.problem(("tiers",), f"more than {MAX_TIERS} tiers; use fewer")
            return
        for name, value in tiers.items():
            reader.read(("tiers", name), name, value)

    def _people(self) -> dict[str, str]:
        """Sections of people who come from each region → their kind."""
        return {kind.outside: word for word, kind in self.kinds.items() if kind.outside}

    def _come_from_outside(self, reader: TierReader, section: str, word: str) -> None:
        for region, options in self._mapping(section, "{us-east: {rate: 10/s, ...}}").items():
            place: Path = (section, region)
            if region not in reader.regions:
                known = hint(region, reader.regions)
                message = f"{section} come from a region; there is no `{region[:40]}`; {known}"
                self.document.problem(place, message, at_key=True)
                continue
            if not isinstance(options, dict):
                message = f"{section} are a mapping, not {shown(options)}; write {{rate: 10/s}}"
                self.document.problem(place, message)
                continue
            for key in options:
                if key in COMMON_KEYS and key not in PEOPLE_KEYS:
                    message = f"`{key}` does not belong to {section}; remove it"
                    self.document.problem((*place, key), message, at_key=True)
            value = {**options, "kind": word, "regions": [region]}
            name = f"{section}-{region}"[:MAX_NAME]
            reader.read(place, name, value, common_keys=PEOPLE_KEYS)

    def _crowded(self, reader: TierReader) -> Iterator[Tier]:
        """The tiers, with what each request stands for where people are a sample."""
        shares = {
            tier.name: tier.kind.sampled(tier.config)
            for tier in reader.tiers.values()
            if tier.kind.sampled is not None
        }
        share = min(shares.values(), default=1.0)
        for name, other in shares.items():
            if other != share:
                message = f"`sample` is {share:.4g} elsewhere; all people of a file sample alike"
                self.document.problem((*reader.places[name], "sample"), message)
        for tier in reader.tiers.values():
            if share < 1 and not tier.kind.clients:
                for option in tier.cpu.not_of_crowds():
                    message = f"`{option}` is for requests that are all there, and people are a "
                    message += "`sample` of all: these a cpu serves in turn; leave one of them out"
                    place = (*reader.places[tier.name], "cpu", option)
                    self.document.problem(place, message, at_key=True)
                tier = replace(tier, cpu=replace(tier.cpu, stands_for=1 / share))
            yield tier

    def _left_alone(self, tiers: Iterable[Tier]) -> Iterator[Tier]:
        """The tiers; with `healing: off` none mends itself."""
        said = self.data.get("healing", "on")
        healing = HEALING.get(said) if isinstance(said, str | bool) else None
        if healing is None:
            self.document.problem(("healing",), f"`healing` is on or off, not {shown(said)}")
        for tier in tiers:
            if healing is not False:
                yield tier
            else:
                config = replace(tier.config, **tier.kind.mends) if tier.kind.mends else tier.config
                yield replace(tier, restart="no", config=config)

    def _check_node_names(self, reader: TierReader) -> None:
        total = sum(len(tier.members) for tier in reader.tiers.values())
        if total > MAX_NODES:
            self.document.problem(("tiers",), f"{total} nodes; a cluster has at most {MAX_NODES}")
        for tier in reader.tiers.values():
            for name in tier.node_names:
                if name in reader.tiers or name in reader.regions:
                    message = f"tier `{tier.name}` has a node `{name}`, and a tier or region is "
                    message += "called so too; rename one"
                    self.document.problem(reader.places[tier.name], message, at_key=True)

    # --- links -------------------------------------------------------------------------------

    def _links(
        self, regions: tuple[str, ...], ends: list[str], groups: Mapping[str, list[str]]
    ) -> LinkPlan:
        found = self._mapping("links", "{defaults: {within: 0.3ms, between: 40ms}}")
        defaults = LinkDefaults()
        declared: list[DeclaredLink] = []
        for key, value in found.items():
            place: Path = ("links", key)
            if key == "defaults":
                built = schema.build(self.document, place, value, LinkDefaults, "`defaults`")
                defaults = built or defaults
                continue
            options = self._link_options(place, value)
            arrow = ARROW.fullmatch(key)
            if arrow is None:
                message = f"`{key[:60]}` is no link; write `a -> b`, `a <-> b` or `defaults`"
                self.document.problem(place, message, at_key=True)
                continue
            pairs = [(arrow[1], arrow[3])] if arrow[2] == "->" else [
                (arrow[1], arrow[3]), (arrow[3], arrow[1])]  # fmt: skip
            if self._known_ends(place, pairs[0], ends) and options is not None:
                made = [
                    DeclaredLink(source, target, options)
                    for first, second in dict.fromkeys(pairs)
                    for source in groups.get(first, [first])
                    for target in groups.get(second, [second])
                ]
                self._check_twice(place, declared, made)
                declared += made
        return LinkPlan(defaults, tuple(declared))

    def _link_options(self, place: Path, value: Any) -> LinkOptions | None:
        if not isinstance(value, dict):  # `a -> b: 40ms`
            self.document.values[(*place, "latency")] = self.document.position(place)
            value = {"latency": value}
        options: LinkOptions | None = schema.build(
            self.document, place, value, LinkOptions, "a link"
        )
        return options

    def _known_ends(self, place: Path, pair: tuple[str, str], ends: list[str]) -> bool:
        unknown = [end for end in pair if end not in ends]
        for end in unknown:
            message = f"a link's end `{end[:40]}` is no region, tier or node; {hint(end, ends)}"
            self.document.problem(place, message, at_key=True)
        return not unknown

    def _check_twice(
        self, place: Path, declared: list[DeclaredLink], made: list[DeclaredLink]
    ) -> None:
        seen = {(link.source, link.target): None for link in declared}
        for link in made:
            if (link.source, link.target) in seen:
                message = f"the link {link.source} -> {link.target} is declared twice; keep one"
                self.document.problem(place, message, at_key=True)

    def _outside(self, regions: tuple[str, ...]) -> Outside:
        if "outside" not in self.data:
            return Outside()
        place: Path = ("outside",)
        value = self.data["outside"]
        options = schema.build(self.document, place, value, OutsideOptions, "`outside`")
        region = value.get("region") if isinstance(value, dict) else None
        if isinstance(region, str) and region not in regions:
            message = f"unknown region `{region[:40]}`; {hint(region, regions)}"
            self.document.problem((*place, "region"), message)
        if options is None:
            return Outside()
        return Outside(options.region, options.link or LinkOptions())

    # --- faults and expectations -------------------------------------------------------------

    def _faults(self, tiers: TierReader) -> tuple[FaultItem, ...]:
        kinds = self.kinds.values() if tiers.broken else [t.kind for t in tiers.tiers.values()]
        operations = self._operations(tiers)
        reader = FaultReader(
            self.document,
            verbs_of(operations),
            tuple(tiers.tiers.values()),
            tiers.regions,
            tuple(tiers.groups),
            roles=[role for kind in kinds for role in kind.roles],
            passing=passing(operations),
            operations=operations,
            broken=tuple(tiers.broken),
        )
        listed = self._list("faults", "[{at: 10s, kill: web-1}]")
        reader.growing = growing(listed, reader.tiers)
        items = [reader.read(("faults", index), value) for index, value in enumerate(listed)]
        return tuple(item for item in items if item is not None)

    def _operations(self, tiers: TierReader) -> dict[str, Operation]:
        """What the kinds bring: also kinds that this file alone loads."""
        kinds = (*self.kinds.values(), *(tier.kind for tier in tiers.tiers.values()))
        try:
            return operations_of(kinds)
        except ExtensionError as error:
            self.document.problem((), str(error))
            return {}

    def _expect(self) -> tuple[expecting.Expected, ...]:
        found = []
        for index, line in enumerate(self._list("expect", "[availability >= 99%]")):
            try:
                if not isinstance(line, str):
                    raise ValueError(f"an expectation is text, not {shown(line)}; "
                                     "write `availability >= 99%`")  # fmt: skip
                found.append(expecting.parse(line))
            except ValueError as error:
                self.document.problem(("expect", index), str(error))
        return tuple(found)
