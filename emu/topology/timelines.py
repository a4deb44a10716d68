"""The `faults:` of a file: each item's time, its one verb with that verb's options, its `for:`.

Verbs are the dataclasses of emu/model/faults.py; which words mean which nodes is the business of
emu/running/targets.py, checked here as far as it can be before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from emu.machine.units import shown
from emu.model.faults import OF_LINKS, PASSING, Fault, Scale
from emu.model.problems import hint
from emu.model.topology import FaultItem, Tier
from emu.running.targets import CHOICES, NO_NODE, OUTSIDE, REGION
from emu.topology import schema
from emu.topology.document import Document, Path
from nodes.operations import Operation
from protocols.control import SCALE

WHEN_KEYS: Final = ("at", "on", "since", "after", "for")
TARGET_FIELDS: Final = ("target", "between", "to", "tier")
EXAMPLE: Final = "write for example {at: 10s, kill: web-1}"


@dataclass(frozen=True, slots=True)
class When:
    """When an item fires and is undone."""

    at_s: float | None = None
    """So long after the cluster is up: `at: 10s`."""
    on: str = ""
    """When this happens next: an event's name, with dashes: `on: promoted`."""
    since_s: float = 0.0
    """With `on`: what happens sooner after the cluster is up does not count: `since: 3s`."""
    after_s: float = 0.0
    """With `on`: so long after the event."""
    for_s: float | None = None
    """Undone after so long: `for: 5s`."""


def growing(listed: Iterable[Any], tiers: Iterable[Tier]) -> tuple[str, ...]:
    """The tiers that these faults, as they stand in the file, or that other tiers may scale."""
    said = [each[Scale.verb] for each in listed if isinstance(each, dict) and Scale.verb in each]
    found = [str(each.get(Scale.main) if isinstance(each, dict) else each) for each in said]
    for tier in tiers:
        for edge in tier.kind.edge_records:
            if SCALE in edge.rights:
                value = getattr(tier.config, edge.field)
                found += [value] if isinstance(value, str) else value
    return tuple(found)


