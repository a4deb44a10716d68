"""What each fault does to a running cluster, and how that is undone.

The faults themselves are data (emu/model/faults.py). Here is what the supervisor and the machines
suffice for; emu/operations/ adds what one family alone can do.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from emu.machine import links
from emu.model import faults
from emu.running.active import Undo
from emu.running.power_cut import crash_in_next_writes
from emu.running.reviving import Resume, Revive, ScaleBack, start_all
from emu.running.supervisor import Cluster, Injector
from emu.running.targets import TargetError
from protocols.numerals import whole

NOTHING_THERE: Final = "nothing on these disks"
MOST_TOLD: Final = 9
EVENTS: Final = {
    NOTHING_THERE: "Who got another disk has written nothing to its own: what becomes of it is "
    "seen by nobody until it does.",
}

# --- nodes -----------------------------------------------------------------------------------


async def _kill(cluster: Cluster, fault: faults.Kill) -> Undo:
    names = await cluster.resolve(fault.target, machines=True)
    for name in names:
        cluster.kill(name)
    return Revive(cluster, tuple(names))


async def _crash(cluster: Cluster, fault: faults.Crash) -> Undo:
    names = await cluster.resolve(fault.target, machines=True)
    if fault.in_write or fault.file:
        await crash_in_next_writes(cluster, names, fault.file)
    else:
        for name in names:
            cluster.crash(name)
    return Revive(cluster, tuple(names))


async def _wipe(cluster: Cluster, fault: faults.Wipe) -> Undo:
    names = await cluster.resolve(fault.target, machines=True)
    for name in names:
        cluster.kill(name)
        cluster.instances[name].handle.disk.wipe()
    return Revive(cluster, tuple(names))


async def _stop(cluster: Cluster, fault: faults.Stop) -> Undo:
    names = await cluster.resolve(fault.target, machines=True)
    for name in names:
        if name in cluster.instances:
            await cluster.stop(name, now=fault.now)
    return Revive(cluster, tuple(names))


async def _start(cluster: Cluster, fault: faults.Start) -> None:
    await start_all(cluster, await cluster.resolve(fault.target))


async def _restart(cluster: Cluster, fault: faults.Restart) -> None:
    for name in await cluster.resolve(fault.target, machines=True):
        if name in cluster.instances:
            await cluster.stop(name, now=fault.now)
        await start_all(cluster, [name])


async def _pause(cluster: Cluster, fault: faults.Pause) -> Undo:
    names = await cluster.resolve(fault.target, machines=True)
    for name in names:
        cluster.pause(name)
    return Resume(cluster, tuple(names))


async def _unpause(cluster: Cluster, fault: faults.Unpause) -> None:
    for name in await cluster.resolve(fault.target):
        cluster.unpause(name)


async def _scale(cluster: Cluster, fault: faults.Scale) -> Undo:
    before = len(cluster.tier_instances(fault.tier))
    lift = cluster.layers.lay(cluster, fault.tier, fault.nodes, first=before)
    try:
        await cluster.scale(fault.tier, fault.nodes)
    except BaseException:
        lift()
        raise
    return ScaleBack(cluster, fault.tier, lift)


async def _call(cluster: Cluster, fault: faults.Call) -> None:
    for name in await cluster.resolve(fault.target):
        await cluster.call_admin(name, fault.method, *fault.params)


# --- links -----------------------------------------------------------------------------------


async def _partition(cluster: Cluster, fault: faults.Partition) -> Undo:
    if len(fault.between) not in (1, 2):
        raise TargetError(
            f"`partition` cuts two groups apart, not {len(fault.between)}: several nodes of one "
            "are `web-1,web-2`"
        )
    first, second = await _two_groups(cluster, *fault.between)
    rule = links.Partition(first, second, both=not fault.one_way, mode=fault.mode)
    return _added(cluster, rule)


async def _slow(cluster: Cluster, fault: faults.Slow) -> Undo:
    first, second = await _two_groups(cluster, fault.target, fault.to)
    delay = {"latency_s": fault.latency_s, "jitter_s": fault.jitter_s}
    return _added(cluster, links.Slow(first, second, both=not fault.one_way, **delay))


async def _loss(cluster: Cluster, fault: faults.Loss) -> Undo:
    first, second = await _two_groups(cluster, fault.target, fault.to)
    return _added(cluster, links.Lose(first, second, both=True, loss_ratio=fault.loss_ratio))


async def _throttle(cluster: Cluster, fault: faults.Throttle) -> Undo:
    first, second = await _two_groups(cluster, fault.target, fault.to)
    rule = links.Throttle(
        first, second, both=True, bandwidth_bytes_per_s=fault.bandwidth_bytes_per_s
    )
    return _added(cluster, rule)


async def _two_groups(
    cluster: Cluster, one: str, other: str = "all"
) -> tuple[frozenset[str], frozenset[str]]:
    """Two groups of endpoint names. With one word, or `all` as the second: it against the rest.

    A region is what serves there: its people live outside of the data centre, and can turn to
    another one.
    """
    first = frozenset(await cluster.resolve(one, machines=one != "all", links=True))
    if other == "all":
        everyone = frozenset((*cluster.instances, "outside"))
        rest = everyone - first
        return first, rest or everyone
    second = frozenset(await cluster.resolve(other, machines=True, links=True))
    if len(first | second) == 1:
        raise TargetError(f"`{one}` and `{other}` are one node: no link is between them")
    return first, second - first or second  # `slow db to db`: among themselves


def _added(cluster: Cluster, rule: links.Rule) -> Undo:
    handle = cluster.world.links.add(rule)

    async def undo() -> None:
        handle.remove()

    return undo


# --- machines --------------------------------------------------------------------------------


async def _disk(cluster: Cluster, fault: faults.Disk) -> Undo:
    names = await cluster.resolve(fault.target)
    disks = [cluster.instances[name].handle.disk for name in names]
    for disk in disks if fault.flip_bit else ():
        try:
            disk.flip_bit(fault.flip_bit, -100, 3)
        except FileNotFoundError as error:
            raise TargetError(f"`flip_bit` of a file that is there: {error}") from None
    failing = {
        "fail_reads": fault.fail in ("reads", "both"),
        "fail_writes": fault.fail in ("writes", "both"),
        "full": fault.full,
    }
    values: dict[str, Any] = {name: True for name, fails in failing.items() if fails}
    if fault.slow_factor != 1.0:
        values["slow_factor"] = fault.slow_factor
    return _all_of([cluster.layers.set(disk, **values) for disk in disks])


async def _skew(cluster: Cluster, fault: faults.Skew) -> Undo:
    lifts = []
    for name in await cluster.resolve(fault.target):
        instance = cluster.instances[name]
        clock, drift_ratio = instance.handle.clock, instance.spec.clock.drift_ratio
        clock.step(fault.step_s)
        lifts.append(partial(clock.step, -fault.step_s))
        if fault.drift_ratio:
            lift = cluster.layers.lay(clock, "drift", (fault.drift_ratio,), first=(drift_ratio,))
            clock.set_drift(fault.drift_ratio)
            lifts.append(partial(_hold, clock.set_drift, lift))
    return _all_of(lifts)


async def _late(cluster: Cluster, fault: faults.Late) -> Undo:
    lifts = []
    for name in await cluster.resolve(fault.target, machines=True):
        clock = cluster.instances[name].handle.clock
        late = (fault.up_to_s, random.Random(cluster.rng.random()))
        lift = cluster.layers.lay(clock, "late", late, first=(0.0, cluster.rng))
        clock.set_late(*late)
        lifts.append(partial(_hold, clock.set_late, lift))
    return _all_of(lifts)


async def _cpu(cluster: Cluster, fault: faults.Cpu) -> Undo:
    handles = [cluster.instances[name].handle for name in await cluster.resolve(fault.target)]
    return _all_of([cluster.layers.set(handle, cores=fault.cores) for handle in handles])


async def _storage(cluster: Cluster, fault: faults.Storage) -> Undo:
    values = {
        "bandwidth_bytes_per_s": fault.bandwidth_bytes_per_s,
        "capacity_bytes": fault.capacity_bytes,
    }
    values = {name: value for name, value in values.items() if value}
    if not values:
        raise TargetError("say what disk they get: a `bandwidth`, a `capacity`, or both")
    names = await cluster.resolve(fault.target)
    disks = {name: cluster.instances[name].handle.disk for name in names}
    bare = [name for name, disk in disks.items() if disk.here and not disk.names()]
    if bare:
        cluster.log.warning(NOTHING_THERE, nodes=bare[:MOST_TOLD], count=len(bare))
    return _all_of([cluster.layers.set(disk, **values) for disk in disks.values()])


def _hold(set_it: Callable[..., None], lift: Callable[[], Any]) -> None:
    """Take a layer away, and let what is below it hold, if nothing newer does."""
    now = lift()
    if now is not None:
        set_it(*now)


def _all_of(lifts: Sequence[Callable[[], None]]) -> Undo:
    async def undo() -> None:
        for lift in lifts:
            lift()

    return undo


# --- all of it -------------------------------------------------------------------------------


async def _heal(cluster: Cluster, fault: faults.Heal) -> None:
    if fault.what == "all":
        await cluster.heal()
    elif (number := whole(fault.what)) in cluster.active and number is not None:
        await cluster.undo(number)
    else:
        known = ", ".join(str(number) for number in cluster.active) or "none"
        raise TargetError(f"no active fault has the number `{fault.what[:40]}`; there are: {known}")


INJECTORS: Final[Mapping[type[faults.Fault], Injector]] = {
    faults.Kill: _kill, faults.Crash: _crash, faults.Wipe: _wipe, faults.Stop: _stop,
    faults.Start: _start, faults.Restart: _restart, faults.Pause: _pause,
    faults.Unpause: _unpause, faults.Partition: _partition, faults.Slow: _slow,
    faults.Loss: _loss, faults.Throttle: _throttle, faults.Disk: _disk, faults.Skew: _skew,
    faults.Late: _late, faults.Cpu: _cpu, faults.Storage: _storage, faults.Scale: _scale,
    faults.Call: _call, faults.Heal: _heal,
}  # fmt: skip
