"""Deploying: the members of a tier are replaced by a new version, or started again, step by step.

Each is drained, ended, started, and looked at before the next one goes; who leads goes last, and
hands over first. What turns out worse is taken back. Every kind that can be deployed lists DEPLOY.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar, Final

from nodes.operations import Console, Member, Operation
from nodes.parts.canary import Served, enough, worse
from protocols.errors import RpcError

HAND_OVER: Final = "hand_over"
"""Admin method of who leads a group: another member shall, at once. Raises RpcError."""
WELL_S: Final = 60.0
"""A member that is not well so long after it was started has failed."""
MOST_WINDOWS: Final = 3
"""So many times the window, until a canary has met enough requests to be judged."""
SETTLE_S: Final = 1.0
"""A member has so long before it is looked at: its group has heard of it by then."""
HAND_OVERS: Final = 3
HAND_OVER_S: Final = 4.0
"""So often, and each time so long, a leader is asked to let another lead."""
POLL_S: Final = 0.25
LAG_S: Final = 1.0
UP: Final = "up"
REPLACED, DEPLOYED, ROLLED_BACK = "member replaced", "deployed", "deploy rolled back"
SWITCHED: Final = "traffic switched"
EVENTS: Final = {
    "member replaced": "A member of a tier that is deployed was drained, and is another now.",
    SWITCHED: "The new members of a blue-green deploy have all traffic; the old ones stand by.",
    "deployed": "Every member of a tier is of the new version, or was started again.",
    "deploy rolled back": "A new version was worse, or did not come up: every member is as before.",
}


@dataclass(frozen=True, slots=True)
class Deploy:
    """Replace the members of a tier, a few at a time: by those that serve another `app`, or as they
    are (a rolling restart). Each is drained first; of a group the leader goes last, and hands over.
    What fails is rolled back."""

    verb: ClassVar[str] = "deploy"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    app: str = ""
    """The new version, of a web tier: `app: shop2:app`, beside the topology file."""
    batch: int = 1
    """How many members at a time."""
    canary_ratio: float = 0.0
    """Replace this share first, and compare it with the others for `watch`: `canary: 10%`."""
    watch_s: float = 15.0
    """How long a canary is compared with the others, or the new ones with those before them."""
    blue_green: bool = False
    """As many new members beside the old ones, which take all traffic in one moment; the old ones
    stand by for `watch`, and take it back at once if the new ones are worse than they had been."""


class _Refused(Exception):
    """The new version will not do."""


async def deploy(console: Console, word: Deploy) -> dict[str, Any]:
    """Raises RpcError, and ValueError for what cannot be deployed so."""
    if word.batch < 1:
        raise ValueError("`batch` is at least 1")
    if word.blue_green and (word.canary_ratio or word.batch > 1):
        raise ValueError("`blue_green` replaces all at once: leave `canary` and `batch` out")
    changes = {"app": word.app} if word.app else {}
    tiers = console.tiers(word.tier)
    for tier in tiers:
        console.check_version(tier, changes)
    began_s, replaced, why = console.now_s(), 0, ""
    for tier in tiers:
        done: list[str] = []
        try:
            how = _switch_tier if word.blue_green else _deploy_tier
            await how(console, word, tier, changes, done)
        except _Refused as refused:
            why = await _rolled_back(console, word, tier, done, str(refused))
            console.tell(ROLLED_BACK, tier=tier, members=len(done), why=why)
            break
        console.adopt_version(tier, changes)
        console.tell(DEPLOYED, tier=tier, members=len(done))
        replaced += len(done)
    return {
        "tier": word.tier,
        "replaced": replaced,
        "rolled_back": bool(why),
        "why": why,
        "took_s": round(console.now_s() - began_s, 3),
    }


async def _deploy_tier(
    console: Console, word: Deploy, tier: str, changes: Mapping[str, Any], done: list[str]
) -> None:
    """Adds to `done` whoever was replaced. Raises _Refused."""
    members = [each for each in await console.members(tier) if each.running]
    if not members:
        raise _Refused(f"no member of {tier} runs")
    names = [each.name for each in _leader_last(members)]
    canaries = min(len(names) - 1, ceil(word.canary_ratio * len(names)))
    if canaries > 0:
        await _next(console, tier, names[:canaries], changes, done)
        await _compare(console, word, tier, names[canaries:], names[:canaries])
        names = names[canaries:]
    while names:
        for place in range(0, len(names), word.batch):
            await _next(console, tier, names[place : place + word.batch], changes, done)
        names = console.of_other_version(tier, changes)  # who came, or came back, meanwhile


async def _switch_tier(
    console: Console, word: Deploy, tier: str, changes: Mapping[str, Any], done: list[str]
) -> None:
    """Blue to green, and back in one moment while blue stands by. Raises _Refused, ValueError."""
    members = await console.members(tier)
    if any(each.led for each in members):
        raise ValueError(f"`{tier}` has a leader: its members are replaced one after the other")
    blue, nodes = [each.name for each in members if each.running], len(members)
    had, before = console.options(tier, changes), console.served(blue)
    again: list[str] = []
    green = await console.grow(tier, nodes + len(blue), changes)
    try:
        await _wait_until_well(console, tier, green)
        await console.sleep(word.watch_s)  # as long as they are watched: so much can be compared
        theirs = console.served(blue).since(before)
        console.hold(green, False)
        console.hold(blue, True)
        console.tell(SWITCHED, tier=tier, members=len(green))
        await console.sleep(word.watch_s)
        if why := worse(theirs, console.served(green)):
            raise _Refused(why)
        again = blue
        await console.replace(blue, changes)  # they have no traffic: it ends with those it had
        await _wait_until_well(console, tier, blue)
    except _Refused:
        console.adopt_version(tier, had)
        if again:
            await console.replace(blue, {})
        console.hold(blue, False)
        console.hold(green, True)
        await console.shrink(tier, nodes)
        raise
    console.hold(blue, False)
    console.hold(green, True)
    await console.shrink(tier, nodes)
    done += blue


def _leader_last(members: Sequence[Member]) -> list[Member]:
    return sorted(members, key=lambda each: each.leads)


async def _next(
    console: Console, tier: str, names: Sequence[str], changes: Mapping[str, Any], done: list[str]
) -> None:
    there = [each for each in await console.members(tier) if each.name in names]
    for each in there:
        if each.leads:
            await _hand_over(console, tier, each.name)
    going = [each.name for each in there]  # others were scaled away since they were counted
    done += going
    await _replace(console, tier, going, changes)


async def _rolled_back(
    console: Console, word: Deploy, tier: str, names: Sequence[str], why: str
) -> str:
    """As before, a few at a time, whoever leads last; why, and who did not go back."""
    members = [each for each in await console.members(tier) if each.name in names]
    back = [each.name for each in _leader_last(members)]
    for place in range(0, len(back), word.batch):
        try:
            await _next(console, tier, back[place : place + word.batch], {}, [])
        except _Refused as again:
            why = f"{why}; going back, {again}"
    return why


async def _replace(
    console: Console, tier: str, names: Sequence[str], changes: Mapping[str, Any]
) -> None:
    """Raises _Refused where one does not come up, or its group is not well afterwards."""
    if not names:
        return
    await console.replace(names, changes)
    for name in names:
        console.tell(REPLACED, tier=tier, member=name)
    await _wait_until_well(console, tier, names)


async def _wait_until_well(console: Console, tier: str, names: Sequence[str]) -> None:
    """Raises _Refused where one does not come up, or its group is not well."""
    await console.sleep(SETTLE_S)
    until_s = console.now_s() + WELL_S
    while (why := _unwell(await console.members(tier), names)) and console.now_s() < until_s:
        if why.startswith("failed"):
            break
        await console.sleep(POLL_S)
    if why:
        raise _Refused(why)


def _unwell(members: Sequence[Member], names: Sequence[str]) -> str:
    """Why the next one must not go yet; "" if it may."""
    for each in members:
        if each.name in names and each.state != UP:
            return f"{each.state}: {each.name} does not come up"
        if each.name in names and each.facts.get("store_ready") is False:
            return f"{each.name} does not reach its store"
    if members and members[0].led and not any(each.leads for each in members):
        return "nobody leads the group"
    behind = [each.name for each in members if each.name in names and _is_behind(each)]
    return f"{behind[0]} is behind" if behind else ""


def _is_behind(member: Member) -> bool:
    """Whether it lacks what its leader has; it has said nothing yet of how far it is where it has
    not heard of one since it was started."""
    if not member.led or member.leads or "lag_s" not in member.facts:
        return False
    lag_s = member.facts["lag_s"]
    return lag_s is None or lag_s > LAG_S


async def _hand_over(console: Console, tier: str, name: str) -> None:
    """Somebody else leads when this returns, if anybody can: else it goes as it is."""
    for _ in range(HAND_OVERS):
        try:
            await console.ask(name, HAND_OVER)
        except RpcError:
            await console.sleep(HAND_OVER_S / 4)
            continue
        until_s = console.now_s() + HAND_OVER_S
        while console.now_s() < until_s:
            await console.sleep(POLL_S)
            if any(each.leads and each.name != name for each in await console.members(tier)):
                return


async def _compare(
    console: Console, word: Deploy, tier: str, old: Sequence[str], new: Sequence[str]
) -> None:
    """Raises _Refused where the new version is worse, or met too little to tell."""
    before = {name: console.served([name]) for name in (*old, *new)}
    for _ in range(MOST_WINDOWS):
        await console.sleep(word.watch_s)
        theirs, ours = _since(console, before, old), _since(console, before, new)
        if why := worse(theirs, ours):
            raise _Refused(why)
        if enough(ours):
            return
    raise _Refused(f"its {len(new)} members met {ours.requests:.0f} requests: too few to tell")


def _since(console: Console, before: Mapping[str, Served], names: Sequence[str]) -> Served:
    """What these answered meanwhile, together. A node that was started again counts from 0."""
    total = Served()
    for name in names:
        now = console.served([name])
        grown = now.since(before[name]) if now.requests >= before[name].requests else now
        total = total.plus(grown)
    return total


def _shown(told: Mapping[str, Any]) -> str:
    if told["rolled_back"]:
        return f"rolled back after {told['took_s']:.1f} s: {told['why']}"
    return f"{told['replaced']} members of {told['tier']} replaced in {told['took_s']:.1f} s"


DEPLOY: Final = Operation(
    Deploy,
    "tier that can be deployed",
    run=deploy,
    shown=_shown,
    succeeded=lambda told: not told["rolled_back"],
    example="deploy web --batch 1",
)
