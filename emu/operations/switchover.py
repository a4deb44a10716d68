"""Planned switchover of a database tier: another member becomes primary, and no write is lost.

The group itself does it (protocols/replication/); here it is asked for, waited for, and told: who
handed over to whom, in which epoch, and how long writes waited.
"""

from __future__ import annotations

from typing import Any, Final

from emu.operations import databases
from emu.running.supervisor import Cluster
from emu.running.targets import TargetError
from protocols import database as words
from protocols.errors import RpcError

SWITCHED: Final = "primary handed over"
ENDED: Final = "switchover ended"
"""What a primary says when it is over; without `handed_over` it stays in office."""
TIMEOUT_S: Final = 15.0
POLL_S: Final = 0.005


async def promote(cluster: Cluster, target: str) -> dict[str, Any]:
    """Make the node that `target` names primary, or of a whole tier the member that fits best.

    `{"tier", "old", "new", "epoch", "writes_waited_s"}`, which is an event too. Raises TargetError,
    and RpcError where the node cannot be it now: the old primary is in office then.
    """
    tier, names = await databases.members_of(cluster, target)
    await cluster.refresh_roles(tier)
    wanted = _wanted(cluster, tier, target, names)
    old = _primary(cluster, tier)
    since = cluster.events.next_index
    began_s = cluster.world.timers.now_s()
    new = str(await cluster.call_admin(old, words.PROMOTE, wanted))
    new = await _until_in_office(cluster, tier, old, new, since)
    waited_s = cluster.world.timers.now_s() - began_s
    await cluster.refresh_roles(tier)
    outcome = {
        "tier": tier,
        "old": old,
        "new": new,
        "epoch": cluster.slots[new].facts.get("epoch"),
        "writes_waited_s": round(waited_s, 6),
    }
    cluster.log.info(SWITCHED, **outcome)
    return outcome


def _wanted(cluster: Cluster, tier: str, target: str, names: list[str]) -> str:
    """The one node that is meant, or "" for whoever fits best. Raises RpcError, TargetError."""
    if len(names) == len(cluster.tier_slots(tier)) > 1:
        return ""
    if len(names) > 1:
        raise TargetError(f"`{target}` are {len(names)} nodes ({', '.join(names)}): name one")
    slot = cluster.slots[names[0]]
    if slot.shown_state != "up":
        raise RpcError("refused", f"{names[0]} is {slot.shown_state}: it cannot be primary now")
    if slot.role == databases.PRIMARY:
        raise RpcError("refused", f"{names[0]} is the primary already")
    return names[0]


def _primary(cluster: Cluster, tier: str) -> str:
    """Who is in office; of two that say so, the one of the later epoch. Raises RpcError."""
    slots = [slot for slot in cluster.tier_slots(tier) if slot.role == databases.PRIMARY]
    if not slots:
        why = f"`{tier}` has no primary that could hand over: `emu ps {tier}`"
        raise RpcError("unavailable", why)
    return max(slots, key=lambda slot: slot.facts.get("epoch", 0)).spec.name


async def _until_in_office(cluster: Cluster, tier: str, old: str, new: str, since: int) -> str:
    """Wait until writes go on; who takes them. Raises RpcError where that is the old primary."""
    timers = cluster.world.timers
    until_s = timers.now_s() + TIMEOUT_S
    while timers.now_s() < until_s and cluster.slots[new].running:
        for event in cluster.events.since(since):
            if event["event"] == ENDED and event.get("node") == old and not event["handed_over"]:
                why = f"{new} did not take over: {event['reason']}; {old} is still the primary"
                raise RpcError("refused", why)
        try:
            asked = ["SELECT 1", [], {"primary": True}]
            await databases.ask(cluster, new, words.QUERY, asked, POLL_S * 20)
        except RpcError:
            await cluster.operator.sleep(POLL_S)
        else:
            return new
    await cluster.refresh_roles(tier)
    elected = _primary(cluster, tier)
    raise RpcError("unknown_outcome", f"{new} did not take over in time; {elected} is the primary")
