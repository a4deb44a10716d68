"""Planned switchover of a database tier: another member becomes primary, and no write is lost.

The group itself does it (protocols/replication/); here it is asked for, waited for, and told: who
handed over to whom, in which epoch, and how long writes waited.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from nodes.operations import Console, Drawn, Member, Operation, Reach
from protocols import database as words
from protocols.errors import RpcError
from protocols.replication.replica import PRIMARY

UP: Final = "up"
SWITCHED: Final = "primary handed over"
ENDED: Final = "switchover ended"
"""What a primary says when it is over; without `handed_over` it stays in office."""
EVENTS: Final = {SWITCHED: "A planned change of the primary is done: no write was lost."}
TIMEOUT_S: Final = 15.0
POLL_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Promote:
    """Let another node of a database be primary: this one, or of a tier whoever fits best. Writes
    wait a moment, and none is lost."""

    verb: ClassVar[str] = "promote"
    main: ClassVar[str] = "target"
    breaks: ClassVar[bool] = False
    target: str
    """A database tier, or the node of it that shall be primary."""


async def promote(console: Console, word: Promote) -> dict[str, Any]:
    """Make the node that is meant primary, or of a whole tier the member that fits best.

    `{"tier", "old", "new", "epoch", "writes_waited_s"}`, which is an event too. Raises ValueError,
    and RpcError where the node cannot be it now: the old primary is in office then.
    """
    tier, named = await console.named(word.target)
    members = await console.members(tier)
    wanted = _wanted(word.target, [each for each in members if each.name in named], len(members))
    old = _primary(tier, members)
    since, began_s = console.next_event, console.now_s()
    new = str(await console.ask(old, words.PROMOTE, wanted))
    new = await _until_in_office(console, tier, old, new, since)
    waited_s = console.now_s() - began_s
    found = {each.name: each for each in await console.members(tier)}
    outcome = {
        "tier": tier,
        "old": old,
        "new": new,
        "epoch": found[new].facts.get("epoch"),
        "writes_waited_s": round(waited_s, 6),
    }
    console.tell(SWITCHED, **outcome)
    return outcome


def _wanted(target: str, named: Sequence[Member], all_of_them: int) -> str:
    """The one node that is meant, or "" for whoever fits best. Raises RpcError, ValueError."""
    if len(named) == all_of_them > 1:
        return ""
    if len(named) > 1:
        names = ", ".join(each.name for each in named)
        raise ValueError(f"`{target}` are {len(named)} nodes ({names}): name one")
    (one,) = named
    if one.state != UP:
        raise RpcError("refused", f"{one.name} is {one.state}: it cannot be primary now")
    if one.role == PRIMARY:
        raise RpcError("refused", f"{one.name} is the primary already")
    return one.name


def _primary(tier: str, members: Sequence[Member]) -> str:
    """Who is in office; of two that say so, the one of the later epoch. Raises RpcError."""
    primaries = [each for each in members if each.role == PRIMARY]
    if not primaries:
        why = f"`{tier}` has no primary that could hand over"
        away = [f"{each.name} ({each.state})" for each in members if each.state != UP]
        if away:
            why += f"; {len(away)} of {len(members)} votes are missing: {', '.join(away)}"
        raise RpcError("unavailable", why)
    return max(primaries, key=lambda each: each.facts.get("epoch", 0)).name


async def _until_in_office(console: Console, tier: str, old: str, new: str, since: int) -> str:
    """Wait until writes go on; who takes them. Raises RpcError where that is the old primary."""
    until_s = console.now_s() + TIMEOUT_S
    while console.now_s() < until_s and console.is_running(new):
        for event in console.events(since):
            if event["event"] == ENDED and event.get("node") == old and not event["handed_over"]:
                why = f"{new} did not take over: {event['reason']}; {old} is still the primary"
                raise RpcError("refused", why)
        try:
            asked = ["SELECT 1", [], {"primary": True}]
            await console.ask(new, words.QUERY, *asked, timeout_s=POLL_S * 20, main=True)
        except RpcError:
            await console.sleep(POLL_S)
        else:
            return new
    elected = _primary(tier, await console.members(tier))
    raise RpcError("unknown_outcome", f"{new} did not take over in time; {elected} is the primary")


def _shown(told: Mapping[str, Any]) -> str:
    waited_s = told["writes_waited_s"]
    waited = f"{waited_s * 1000:.1f} ms" if waited_s < 1 else f"{waited_s:.1f} s"
    return f"{told['old']} → {told['new']}, epoch {told['epoch']}; writes waited {waited}"


def _draw(rng: random.Random, tiers: Sequence[Reach], before: Sequence[Promote]) -> Drawn | None:
    able = [tier for tier in tiers if tier.members > 1]
    if not able:
        return None
    tier = rng.choice(able)
    return Drawn(Promote(tier.name), (tier.name,))


PROMOTE: Final = Operation(
    Promote,
    "database tier",
    example="promote db",
    run=promote,
    shown=_shown,
    draw=_draw,
    planned=lambda tier: Promote(tier.name),
)
