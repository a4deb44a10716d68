"""What an operator does to edges: purge, by URL, prefix or tag, and look at what they keep.

A purge goes to the shield first, so that no edge can take from there what it just threw away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from nodes.operations import Console, Ended, Method, Operation, options_of, silent_lines
from protocols.control import DESCRIBE
from protocols.errors import RpcError

MOST_SHIELDS: Final = 8


@dataclass(frozen=True, slots=True)
class PurgeWord:
    """Throw objects away, at every edge of a tier and the shields behind it, for good: what was on
    its way is not kept either, and no restart brings it back."""

    verb: ClassVar[str] = "cdn purge"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    url: str = ""
    """One URL with all its variants: `url: /photos/7/large.png`, at any host, or with it."""
    prefix: str = ""
    """All URLs that begin so: `prefix: /photos/`."""
    tag: str = ""
    """All objects with this `Cache-Tag`: `tag: photo-7`."""


@dataclass(frozen=True, slots=True)
class Objects:
    """What edges keep: URL, age, for how long it is fresh, tags."""

    verb: ClassVar[str] = "cdn objects"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    prefix: str = ""
    """Only URLs that begin so: `prefix: /static/`."""
    most: int = 20
    """Of each edge, the newest."""


async def purge(console: Console, word: PurgeWord) -> dict[str, Any]:
    """Raises ValueError, and RpcError where an edge that runs could not do it."""
    asked = [(kind, getattr(word, kind)) for kind in ("url", "prefix", "tag")]
    asked = [(kind, value) for kind, value in asked if value]
    if len(asked) != 1:
        raise ValueError("say one of --url, --prefix and --tag")
    (kind, value), name = asked[0], ""
    gone: dict[str, int] = {}
    down: list[str] = []
    for tier in reversed(await _chain(console, word.tier)):
        for member in console.seen(tier):
            if not member.running:
                down.append(member.name)  # it comes back without an object
                continue
            answer = await console.ask(member.name, "purge", kind, value, name, True)
            name = answer["name"]
            gone[member.name] = answer["objects"]
    return {"kind": kind, "value": value, "objects": sum(gone.values()), "nodes": gone,
            "down": down}  # fmt: skip


async def _chain(console: Console, tier: str) -> list[str]:
    """The tier, and the shields behind it. Raises RpcError where nobody can say who they are."""
    if not any(member.running for member in console.seen(tier)):
        why = "only they can say which shields are behind them"
        raise RpcError("unavailable", f"nobody of {tier} runs, and {why}: start one, purge again")
    found = [tier]
    while len(found) < MOST_SHIELDS:
        origin = await _origin(console, found[-1])
        if origin in found or not await _origin(console, origin):
            break
        found.append(origin)
    return found


async def _origin(console: Console, tier: str) -> str:
    """Where a tier of edges has its objects from, as one that runs says; "" of any other tier."""
    for member in console.seen(tier):
        if member.running:
            told = await console.ask(member.name, DESCRIBE)
            return str(told.get("origin", ""))
    return ""


def _listed(ended: Ended) -> dict[str, Any]:
    rows = [
        {"node": name, "url": url, "status": status, "bytes": size,
         "age_s": age_s, "fresh_s": left_s, "tags": tags}
        for name, answer in ended.answers.items()
        for url, status, size, age_s, left_s, tags in answer["objects"]
    ]  # fmt: skip
    return {"objects": rows, **({"silent": dict(ended.silent)} if ended.silent else {})}


def _gone(told: Mapping[str, Any]) -> str:
    where = ", ".join(f"{name} {count}" for name, count in told["nodes"].items())
    down = f"; down, and empty when back: {', '.join(told['down'])}" if told["down"] else ""
    return f"purged {told['kind']} {told['value']}: {told['objects']} objects ({where}){down}"


def _rows(told: Mapping[str, Any]) -> str:
    rows = [
        f"{row['node']:<12}{row['bytes']:>9} B  age {row['age_s']:>7.1f} s  "
        f"{'fresh' if row['fresh_s'] > 0 else 'stale'} {abs(row['fresh_s']):>7.1f} s  {row['url']}"
        f"{'  [' + ', '.join(row['tags']) + ']' if row['tags'] else ''}"
        for row in told["objects"]
    ]
    return "\n".join([*(rows or ["no objects"]), *silent_lines(told)])


OPERATIONS: Final = (
    Operation(
        PurgeWord, "tier of edges", run=purge, shown=_gone,
        example="cdn purge edge --url /static/style.css",
    ),
    Operation(
        Objects, "tier of edges", Method("objects", options_of), asks="whoever answers",
        result=_listed, shown=_rows,
        example="cdn objects edge --prefix /static/",
    ),
)  # fmt: skip
