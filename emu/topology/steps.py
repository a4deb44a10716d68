"""The story in steps: the numbered topologies that ship, and what each adds to the one before.

Told from the files alone: their first line is the title, what they add is what differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from emu.topology import document as documents
from emu.topology import shipped

NUMBERED: Final = re.compile(r"(\d\d)-.+")
TITLE: Final = re.compile(r"#\s*\d+\.\s*(.+)")
TEACHES: Final = "What it teaches:"
QUIET: Final = ("kind", "nodes", "per_region")
"""Options that are told in words of their own, or go without saying."""


@dataclass(frozen=True, slots=True)
class Step:
    """One of them. `adds`: against the step before, a phrase each."""

    number: str
    name: str
    title: str
    teaches: str
    adds: tuple[str, ...]
    kinds: frozenset[str]
    """Of its tiers, as the file has them."""


def steps() -> list[Step]:
    """All that ship, in the story's order."""
    found: list[Step] = []
    before: dict[str, dict[str, Any]] = {}
    for name in shipped.names():
        match = NUMBERED.fullmatch(name)
        if match is None:
            continue
        text = (shipped.FOLDER / f"{name}{shipped.SUFFIX}").read_text(encoding="utf-8")
        tiers = _tiers(text)
        adds = tuple(_differences(before, tiers))
        kinds = frozenset(str(each.get("kind")) for each in tiers.values())
        found.append(Step(match[1], name, _title(text), _teaches(text), adds, kinds))
        before = tiers
    return found


def _tiers(text: str) -> dict[str, dict[str, Any]]:
    data = documents.read(text, "").data
    tiers: dict[str, dict[str, Any]] = data["tiers"]
    return tiers


def _title(text: str) -> str:
    match = TITLE.match(text)
    return match[1].rstrip(".") if match else ""


def _teaches(text: str) -> str:
    """The paragraph of its header that says so, on one line."""
    paragraph = text.partition(TEACHES)[2].partition("\n#\n")[0]
    return " ".join(line.lstrip("# ") for line in paragraph.splitlines()).strip()


def _differences(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """What comes, what goes, what changes: tiers first, then their options."""
    for name, options in after.items():
        if name not in before:
            yield f"+ {_members(options)}{_called(name, options.get('kind', '?'))}"
    for name in before:
        if name not in after:
            yield f"- `{name}`"
    for name, options in after.items():
        if name in before:
            yield from _changes(name, before[name], options)


def _called(name: str, kind: str) -> str:
    return kind if name in (kind, f"{kind}s") else f"{kind} `{name}`"


def _members(options: Mapping[str, Any]) -> str:
    nodes = options.get("nodes", 1)
    return f"{nodes} × " if isinstance(nodes, int) and nodes > 1 else ""


def _count(options: Mapping[str, Any]) -> str:
    """Of its members: `12`, `2 in each region`, `us-east 2, us-west 1`."""
    if "per_region" in options:
        return f"{options['per_region']} in each region"
    nodes = options.get("nodes", 1)
    if isinstance(nodes, dict):
        return ", ".join(f"{region} {count}" for region, count in nodes.items())
    return str(nodes)


def _changes(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    if before.get("kind") != after.get("kind"):
        yield f"`{name}` is a {after.get('kind')}, not a {before.get('kind')}"
    was, now = _count(before), _count(after)
    if was != now:
        yield f"`{name}`: {was} → {now}"
    for option, value in after.items():
        if option not in QUIET and before.get(option) != value:
            yield f"{name}.{option}: {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_shown(each)}' for key, each in value.items())}}}"
    return str(value)
