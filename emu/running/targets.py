"""Target words: which nodes a fault or a verb means when it fires. Pure. SELECTORS tells them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import NamedTuple

from emu.model.faults import OF_LINKS

CHOICES = {
    "one": "one of them, by chance",
    "two": "two of them, by chance",
    "three": "three of them, by chance",
    "half": "half of them, by chance: 1 of 3, 2 of 4",
    "minority": "so many that the others are a majority, by chance: 1 of 3, 2 of 5",
    "majority": "more than half of them, by chance: 2 of 3, 3 of 5",
}
"""Words before others → how many of what those mean."""
SELECTORS = {
    "web-1": "a node",
    "web*": "nodes by a pattern of their names",
    "lb": "a tier, or a group of tiers",
    "us-east": "what serves in a region; `region us-east`, too",
    "all": "whatever serves",
    "db primary": "by role, as it is just now",
    "web us-east": "a tier's share of a region",
    "one web": f"a random choice: {', '.join(CHOICES)}",
    "web-1,web-2": "several; `lb web`, too",
    "outside": "of links: whoever is no node (curl, dig, a browser)",
}
"""Words → what they mean."""
OUTSIDE = "outside"
REGION = "region"
"""May stand before a region's name, as one says it."""
COUNTS = {"one": 1, "two": 2, "three": 3}
NO_NODE = f"`{OUTSIDE}` is no node; it is for {', '.join(OF_LINKS)}"
MOST_NAMED = 20
"""Tiers, where nothing is called like a word."""


class Candidate(NamedTuple):
    """A node as targets see it. `role` is "" where its tier has none (or it did not answer)."""

    name: str
    tier: str
    kind: str
    region: str
    role: str = ""
    group: str = ""
    asks: bool = False
    """Whether it stands for people, or for what is with them: no machine of a data centre."""


class TargetError(ValueError):
    """The words name nothing; the message says what there is."""


def resolve(
    words: str,
    nodes: Sequence[Candidate],
    rng: random.Random,
    *,
    machines: bool = False,
    links: bool = False,
) -> list[str]:
    """The names of the nodes that `words` mean, in the order of `nodes`. Raises TargetError.

    `machines`: of `all` and of a region only what serves: no fault kills the people out there,
    unless it names them. `links`: their ends are meant, so OUTSIDE may be one.
    """
    chosen: dict[str, None] = {}
    for part in words.split(","):
        meant = _without_region(part.split(), nodes)
        among = [each for each in nodes if not (machines and each.asks and not _named(each, meant))]
        for name in _resolve_one(meant, among, rng):
            chosen[name] = None
    if OUTSIDE in chosen and not links:
        raise TargetError(NO_NODE)
    order = {node.name: place for place, node in enumerate(nodes)}
    return sorted(chosen, key=lambda name: order.get(name, len(order)))


def needs_roles(words: str) -> bool:
    """Whether the members' roles must be asked for before `words` can be resolved."""
    said = ([word for word in part.split() if word != REGION] for part in words.split(","))
    return any(len(part) > 1 for part in said)


def _without_region(words: list[str], nodes: Sequence[Candidate]) -> list[str]:
    """`region us-east` as `us-east`. Raises TargetError where no region's name follows."""
    regions = sorted({node.region for node in nodes if node.region})
    for word, after in zip(words, [*words[1:], ""], strict=False):
        if word == REGION and after not in regions:
            what = f"no region is called `{after}`" if after else "`region` needs a region's name"
            raise TargetError(f"{what}; there are: {', '.join(regions)}")
    return [word for word in words if word != REGION]


def _resolve_one(words: list[str], nodes: Sequence[Candidate], rng: random.Random) -> list[str]:
    if not words:
        raise TargetError("an empty target: name a node, a tier, a region, or `all`")
    first, *rest = words
    if first in CHOICES:
        if not rest:
            raise TargetError(f"`{first}` of what? Say for example `{first} web`")
        among = _resolve_one(rest, nodes, rng)
        return sorted(rng.sample(among, _how_many(first, len(among))), key=among.index)
    found = [node for node in nodes if _matches(first, node)]
    if first == OUTSIDE and not rest:
        return [OUTSIDE]
    if not found:
        raise TargetError(_nothing_named(first, nodes))
    for word in rest:
        narrower = [node for node in found if _matches(word, node) or node.role == word]
        others = [node for node in nodes if word in (node.name, node.tier, node.group)]
        if not narrower and others:
            found += others
            continue
        if not narrower:
            roles = sorted({node.role for node in found if node.role})
            have = f"; roles just now: {', '.join(roles)}" if roles else ""
            raise TargetError(f"no `{word}` in `{' '.join(words)}`{have}")
        found = narrower
    return [node.name for node in found]


def _named(node: Candidate, words: Sequence[str]) -> bool:
    """By a word of its own: its name, a pattern of names, its tier or group."""
    return any(_matches(word, node) for word in words if word not in ("all", node.region))


def _how_many(word: str, size: int) -> int:
    if word in COUNTS:
        return min(COUNTS[word], size)
    if word == "half":
        return max(1, size // 2)
    majority = size // 2 + 1
    return majority if word == "majority" else max(1, size - majority)


def _matches(word: str, node: Candidate) -> bool:
    return word in ("all", node.name, node.tier, node.region, node.group) or (
        any(sign in word for sign in "*?[") and fnmatchcase(node.name, word)
    )


def _nothing_named(word: str, nodes: Sequence[Candidate]) -> str:
    known: Mapping[str, None] = {
        each: None for node in nodes for each in (node.name, node.tier, node.region) if each
    }
    if close := get_close_matches(word, known, n=1):
        return f"nothing is called `{word}`; did you mean `{close[0]}`?"
    tiers = sorted({node.tier for node in nodes})
    more = f" and {len(tiers) - MOST_NAMED} more tiers" if len(tiers) > MOST_NAMED else ""
    return f"nothing is called `{word}`; there are: {', '.join(tiers[:MOST_NAMED])}{more}"


def unknown_tier(nodes: Iterable[Candidate], name: str, verbs: Iterable[str] = ()) -> str:
    """Why nothing can be done with the tier `name`, and what can, if it is a group of tiers
    (`verbs`: what lets it have more or fewer)."""
    tiers = dict.fromkeys(each.tier for each in nodes if each.group == name)
    if not tiers:
        return f"no tier is called `{name}`"
    others = "".join(f", or `{verb}` the group" for verb in verbs)
    return f"`{name}` is a group of tiers: name one of {', '.join(tiers)}{others}"
