"""A tier gets more or fewer members: who comes, who leaves its group first, and what is refused.

What could not be done, or not be undone, is refused before it is begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import trio

from emu.machine.world import World
from emu.model.topology import MAX_NODES, Placement, Tier, Topology
from emu.running.handle import DRAIN_TIMEOUT_S
from emu.running.instance import Instance
from emu.running.targets import Candidate, TargetError, unknown_tier
from protocols.errors import RpcError


class Nodes(Protocol):
    """What scaling asks of the supervisor, which starts and ends the nodes."""

    topology: Topology
    instances: dict[str, Instance]
    holding: list[str]
    stopping: bool
    world: World
    nursery: trio.Nursery
    log: Any

    def candidates(self) -> list[Candidate]: ...
    def tier_instances(self, tier: str) -> list[Instance]: ...
    def add(self, placement: Placement) -> Instance: ...
    def launch(self, name: str) -> None: ...
    def tell_directory(self, instance: Instance) -> None: ...
    async def remove(self, name: str) -> None: ...


class Scaling:
    """Of one cluster."""

    def __init__(self, cluster: Nodes) -> None:
        self.cluster = cluster
        self._locks: dict[str, trio.Lock] = {}

    async def scale(self, tier: str, nodes: int) -> int:
        """Let `tier` have `nodes` members; the youngest go first, drained. Returns the number.

        Once begun it is done, though whoever asked leaves; a tier's scalings follow each other.
        """
        if not any(each.name == tier for each in self.cluster.topology.tiers):
            kinds = [each.kind for each in self.cluster.topology.tiers if each.group == tier]
            verbs = [each.verb for kind in kinds for each in kind.operations if each.resizing]
            raise TargetError(unknown_tier(self.cluster.candidates(), tier, dict.fromkeys(verbs)))
        outcome: list[int | Exception] = []
        done = trio.Event()
        self.cluster.nursery.start_soon(self._scale_on, tier, nodes, outcome, done)
        await done.wait()
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    async def _scale_on(
        self, tier: str, nodes: int, outcome: list[int | Exception], done: trio.Event
    ) -> None:
        try:
            async with self._locks.setdefault(tier, trio.Lock()):
                coming = await self._scale(tier, nodes)
            for name in coming:
                if name in self.cluster.instances:
                    await self.cluster.instances[name].settled.wait()
            outcome.append(nodes)
        except Exception as error:  # it is the asker's
            outcome.append(error)
        finally:
            done.set()

    async def _scale(self, tier: str, nodes: int) -> list[str]:
        """Who comes: they are on their way. Who goes is gone."""
        cluster = self.cluster
        check_scaling(cluster.topology.tier(tier), cluster.tier_instances(tier), nodes)
        before = cluster.topology
        cluster.topology = cluster.topology.scaled(tier, nodes)
        wanted = {
            each.spec.name: each for each in cluster.topology.placements() if each.spec.tier == tier
        }
        leaving = [
            instance.spec.name
            for instance in cluster.tier_instances(tier)
            if instance.spec.name not in wanted
        ]
        coming = [name for name in wanted if name not in cluster.instances]
        for name in coming:
            added = cluster.add(wanted[name])
            added.founder, added.held = False, tier in cluster.holding
            self._come(name)
        cluster.topology.arm(cluster.world.links)
        try:
            for name in reversed(leaving):  # one by one: a group must never lose its majority
                await self._let_leave(name)
        except RpcError as error:  # whoever has left its group already goes; the others stay
            staying = leaving[: leaving.index(name) + 1]
            cluster.topology = before.scaled(tier, nodes + len(staying))
            await self._remove_all(leaving[len(staying) :])
            self._take_back(cluster.instances[name])
            raise TargetError(f"{name} stays in its group: {error.message}") from error
        await self._remove_all(leaving)
        cluster.topology.arm(cluster.world.links)
        cluster.log.info("tier scaled", tier=tier, nodes=nodes)
        return coming

    def _come(self, name: str) -> None:
        """Start a node that was added, once its machine has booted."""
        instance = self.cluster.instances[name]
        boot_s = instance.placement.boot_time_s
        if boot_s <= 0:
            self.cluster.launch(name)
            return
        instance.state = "starting"
        self.cluster.tell_directory(instance)
        now_s = self.cluster.world.timers.now_s()
        self.cluster.world.timers.call_at(now_s + boot_s, lambda: self._booted(instance))

    def _booted(self, instance: Instance) -> None:
        """Unless it was started by hand, or taken away, meanwhile."""
        cluster, name = self.cluster, instance.spec.name
        there = cluster.instances.get(name) is instance and not cluster.stopping
        if there and instance.state == "starting" and not instance.running:
            cluster.launch(name)

    async def _let_leave(self, name: str) -> None:
        """A member of a replicated group gets out of it before its node is taken away. Raises
        RpcError where it cannot."""
        instance = self.cluster.instances[name]
        if not (instance.placement.kind.peers and instance.running):
            return
        instance.state = "draining"  # so that nobody takes it in again
        self.cluster.tell_directory(instance)
        try:
            await instance.handle.ask("leave", timeout_s=DRAIN_TIMEOUT_S)
        except RpcError as error:
            if error.code != "no_such_method" and instance.running:
                raise

    def _take_back(self, instance: Instance) -> None:
        if instance.running:
            instance.state = "up"
            self.cluster.tell_directory(instance)

    async def _remove_all(self, names: list[str]) -> None:
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(self.cluster.remove, name)


def check_scaling(tier: Tier, instances: Sequence[Instance], nodes: int) -> None:
    """Raises TargetError where the tier, whose members these are, cannot have so many."""
    if not 0 <= nodes <= MAX_NODES:
        raise TargetError(f"a tier has 0 to {MAX_NODES} nodes, not {nodes}")
    kind = tier.kind
    if kind.fixed and nodes != len(instances):
        raise TargetError(f"`{tier.name}` cannot be scaled: {kind.fixed}")
    if kind.leader is None:
        return
    if not nodes:
        raise TargetError(f"the last member of `{tier.name}` has its data: `stop` it instead")
    missing = [each for each in instances if not each.running or each.handle.paused]
    if nodes < len(instances) and 2 * len(missing) >= len(instances):
        names = ", ".join(f"{each.spec.name} ({each.shown_state})" for each in missing)
        votes = f"{len(missing)} of {len(instances)} votes are missing"
        raise TargetError(f"`{tier.name}` cannot let members go, {votes}: {names}")
