"""Changing how many shards a kv tier has while it runs: what an operator asks of its coordinators,
and how the plan, the moves and their figures read.

`shards:` of a file founds a store. From then on its slot map says which shards there are, and only
a reshard changes that: whatever the file says later, the nodes of those shards stay.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from nodes.operations import Drawn, Ended, Method, Operation, Progress, Reach, Resizing
from protocols.kv import coordinator as words
from protocols.kv.coordinator import MAX_SHARDS, coordinator_tier, shard_number, shard_tier

BEGUN: Final = "reshard begun"
ENDED: Final = "reshard ended"
REDIRECTS: Final = "redirects_total"
GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Reshard:
    """Let a kv tier have `to` shards: nodes come, slots move while it serves, nodes go."""

    verb: ClassVar[str] = "reshard"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    """The kv tier."""
    to: int
    """How many shards it shall have."""
    partitioner: Literal["", "slots", "modulo", "ring", "maglev"] = ""
    """None: as it is."""
    rate_per_s: float = 0.0
    """Keys a second that a move copies at most; 0: as the tier says."""


def wanted(word: Reshard) -> list[str]:
    """The tiers of its shards. Raises ValueError."""
    if not 1 <= word.to <= MAX_SHARDS:
        raise ValueError(f"a kv tier has 1 to {MAX_SHARDS} shards, not {word.to}")
    return [shard_tier(word.tier, number) for number in range(1, word.to + 1)]


def _planned(word: Reshard) -> list[Any]:
    return [wanted(word), {"partitioner": word.partitioner} if word.partitioner else {}]


def _begun(word: Reshard) -> list[Any]:
    names, options = _planned(word)
    if word.rate_per_s:
        options["keys_per_s"] = max(1, int(word.rate_per_s))
    return [names, options]


# --- how it reads --------------------------------------------------------------------------------


def progress_of(seen: Any) -> Progress:
    """Of what the coordinators say: slots that have moved."""
    figures = figures_of(seen)
    return Progress(
        figures["slots_moved"],
        figures["slots_wanted"],
        _moved(figures),
        over=not seen["plan"],
        answer=seen,
        tiers=tuple(seen["shards"]),
    )


def figures_of(seen: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a plan's moves. A move that was aborted counts once, however often tried."""
    moves = seen["moves"]
    done = [each for each in moves if each["phase"] == "done"]
    wanted_moves = [each for each in moves if each["phase"] != "aborted"]
    pauses = [each["pause_s"] for each in done if "pause_s" in each]
    return {
        "outcome": seen["outcome"],
        "map_version": seen["map_version"],
        "moves": len(done),
        "aborted": sum(each["phase"] == "aborted" for each in moves),
        "slots_wanted": sum(each["slots"] for each in wanted_moves),
        "slots_moved": sum(each["slots"] for each in done),
        "keys": sum(each.get("keys", 0) for each in done),
        "bytes": sum(each.get("bytes", 0) for each in done),
        "longest_pause_s": max(pauses, default=0.0),
    }


def _result(ended: Ended) -> dict[str, Any]:
    assert ended.progress is not None, "it has a progress"
    seen = ended.progress.answer
    return {
        **figures_of(seen),
        "redirects": int(ended.counted.get(REDIRECTS, 0)),
        "took_s": round(ended.took_s, 3),
        "shares": seen["shares"],
    }


def _moved(figures: Mapping[str, Any]) -> str:
    pause_ms = figures["longest_pause_s"] * 1000
    return f"{figures['keys']} keys, {figures['bytes']} bytes, longest pause {pause_ms:.1f} ms"


def _shown(result: Mapping[str, Any]) -> str:
    rows = [["shard", "slots"], *result["shares"].items()]
    moved = f"{result['slots_moved']} slots in {result['took_s']:.2f} s"
    told = f"{result['outcome']}: {moved}, {_moved(result)}, {result['redirects']} redirects"
    return f"{_table(rows)}\n{told}"


def _shown_plan(plan: Mapping[str, Any]) -> str:
    if not plan["moves"]:
        return "nothing has to move"
    by = plan["by_partitioner"]
    told = ", ".join(f"{name} {by[name]['ratio']:.1%}" for name in by)
    least = f"keys that move: {told}; the least possible is {plan['ideal_ratio']:.1%}"
    return f"{_table([['from', 'to', 'slots'], *plan['moves']])}\n{least}"


def _table(rows: Sequence[Sequence[Any]]) -> str:
    columns = [max(len(str(each)) for each in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "".join(
            f"{each!s:<{width + GAP}}" for each, width in zip(row, columns, strict=True)
        ).rstrip()
        for row in rows
    )


def _kept(group: str, have: int, declared: int) -> str:
    return (
        f"keep: the {have} shards of {group}; the file's {declared} are for a new store: "
        f"`emu reshard {group} --to {declared}` moves its slots"
    )


# --- drawn ---------------------------------------------------------------------------------------


def _draw(rng: random.Random, tiers: Sequence[Reach], before: Sequence[Reshard]) -> Drawn | None:
    """Slots on their way while all else goes on."""
    shards: dict[str, int] = {}
    for tier in tiers:
        shards[tier.group] = shards.get(tier.group, 0) + 1
    shards |= {word.tier: word.to for word in before}
    if not shards:
        return None
    group = rng.choice(list(shards))
    now = shards[group]
    to = rng.choice([number for number in range(max(1, now - 1), now + 3) if number != now])
    return Drawn(Reshard(group, to), (f"resharding {group}",))


RESHARD: Final = Operation(
    Reshard,
    "sharded kv tier",
    Method(words.RESHARD, _begun),
    example="reshard kv --to 4",
    asks="leader",
    led_by=coordinator_tier,
    plan=Method(words.PLAN, _planned),
    progress=Method(words.PROGRESS),
    read=progress_of,
    cancel=words.CANCEL,
    resizing=Resizing(wanted, shard_number, _kept),
    of_group=True,
    counts=(REDIRECTS,),
    result=_result,
    shown=_shown,
    shown_plan=_shown_plan,
    succeeded=lambda result: result["outcome"] == "done",
    spans=(BEGUN, ENDED),
    draw=_draw,
    mostly=True,
)
