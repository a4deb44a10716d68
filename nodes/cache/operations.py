"""What an operator does to a cache: look at it, read a key, empty it, warm up a cold node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from nodes.operations import DOWN, Console, Ended, Method, Operation, nothing, silent_lines
from nodes.parts.jsons import dumps
from protocols import cache as words
from protocols.cache import ring_of

COLUMNS: Final = (
    "entries", "bytes", "hit_ratio", "hits", "misses", "evicted", "expired", "refused_fills",
    "lease_waits",
)  # fmt: skip
GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Stats:
    """What each cache node holds: values, bytes, hits and misses, who had to leave."""

    verb: ClassVar[str] = "cache stats"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = False
    target: str


@dataclass(frozen=True, slots=True)
class Get:
    """Read one key at the node that has it. Nothing is filled."""

    verb: ClassVar[str] = "cache get"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    key: str
    """The key: `key: home`."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Let cache nodes forget all that they have: what a cold cache does to its database."""

    verb: ClassVar[str] = "cache flush"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = False
    target: str


@dataclass(frozen=True, slots=True)
class Warm:
    """Let cache nodes take over from the others what is their own since they came."""

    verb: ClassVar[str] = "cache warm"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = False
    target: str


async def get(console: Console, word: Get) -> dict[str, Any]:
    """Whose it is, and what it has."""
    names = [each.name for each in console.seen(word.tier)]
    owner = ring_of(names).owner(word.key)
    found = await console.ask(owner, words.GET, word.key, main=True)
    if found[0] == words.MISS and found[1]:
        await console.ask(owner, words.RELEASE, word.key, found[1], main=True)
    if found[0] == words.EARLY:
        await console.ask(owner, words.RELEASE, word.key, found[2], main=True)
    is_hit = found[0] in (words.HIT, words.EARLY)
    result = words.HIT if is_hit else found[0]
    return {"node": owner, "result": result, "value": found[1] if is_hit else None}


def _table(told: Mapping[str, Any]) -> str:
    lines = [["node", *(each.replace("_", " ") for each in COLUMNS)]]
    lines += [
        [name, *("-" if stats.get(each) is None else str(stats[each]) for each in COLUMNS)]
        for name, stats in told["answers"].items()
    ]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    rows = [
        "".join(f"{each:<{width + GAP}}" for each, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join(rows + silent_lines(told))


def _got(told: Mapping[str, Any]) -> str:
    value = f": {dumps(told['value'])}" if told["result"] == words.HIT else ""
    return f"{told['node']}: {told['result']}{value}"


def _flushed(told: Mapping[str, Any]) -> str:
    rows = [f"{name}: {count} forgotten" for name, count in told["answers"].items()]
    return "\n".join(rows + silent_lines(told))


def _warmed(ended: Ended) -> dict[str, Any]:
    last = ended.progress
    return {
        "taken_over": last.done if last is not None else 0,
        "text": last.text if last is not None else "",
        "took_s": round(ended.took_s, 6),
    }


OF: Final = "cache tier"
OPERATIONS: Final = (
    Operation(Stats, OF, Method(words.STATS, nothing), asks="whoever answers", shown=_table),
    Operation(Get, OF, run=get, shown=_got, example="cache get cache --key home"),
    Operation(
        Flush,
        OF,
        Method(words.FLUSH, nothing),
        asks="whoever answers",
        shown=_flushed,
        succeeded=lambda told: {*told.get("silent", {}).values()} <= {DOWN},  # those have forgotten
    ),
    Operation(
        Warm,
        OF,
        Method(words.WARM, nothing),
        progress=Method(words.WARMED, nothing),
        result=_warmed,
        shown=lambda told: f"{told['taken_over']} {told['text']} in {told['took_s']:.2f} s",
    ),
)
