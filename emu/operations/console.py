"""The operator's seat in a running cluster: what the procedures of families ask nodes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import trio

from emu.model.topology import Tier
from emu.operations.versions import changed, served
from emu.running.instance import Instance
from emu.running.supervisor import Cluster
from emu.running.targets import TargetError
from nodes.kind import Kind
from nodes.operations import OPERATOR_TIMEOUT_S, Member, Operation, Statements
from nodes.parts.canary import Served
from protocols.errors import RpcError

STATEMENT: Final = "sql"
"""The control method that runs a statement, in whatever language."""


class ClusterConsole:
    """nodes.operations.Console over a cluster, for what nodes of some kinds can do: `of` says what
    they are, for messages. `grouped`: it is meant by its group, not by its tier."""

    def __init__(
        self, cluster: Cluster, of: str, can: Callable[[Kind], bool], *, grouped: bool = False
    ) -> None:
        self.cluster = cluster
        self._of = of
        self._can = can
        self._grouped = grouped

    def now_s(self) -> float:
        return self.cluster.world.timers.now_s()

    async def sleep(self, seconds: float) -> None:
        await self.cluster.operator.sleep(seconds)

    # --- who is meant --------------------------------------------------------------------------

    def there(self) -> list[str]:
        """Everything that may be meant."""
        instances = [
            each for each in self.cluster.instances.values() if self._can(each.placement.kind)
        ]
        found = dict.fromkeys(
            (self._grouped and instance.placement.group) or instance.spec.tier
            for instance in instances
        )
        return list(found)

    def refusal(self, words: str) -> TargetError:
        """Why nothing that can do it is meant, and what there is."""
        there = self.there()
        known = f"there is: {', '.join(there)}" if there else "this cluster has none"
        if not words:
            none = f"this cluster has no {self._of}"
            return TargetError(f"say which {self._of}; {known}" if there else none)
        return TargetError(f"`{words}` is no {self._of}; {known}")

    async def nodes(self, target: str) -> list[str]:
        """The nodes that target words name, which can all do it. Raises TargetError."""
        names = await self.cluster.resolve(target)
        instances = self.cluster.instances
        if not all(
            name in instances and self._can(instances[name].placement.kind) for name in names
        ):
            raise self.refusal(target)
        return names

    async def named(self, target: str) -> tuple[str, list[str]]:
        names = await self.nodes(target)
        tiers = dict.fromkeys(self.cluster.instances[name].spec.tier for name in names)
        if len(tiers) != 1:
            raise self.refusal(target)
        return next(iter(tiers)), names

    def seen(self, tier: str) -> list[Member]:
        return [
            Member(
                instance.spec.name,
                instance.running,
                instance.shown_state,
                instance.role,
                dict(instance.facts),
                instance.placement.kind.leader is not None,
                _leads(instance),
            )
            for instance in self.cluster.tier_instances(tier)
        ]

    async def members(self, tier: str) -> list[Member]:
        await self.cluster.refresh_roles(tier)
        return self.seen(tier)

    def is_running(self, name: str) -> bool:
        instance = self.cluster.instances.get(name)
        return instance is not None and instance.running

    # --- asking --------------------------------------------------------------------------------

    async def ask(
        self,
        name: str,
        method: str,
        *params: Any,
        timeout_s: float = OPERATOR_TIMEOUT_S,
        main: bool = False,
    ) -> Any:
        if not main:
            return await self.cluster.call_admin(name, method, *params, timeout_s=timeout_s)
        instance = self.cluster.instances.get(name)
        if instance is None or not instance.running:
            raise RpcError(
                "unavailable", f"{name} is {instance.shown_state if instance else 'gone'}"
            )
        ask = self.cluster.operator.ask
        return await ask(name, method, *params, timeout_s=timeout_s, port=instance.spec.port)

    # --- versions ------------------------------------------------------------------------------

    def tiers(self, name: str) -> list[str]:
        found = [
            tier.name
            for tier in self.cluster.topology.tiers
            if name in (tier.name, tier.group) and self._can(tier.kind)
        ]
        if not found:
            raise self.refusal(name)
        return found

    def check_version(self, tier: str, changes: Mapping[str, Any]) -> None:
        changed(self.cluster.topology, tier, changes)

    async def replace(self, names: Sequence[str], changes: Mapping[str, Any]) -> None:
        async with trio.open_nursery() as nursery:
            for name in names:
                if name not in self.cluster.instances:  # somebody has scaled it away
                    continue
                tier = self.cluster.instances[name].spec.tier
                version = changed(self.cluster.topology, tier, changes)
                nursery.start_soon(self.cluster.replace, name, version.config)

    def of_other_version(self, tier: str, changes: Mapping[str, Any]) -> list[str]:
        version = changed(self.cluster.topology, tier, changes)
        return [
            each.spec.name
            for each in self.cluster.tier_instances(tier)
            if each.running and each.placement.config != version.config
        ]

    def adopt_version(self, tier: str, changes: Mapping[str, Any]) -> None:
        version = self._declare(tier, changes)
        for each in self.cluster.tier_instances(tier):
            if not each.running:
                each.adopt(version.config)

    def _declare(self, tier: str, changes: Mapping[str, Any]) -> Tier:
        topology = self.cluster.topology
        version = changed(topology, tier, changes)
        tiers = tuple(version if each.name == tier else each for each in topology.tiers)
        self.cluster.topology = replace(topology, tiers=tiers)
        return version

    def options(self, tier: str, names: Iterable[str]) -> dict[str, Any]:
        config = self.cluster.topology.tier(tier).config
        return {name: getattr(config, name) for name in names}

    async def grow(self, tier: str, nodes: int, changes: Mapping[str, Any]) -> list[str]:
        cluster = self.cluster
        before, there = cluster.topology, [each.spec.name for each in cluster.tier_instances(tier)]
        self._declare(tier, changes)
        cluster.holding.append(tier)
        try:
            await cluster.scale(tier, nodes)
        except TargetError as error:
            cluster.topology = before
            raise ValueError(str(error)) from error
        finally:
            cluster.holding.remove(tier)
        names = [each.spec.name for each in cluster.tier_instances(tier)]
        return [name for name in names if name not in there]

    async def shrink(self, tier: str, nodes: int) -> None:
        await self.cluster.scale(tier, nodes)

    def hold(self, names: Sequence[str], held: bool) -> None:
        for name in names:
            instance = self.cluster.instances.get(name)
            if instance is not None:
                instance.held = held
                self.cluster.membership.put(instance.as_member(), instance.spec.group)

    def served(self, names: Sequence[str]) -> Served:
        known = self.cluster.instances
        return served([known[name] for name in names if name in known])

    # --- files and disks -----------------------------------------------------------------------

    def save(self, path: str, data: bytes) -> None:
        try:
            self.cluster.world.save(path, data)
        except OSError as error:
            raise ValueError(f"cannot write {path}: {error.strerror or error}") from error

    def load(self, path: str) -> bytes:
        try:
            return self.cluster.world.load(path)
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror or error}") from error

    def disk_names(self, name: str) -> list[str]:
        try:
            return self.cluster.instances[name].handle.disk.names()
        except OSError as error:
            raise ValueError(f"{name}: {error.strerror or error}") from error

    def disk_file(self, name: str, file: str) -> bytes:
        try:
            return self.cluster.instances[name].handle.disk.read(file)
        except OSError as error:
            raise ValueError(f"{name}: {error.strerror or error}") from error

    async def reinstall(self, disks: Mapping[str, Mapping[str, bytes]]) -> None:
        cluster = self.cluster
        groups = dict.fromkeys(cluster.instances[name].placement.group for name in disks)
        fronts = [
            name
            for name, each in cluster.instances.items()
            if each.placement.kind.front and each.placement.group and each.placement.group in groups
        ]
        again = [name for name in (*disks, *fronts) if cluster.instances[name].running]
        for name in again:
            cluster.kill(name)
        await cluster.in_force()  # wherever they run: nobody writes any more
        try:
            for name, files in disks.items():
                cluster.instances[name].handle.disk.load(files)
        except OSError as error:
            what = f"{name}: {error.strerror or error}; they stay down: make room, restore again"
            raise RpcError("no_space", what) from error
        await cluster.launch_all(list(dict.fromkeys((*disks, *again))))
        late = [name for name in disks if cluster.instances[name].state != "up"]
        if late:
            raise RpcError("unavailable", f"not up again: {', '.join(late)}; `emu ps` says why")

    # --- events --------------------------------------------------------------------------------

    @property
    def next_event(self) -> int:
        return self.cluster.events.next_index

    def events(self, since: int) -> Sequence[Mapping[str, Any]]:
        return self.cluster.events.since(since)

    def tell(self, event: str, **facts: Any) -> None:
        self.cluster.log.info(event, **facts)


def _leads(instance: Instance) -> bool:
    leader = instance.placement.kind.leader
    return leader is not None and instance.running and instance.role == leader.role


def seat_for(cluster: Cluster, operation: Operation) -> ClusterConsole:
    """The console for one operation."""
    return ClusterConsole(
        cluster,
        operation.of,
        lambda kind: operation in kind.operations,
        grouped=operation.of_group,
    )


async def run_statement(
    cluster: Cluster, target: str, statement: str, options: dict[str, Any]
) -> dict[str, Any]:
    """Run one statement of a query language on the tier that target words are of, which must have
    one (its family says what the options are). Raises RpcError, TargetError."""
    statements = await _language(cluster, target)
    console = ClusterConsole(cluster, statements.of, lambda kind: kind.statements is statements)
    try:
        return await statements.run(console, target, statement, options)
    except TargetError:
        raise
    except ValueError as error:
        raise TargetError(str(error)) from error


async def _language(cluster: Cluster, target: str) -> Statements:
    """What the target understands; where it understands none, what another tier does, which then
    refuses. Raises TargetError."""
    found = [instance.placement.kind.statements for instance in cluster.instances.values()]
    known = list(dict.fromkeys(each for each in found if each is not None))
    if not known:
        raise TargetError(f"`{target}` understands no statements: no tier of this cluster does")
    if len(known) > 1:
        names = [name for name in await cluster.resolve(target) if name in cluster.instances]
        meant = [cluster.instances[name].placement.kind.statements for name in names]
        return next((each for each in meant if each is not None), known[0])
    return known[0]
