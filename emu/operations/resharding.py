"""Changing how many shards a kv tier has while it runs: nodes first, then the coordinators' plan,
and when shards are left over, their nodes last.

The moves themselves are the coordinators' business; here machines come and go, and it is watched.
`shards:` of a file founds a store. From then on its slot map says which shards there are, and only
a reshard changes that: whatever the file says later, the nodes of those shards stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from emu.model.topology import Topology, diff
from emu.running import views
from emu.running.supervisor import Cluster
from emu.running.targets import TargetError
from protocols.errors import RpcError
from protocols.kv import coordinator as words
from protocols.kv.coordinator import MAX_SHARDS, coordinator_tier, shard_number, shard_tier

ASK_FOR_S: Final = 30.0
ASK_PAUSE_S: Final = 0.1
POLL_S: Final = 0.2
SHARD_KIND: Final = "kv_shard"


def shards_in(topology: Topology) -> dict[str, list[str]]:
    """The tiers that are shards, by their group, in their numbers' order."""
    found: dict[str, list[str]] = {}
    for tier in topology.tiers:
        if tier.word == SHARD_KIND and tier.group:
            found.setdefault(tier.group, []).append(tier.name)
    return {group: sorted(tiers, key=shard_number) for group, tiers in found.items()}


def with_shards(topology: Topology, shards: Mapping[str, Sequence[str]]) -> Topology:
    """The same, with the shards that the stores have already: of groups that both know."""
    for group, declared in shards_in(topology).items():
        kept = shards.get(group) or declared
        for tier in kept:
            if tier not in declared:
                topology = topology.copied(declared[-1], tier)
        for tier in declared:
            if tier not in kept:
                topology = topology.without(tier)
    return topology


def kept_lines(file: Topology, kept: Topology) -> list[str]:
    """What is told where a store has another number of shards than its file says."""
    have = shards_in(kept)
    return [
        f"keep: the {len(have[group])} shards of {group}; the file's {len(declared)} are for a new "
        f"store: `emu reshard {group} --to {len(declared)}` moves its slots"
        for group, declared in shards_in(file).items()
        if have[group] != declared
    ]


def shards_of(cluster: Cluster, group: str) -> list[str]:
    """The group's shard tiers that have nodes now, in their numbers' order. Raises TargetError."""
    tiers = shards_in(cluster.topology).get(group)
    if not tiers:
        raise TargetError(f"`{group}` is no sharded kv tier")
    return tiers


async def ask(cluster: Cluster, group: str, method: str, *params: Any) -> Any:
    """Ask whoever leads the coordinators. Raises RpcError."""
    tier = coordinator_tier(group)
    names = [name for name, slot in cluster.slots.items() if slot.spec.tier == tier]
    last = RpcError("unavailable", f"`{group}` has no coordinator that answers")
    timers = cluster.world.timers
    until_s = timers.now_s() + ASK_FOR_S
    while timers.now_s() < until_s:
        for name in names:
            try:
                return await cluster.call_admin(name, method, *params)
            except RpcError as error:
                last = error
                if error.code not in ("not_primary", "unavailable", "disconnected", "timeout"):
                    raise
        await cluster.operator.sleep(ASK_PAUSE_S)
    raise last


async def plan(cluster: Cluster, group: str, to: int, **options: Any) -> dict[str, Any]:
    """What going to so many shards would move; nothing is changed. Raises RpcError, TargetError."""
    shards_of(cluster, group)
    answer = await ask(cluster, group, words.PLAN, _names(group, to), options)
    return dict(answer)


async def begin(cluster: Cluster, group: str, to: int, **options: Any) -> dict[str, Any]:
    """Boot the nodes that are missing, and let the moves begin. Raises RpcError, TargetError."""
    have = shards_of(cluster, group)
    wanted = _names(group, to)
    topology = cluster.topology
    for name in wanted:
        if name not in have:
            topology = topology.copied(have[-1], name)
    if topology is not cluster.topology:
        await cluster.apply(topology, diff(cluster.topology, topology))
    answer = await ask(cluster, group, words.RESHARD, wanted, options)
    return dict(answer)


async def progress(cluster: Cluster, group: str) -> dict[str, Any]:
    """The latest plan and its moves, and how often clients were redirected. Raises RpcError."""
    seen = dict(await ask(cluster, group, words.PROGRESS))
    names = list(cluster.slots)
    try:
        seen["redirects"] = int(views.metric(cluster, names, "redirects_total"))
    except KeyError:
        seen["redirects"] = 0
    return seen


async def finish(cluster: Cluster, group: str) -> dict[str, Any]:
    """Wait for the plan's end, then take away the nodes of shards that the map no longer names;
    the last progress."""
    while True:
        seen = await progress(cluster, group)
        if not seen["plan"]:
            break
        await cluster.operator.sleep(POLL_S)
    topology = cluster.topology
    for tier in shards_of(cluster, group):
        if tier not in seen["shards"]:
            topology = topology.without(tier)
    if topology is not cluster.topology:
        await cluster.apply(topology, diff(cluster.topology, topology))
    return seen


async def reshard(cluster: Cluster, group: str, to: int, **options: Any) -> dict[str, Any]:
    """All of it, from the first node to the last. Raises RpcError, TargetError."""
    await begin(cluster, group, to, **options)
    return await finish(cluster, group)


def start(cluster: Cluster, group: str, to: int, **options: Any) -> None:
    """Begin in the background; what becomes of it is an event. Raises TargetError."""
    shards_of(cluster, group)
    _names(group, to)

    async def run() -> None:
        try:
            await reshard(cluster, group, to, **options)
        except RpcError as error:
            cluster.log.warning("reshard not done", tier=group, to=to, why=str(error))

    cluster.nursery.start_soon(run)


async def cancel(cluster: Cluster, group: str) -> bool:
    """Undo what is not published yet of the plan under way. Raises RpcError."""
    return bool(await ask(cluster, group, words.CANCEL))


def _names(group: str, to: int) -> list[str]:
    if not 1 <= to <= MAX_SHARDS:
        raise TargetError(f"a kv tier has 1 to {MAX_SHARDS} shards, not {to}")
    return [shard_tier(group, number) for number in range(1, to + 1)]
