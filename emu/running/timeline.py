"""The `faults:` of a topology, played on a running cluster: at times, or when an event happens.

Sugar over Cluster.inject: nothing here that a script could not do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from emu.machine.events import Event
from emu.model.topology import FaultItem
from emu.running.active import Planned
from emu.running.supervisor import Cluster
from emu.running.targets import TargetError
from protocols.errors import RpcError


async def play(cluster: Cluster, items: Sequence[FaultItem], *, own: bool = False) -> None:
    """Play every item; returns when all of them have begun. Cancelled, it stops waiting for more;
    what has begun goes on, and undoes itself. `own`: it is the timeline of the topology itself, so
    the verdict says what of it did not happen."""
    start_s = cluster.world.timers.now_s()
    plans = [Planned(item) for item in items]
    if own:
        cluster.planned[:] = plans
    async with trio.open_nursery() as nursery:
        for plan in plans:
            nursery.start_soon(_play_one, cluster, plan, start_s)


async def _play_one(cluster: Cluster, plan: Planned, start_s: float) -> None:
    item = plan.item
    if item.on:
        wanted = item.on.replace("-", " ")
        await cluster.operator.sleep(
            max(0.0, start_s + item.since_s - cluster.world.timers.now_s())
        )
        await next_event(cluster, lambda event: event["event"] == wanted)
        await cluster.operator.sleep(item.at_s or 0.0)
    else:
        now_s = cluster.world.timers.now_s()
        await cluster.operator.sleep(max(0.0, start_s + (item.at_s or 0.0) - now_s))
    cluster.nursery.start_soon(_inject, cluster, plan)


async def _inject(cluster: Cluster, plan: Planned) -> None:
    item = plan.item
    try:
        plan.has_run = True  # what it takes its time for has begun
        await cluster.inject(item.fault, for_s=item.for_s)
    except (TargetError, RpcError) as error:  # nothing of that name, or it refuses
        plan.has_run, plan.problem = False, str(error)
        cluster.log.error("fault not possible", line=item.line, why=str(error))


async def next_event(cluster: Cluster, is_wanted: Callable[[Event], bool]) -> Event:
    """Wait for the next event that is wanted."""
    found: list[Event] = []
    seen = trio.Event()

    def look(event: Event) -> None:
        if not found and is_wanted(event):
            found.append(event)
            seen.set()

    cluster.events.listeners.append(look)
    try:
        await seen.wait()
    finally:
        cluster.events.listeners.remove(look)
    return found[0]