@dataclass(slots=True)
class FaultReader:
    """Reads the items of a timeline, noting problems in the document."""

    document: Document
    verbs: Mapping[str, type[Fault]]
    tiers: Sequence[Tier]
    regions: Sequence[str]
    groups: Sequence[str] = ()
    roles: Sequence[str] = ()
    passing: Sequence[str] = PASSING
    """Verbs that leave nothing to undo."""
    operations: Mapping[str, Operation] = field(default_factory=dict)
    """What can be done to nodes of some kinds only, by verb."""
    broken: Sequence[str] = ()
    """Declared tiers with mistakes: what they would have brought is not known."""
    growing: Sequence[str] = ()
    """Tiers that somebody may scale: a node of theirs may come that the file does not have."""

    def read(self, place: Path, value: Any) -> FaultItem | None:
        if not isinstance(value, dict):
            message = f"a fault is a mapping, not {shown(value)}; {EXAMPLE}"
            self.document.problem(place, message)
            return None
        when = self._when(place, value)
        fault = self._fault(place, value)
        if when is None or fault is None:
            return None
        line = self.document.position(place).line
        at_s = when.after_s if when.on else when.at_s
        return FaultItem(fault, at_s, when.on, when.for_s, line, when.since_s)

    def _when(self, place: Path, value: dict[str, Any]) -> When | None:
        said = {key: each for key, each in value.items() if key in WHEN_KEYS}
        when: When | None = schema.build(self.document, place, said, When, "a fault")
        if "at" in said and "on" in said:
            message = "a fault has both `at` and `on`; keep one"
            self.document.problem((*place, "on"), message, at_key=True)
            return None
        if "at" not in said and "on" not in said:
            message = "a fault has no time; add `at: 10s`, or `on: event` and `after: 1s`"
            self.document.problem(place, message)
            return None
        for key in ("after", "since"):
            if key in said and "on" not in said:
                message = f"`{key}` is about an event; write `at`, or add `on: event`"
                self.document.problem((*place, key), message, at_key=True)
                return None
        return when

    def _fault(self, place: Path, value: dict[str, Any]) -> Fault | None:
        found = [key for key in value if key in self.verbs]
        if len(found) != 1:
            self._complain_of_verbs(place, value, found)
            return None
        verb = found[0]
        kind = self.verbs[verb]
        main = next(
            key for key, each in schema.keys_of(kind).items() if each.name == kind.main
        )  # fmt: skip
        options = {key: each for key, each in value.items() if key not in (*WHEN_KEYS, verb)}
        if isinstance(value[verb], dict):
            self.document.known_keys(place, options, [*WHEN_KEYS, verb])
            where = (*place, verb)
            options = value[verb]
        else:
            where = place
            options = {**options, main: value[verb]}
            for key, at in list(self.document.values.items()):
                if key[: len(place) + 1] == (*place, verb):  # errors in it are shown where it is
                    self.document.values[(*place, main, *key[len(place) + 1 :])] = at
        fault: Fault | None = schema.build(
            self.document, where, options, kind, f"`{verb}`", also=WHEN_KEYS
        )
        if fault is not None:
            self._check_targets(where, verb, fault)
            self._check_able(where, verb, fault)
        if "for" in value and verb in self.passing:
            message = f"`{verb}` leaves nothing that could be undone; remove `for`"
            self.document.problem((*place, "for"), message, at_key=True)
        return fault

    def _complain_of_verbs(self, place: Path, value: dict[str, Any], found: list[str]) -> None:
        if found:
            both = " and ".join(f"`{verb}`" for verb in found)
            message = f"one fault does one thing, not {both}; make them two items"
            self.document.problem((*place, found[1]), message, at_key=True)
            return
        others = [key for key in value if key not in WHEN_KEYS]
        if others:
            message = f"unknown verb `{others[0][:40]}`; {hint(others[0], self.verbs, most=30)}"
            self.document.problem((*place, others[0]), message, at_key=True)
        else:
            self.document.problem(place, f"a fault without a verb; {EXAMPLE}")

    # --- targets -----------------------------------------------------------------------------

    def _check_targets(self, where: Path, verb: str, fault: Fault) -> None:
        for name in TARGET_FIELDS:
            value = getattr(fault, name, None)
            texts = [value] if isinstance(value, str) else value if type(value) is tuple else ()
            for index, text in enumerate(texts):
                at = (*where, name, index)
                for word in text.replace(",", " ").split():
                    self._check_word(at, verb, word)
                if not text.strip(" ,"):
                    self.document.problem(at, f"`{verb}` of nothing; name a node, tier or region")
        between = getattr(fault, "between", None)
        if between is not None and len(between) not in (1, 2):
            self.document.problem(
                (*where, "between"), f"`{verb}` cuts two groups apart, not {len(between)}; "
                "write [first, second], several nodes as `web-1,web-2`")  # fmt: skip

    def _check_able(self, where: Path, verb: str, fault: Fault) -> None:
        """Whether what is meant by its name is what this can be done to."""
        operation = self.operations.get(verb)
        if operation is None or fault.main not in TARGET_FIELDS:
            return
        able = [each for each in self.tiers if operation in each.kind.operations]
        for word in str(getattr(fault, fault.main)).replace(",", " ").split():
            meant = [
                each for each in self.tiers if word in (each.name, each.group, *each.node_names)
            ]
            if meant and not any(each in able for each in meant):
                names = ((operation.of_group and each.group) or each.name for each in able)
                there = ", ".join(dict.fromkeys(names)) or "none"
                what = f"`{verb}`: `{word[:40]}` is no {operation.of}; there is: {there}"
                self.document.problem((*where, fault.main, 0), what)

    def _check_word(self, at: Path, verb: str, word: str) -> None:
        if any(sign in word for sign in "*?["):
            return
        if word == OUTSIDE and verb not in OF_LINKS:
            self.document.problem(at, f"`{verb}`: {NO_NODE}")
            return
        if any(word == name or word.startswith(f"{name}-") for name in self.broken):
            return
        known = self._words()
        if word in known:
            return
        tier, _, number = word.rpartition("-")
        members = {each.name: len(each.node_names) for each in self.tiers}
        if number.isdigit() and tier in members and tier not in self.growing:
            there = f"`{tier}` has {members[tier]} nodes, and nothing here scales it"
            self.document.problem(at, f"`{verb}`: there is no `{word[:40]}`; {there}")
            return
        if number.isdigit() and tier in known:
            return
        self.document.problem(at, f"`{verb}`: nothing is called `{word[:40]}`; {hint(word, known)}")

    def _words(self) -> dict[str, None]:
        words = [*(tier.name for tier in self.tiers), *self.broken]
        words += [*self.groups, *self.regions, "all", OUTSIDE]
        words += [name for tier in self.tiers for name in tier.node_names[:100]]
        return dict.fromkeys([*words, *self.roles, *CHOICES, REGION])
