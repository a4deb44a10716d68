"""What it means to a cluster that a process with nodes comes, goes, or is killed.

Somebody's kill is a `kill` of the nodes that it ran, which ends as any other. A worker is begun
again for those whose tier wants that; who joined by itself brings its nodes when it comes again.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from emu.model.faults import Kill
from emu.running.supervisor import Cluster
from emu.running.targets import TargetError


async def nodes_killed(cluster: Cluster, names: Sequence[str], *, restart: bool = True) -> None:
    """Their process is gone already; now everybody knows. `restart`: whether there can be another
    one without anybody's doing."""
    there = [name for name in names if name in cluster.instances]
    if not there:
        return
    try:
        await cluster.inject(Kill(",".join(there)))
    except TargetError as error:  # they were removed meanwhile
        cluster.log.warning("fault not possible", verb=Kill.verb, why=str(error))
    for name in there if restart else ():
        instance = cluster.instances.get(name)
        if instance is not None and instance.placement.restart == "on-failure":
            cluster.nursery.start_soon(_restart, cluster, name)


async def _restart(cluster: Cluster, name: str) -> None:
    instance = cluster.instances[name]
    wait_s = instance.restart_wait_s(cluster.world.timers.now_s())
    if wait_s is None:
        cluster.log.info("crash loop: left down", node=name, failures=len(instance.failures_s))
        return
    generation = instance.generation
    await cluster.operator.sleep(wait_s)
    if instance.generation == generation and cluster.instances.get(name) is instance:
        await cluster.start(name)


async def nodes_came(cluster: Cluster, names: Sequence[str]) -> None:
    """The process that they were waiting for is there again."""
    async with trio.open_nursery() as nursery:
        for name in names:
            if name in cluster.instances:
                nursery.start_soon(cluster.start, name)


def nodes_moved(cluster: Cluster, names: Sequence[str]) -> None:
    """Whoever looks for them is to have the address that they have now."""
    for name in names:
        instance = cluster.instances.get(name)
        if instance is not None:
            cluster.membership.put(instance.as_member(), instance.spec.group)


async def nodes_leave(cluster: Cluster, names: Sequence[str]) -> None:
    """Their process wants to end: each is stopped in order."""
    async with trio.open_nursery() as nursery:
        for name in names:
            if name in cluster.instances:
                nursery.start_soon(cluster.stop, name)
