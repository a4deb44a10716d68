"""A running cluster in either world: boot, supervise, break, scale, stop. It knows no tier.

Everything that happens to a node goes through its Instance and the handle of whatever runs it; what
a fault does is in inject.py, and which world it is nobody here asks.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import trio

from emu.machine import units
from emu.machine.events import Events
from emu.machine.world import MachineSpec, World
from emu.model import faults
from emu.model.topology import Placement, Topology, check_runners
from emu.running import asking, directory
from emu.running.active import Faults, UnderWay, Undo
from emu.running.directory import DirectoryConfig, Listing, Membership
from emu.running.handle import ASK_TIMEOUT_S, DRAIN_TIMEOUT_S, MakeRunner
from emu.running.in_process import InProcess
from emu.running.instance import Instance, lives
from emu.running.operator import Operator
from emu.running.scaling import Scaling
from emu.running.targets import Candidate, needs_roles, resolve
from nodes.base import DIRECTORY_HOST
from protocols import control
from protocols.errors import RpcError

IN_PROCESS: Final[Mapping[str, MakeRunner]] = {"": InProcess}
CHANGED: Final = "topology changed"
"""The event, with the tiers that are `gone`, if there are any."""
BY_HAND: Final = "written by hand"
"""Beside the clients: what they miss in that tier may be its doing."""
BOOT_TIMEOUT_S: Final = 60.0
SETTLED: Final = ("up", "stopped", "killed", "crashed", "failed", "down")
Injector = Callable[["Cluster", Any], Awaitable[Undo | None]]
"""Does a fault now. Returns what undoes it, or None where nothing can. Raises TargetError."""


class Cluster:
    """Use as `async with Cluster(...) as c: await c.boot()`; leaving it ends every node."""

    def __init__(
        self,
        world: World,
        topology: Topology,
        *,
        events: Events,
        inject: Injector,
        rng: random.Random | None = None,
        runners: Mapping[str, MakeRunner] = IN_PROCESS,
    ) -> None:
        """`inject`: does a fault (emu/operations/inject.py can do all). `runners`: who runs the
        nodes of kinds that ask for one by name. Raises TopologyError."""
        check_runners(topology, runners)
        self.world = world
        self._inject = inject
        self.topology = topology
        self.events = events
        self.log = events.logger()
        self.rng = rng or random.Random(f"{topology.seed}/cluster")
        self.instances: dict[str, Instance] = {}
        self._faults = Faults(world.timers, self.log)
        self.active, self.layers = self._faults.active, self._faults.layers
        self.timeline = self._faults.timeline
        self.planned = self._faults.planned
        self.operations: dict[tuple[str, str], UnderWay] = {}
        """Whatever does them keeps here what is under way: by verb, and what it is done to."""
        self.membership = Membership()
        self.ready_s: float | None = None
        self._make_runners = {**IN_PROCESS, **runners}
        self.stopping = False
        self._scaling = Scaling(self)
        self.holding: list[str] = []
        """Tiers whose new members are held back from traffic for now."""
        self._generations: dict[str, int] = {}
        """Of removed nodes: whoever comes again under a name is no earlier generation."""

    async def __aenter__(self) -> Cluster:
        self._nursery_manager = trio.open_nursery()
        self.nursery = await self._nursery_manager.__aenter__()
        self.operator = Operator(self.world, self.nursery, self.events)
        self._runners = {
            name: make(self.world, self.events, self.operator, self.nursery)
            for name, make in self._make_runners.items()
        }
        return self

    async def __aexit__(self, *exc: Any) -> bool | None:
        self.stopping = True
        for instance in self.instances.values():
            instance.handle.end(crash=False)
        self.nursery.cancel_scope.cancel()
        return await self._nursery_manager.__aexit__(*exc)

    # --- boot and change ---------------------------------------------------------------------

    async def boot(self, until_led: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start everything on plain links, then arm the links, then let the users come. With
        `until_led` groups that elect start first, the others once it has returned: nobody asks in
        vain. Nodes that fail are reported as events; the others go on. Raises TimeoutError if some
        neither start nor fail within BOOT_TIMEOUT_S."""
        self._start_directory()
        placements = self.topology.placements()
        servers = [each for each in placements if not each.kind.clients]
        if until_led is not None:
            for each in servers:  # lists of nodes are in the file's order
                self.add(each)
            await self._boot_all([each for each in servers if each.kind.leader is not None])
            await until_led()
            servers = [each for each in servers if each.kind.leader is None]
        await self._boot_all(servers)
        self.topology.arm(self.world.links)
        await self._boot_all([each for each in placements if each.kind.clients])
        self.ready_s = self.world.timers.now_s()
        up = sum(instance.state == "up" for instance in self.instances.values())
        self.log.info("cluster up", nodes=up, of=len(self.instances))

    async def _boot_all(self, placements: list[Placement]) -> None:
        booting = [self.instances.get(each.spec.name) or self.add(each) for each in placements]
        for instance in booting:
            self.tell_directory(instance)
        for instance in booting:
            self._boot(instance)
        with self.operator.move_on_after(BOOT_TIMEOUT_S) as scope:
            for instance in booting:
                await instance.settled.wait()
        if scope.cancelled_caught:
            late = [each.spec.name for each in booting if not each.settled.is_set()]
            raise TimeoutError(f"not up after {BOOT_TIMEOUT_S:g} s: {', '.join(late[:10])}")

    def add(self, placement: Placement) -> Instance:
        name = placement.spec.name
        handle = self._runners[placement.kind.runner].handle(placement)
        instance = self.instances[name] = Instance(placement, handle)
        instance.generation = self._generations.pop(name, 0)
        return instance

    def _start_directory(self) -> None:
        spec = MachineSpec(DIRECTORY_HOST, DIRECTORY_HOST, DIRECTORY_HOST, "", public=False)
        kind = directory.kind_of(Listing(self.membership, self.scale, self._may_scale))
        placement = Placement(spec, DirectoryConfig(), kind)
        self._boot(Instance(placement, self._runners[kind.runner].handle(placement)))

    def _may_scale(self, dialer: str, tier: str) -> bool:
        instance = self.instances.get(dialer)
        return instance is not None and (control.SCALE, tier) in instance.spec.rights

    async def apply(self, topology: Topology, plan: Any) -> None:
        """Change the running cluster into `topology`: remove, restart (one after the other, each
        waited for) and add what the plan says."""
        check_runners(topology, self._runners)
        for name in plan.removed:
            await self.remove(name)
        there = [tier.name for tier in topology.tiers]
        gone = [tier.name for tier in self.topology.tiers if tier.name not in there]
        self.topology = topology
        placements = {each.spec.name: each for each in topology.placements()}
        for name in plan.restarted:
            await self.remove(name)
            self.add(placements[name])
            await self.launch_all([name])
        for name in plan.added:
            self.add(placements[name])
        await self.launch_all(plan.added)
        topology.arm(self.world.links)
        told = {"gone": gone} if gone else {}
        self.log.info(CHANGED, added=len(plan.added), removed=len(plan.removed), **told)

    async def launch_all(self, names: Sequence[str]) -> None:
        """Start them all and wait until they are up or have failed, at most BOOT_TIMEOUT_S."""
        for name in names:
            self.launch(name)
        with self.operator.move_on_after(BOOT_TIMEOUT_S):
            for name in names:
                await self.instances[name].settled.wait()

    # --- one node's life ---------------------------------------------------------------------

    def launch(self, name: str) -> None:
        """Start a node that is down; it settles (up or failed) later."""
        instance = self.instances[name]
        assert not instance.running, f"{name} is running"
        self._boot(instance)

    async def start(self, name: str, *, patient: bool = True) -> None:
        """Start a node (if it is down), and wait until it is up or has failed; only a `patient`
        one waits for a process of somebody else's to come and run it."""
        instance = self.instances[name]
        if not instance.running:
            self._boot(instance)
        if patient or not instance.handle.waits_for:
            await instance.settled.wait()

    def _boot(self, instance: Instance) -> None:
        instance.generation += 1
        instance.state, instance.error = "starting", ""
        if instance.settled.is_set():  # else somebody may wait for it already
            instance.settled = trio.Event()
        instance.started_s = self.world.timers.now_s()
        instance.handle.boot(
            instance.generation,
            started=partial(self._started, instance),
            failed=partial(self._failed, instance),
        )
        self.tell_directory(instance)

    def _started(self, instance: Instance) -> None:
        instance.state, instance.listed = "up", True
        instance.settled.set()
        self.tell_directory(instance)
        if instance.spec.name != DIRECTORY_HOST:
            took_s = self.world.timers.now_s() - instance.started_s
            self._log(instance, "node up", generation=instance.generation, took_s=round(took_s, 4))
            self._faults.end_what_is_over()

    def _failed(self, instance: Instance, error: str) -> None:
        """It has ended by itself: down, with its error as an event."""
        if self.stopping:
            return
        instance.error = error
        self._down(instance, "failed")
        self.events.add(
            "error", "node failed", {**instance.identity, "error": instance.error[:2000]}
        )
        now_s = self.world.timers.now_s()
        wait_s = instance.restart_wait_s(now_s)
        if instance.placement.restart != "on-failure":
            return
        if wait_s is None:
            self._log(instance, "crash loop: left down", failures=len(instance.failures_s))
        else:
            self.world.timers.call_at(now_s + wait_s, lambda: self._restart(instance))

    def _restart(self, instance: Instance) -> None:
        if instance.state == "failed" and not self.stopping and not instance.running:
            self._boot(instance)

    def _down(self, instance: Instance, state: str) -> None:
        instance.state = state
        instance.role, instance.facts = "", {}
        instance.settled.set()
        self.tell_directory(instance)

    def tell_directory(self, instance: Instance) -> None:
        """What this node is now. A dead node stays a member, as in life: health checks find out."""
        if instance.spec.name != DIRECTORY_HOST:
            self.membership.put(instance.as_member(), instance.spec.group)

    def kill(self, name: str) -> None:
        """The process dies at once; the disk keeps what was written."""
        self._end(name, "killed", crash=False)

    def crash(self, name: str) -> None:
        """Power cut: what was not synced is lost."""
        self._end(name, "crashed", crash=True)

    def _end(self, name: str, state: str, *, crash: bool) -> None:
        instance = self.instances[name]
        if not instance.running:
            return
        instance.handle.end(crash=crash)
        self._down(instance, state)
        self._log(instance, f"node {state}", generation=instance.generation)

    async def stop(self, name: str, *, now: bool = False) -> None:
        """Announce, drain (at most DRAIN_TIMEOUT_S), end. `now`: no drain, nor one under way."""
        instance = self.instances[name]
        if not instance.running:
            return
        generation, instance.state = instance.generation, "draining"
        self.tell_directory(instance)
        if not now:
            await self._ask_in_order(instance, "drain", "drain not finished")
        if instance.running and instance.generation == generation:
            instance.handle.end(crash=False)
            instance.listed = False
            self._down(instance, "stopped")
            self._log(instance, "node stopped", generation=instance.generation)

    async def _ask_in_order(self, instance: Instance, method: str, if_not: str) -> None:
        """What a node does before it ends, where its tier knows of such a thing."""
        try:
            timeout_s = max(DRAIN_TIMEOUT_S, instance.patience_s)
            await instance.handle.ask(method, timeout_s=timeout_s)
        except RpcError as error:
            if error.code != "no_such_method" and instance.running:
                self._log(instance, if_not, why=str(error))

    def pause(self, name: str) -> None:
        instance = self.instances[name]
        if instance.running and not instance.handle.paused:
            instance.handle.pause()
            self._log(instance, "node paused")

    def unpause(self, name: str) -> None:
        instance = self.instances[name]
        if instance.handle.paused:
            instance.handle.resume()
            self._log(instance, "node resumed")
            self._faults.end_what_is_over()

    # --- members -----------------------------------------------------------------------------

    def tier_instances(self, tier: str) -> list[Instance]:
        return [instance for instance in self.instances.values() if instance.spec.tier == tier]

    async def scale(self, tier: str, nodes: int) -> int:
        """Let `tier` have `nodes` members (scaling.py). Returns the number. Raises TargetError."""
        return await self._scaling.scale(tier, nodes)

    async def replace(self, name: str, config: Any) -> None:
        """Drain and end a node, start it on its disk with that config, and wait for that."""
        await self.stop(name)
        instance = self.instances.get(name)
        if instance is None or instance.running:
            return  # somebody else was quicker
        instance.adopt(config)
        await instance.handle.in_force()
        await self.start(name)

    async def remove(self, name: str) -> None:
        """Stop a node and take its place away."""
        await self.stop(name)
        instance = self.instances.pop(name, None)
        if instance is None:
            return  # somebody else removed it meanwhile
        instance.handle.end(crash=False)
        instance.settled.set()
        self._generations[name] = instance.generation
        self.membership.remove(instance.spec.tier, name, instance.spec.group)
        instance.handle.remove()

    # --- faults ------------------------------------------------------------------------------

    async def inject(self, fault: faults.Fault, *, for_s: float | None = None) -> int:
        """Do a fault; with `for_s` it undoes itself. Returns its number. Raises TargetError,
        ValueError."""
        if for_s is not None:
            units.check_value("for_s", for_s)
        now_s = self.world.timers.now_s()
        before = lives(self.instances), [*self.active]
        undo = await self._inject(self, fault)
        await self.in_force()
        idle = fault.verb in faults.OF_LIVES and before == (lives(self.instances), [*self.active])
        number = self._faults.begun(fault, undo, now_s, for_s, idle=idle)
        if for_s is not None and undo is not None:
            self.nursery.start_soon(self._undo_later, number, for_s)
        return number

    async def _undo_later(self, number: int, for_s: float) -> None:
        await self.operator.sleep(for_s)
        await self.undo(number)

    @property
    def by_hand(self) -> int:
        """How many faults were done that the topology's own timeline has not asked for."""
        return self._faults.by_hand

    async def undo(self, number: int) -> None:
        """End one active fault; nothing happens if it has ended."""
        await self._faults.undo(number)
        await self.in_force()

    async def heal(self) -> None:
        """Undo every active fault, the newest first, and whatever a link still has."""
        await self._faults.undo_all()
        self.world.links.heal()
        await self.in_force()

    async def in_force(self) -> None:
        """What was changed holds in every node, wherever it runs; and what that said is heard."""
        for instance in list(self.instances.values()):
            await instance.handle.in_force()

    # --- asking ------------------------------------------------------------------------------

    async def resolve(
        self, words: str, *, machines: bool = False, links: bool = False
    ) -> list[str]:
        """Target words to node names (see targets.py). Raises TargetError."""
        if needs_roles(words):
            await self.refresh_roles(words)
        return resolve(words, self.candidates(), self.rng, machines=machines, links=links)

    def candidates(self) -> list[Candidate]:
        """Every node as targets see it, with the role it last had."""
        return [instance.candidate for instance in self.instances.values()]

    async def refresh_roles(self, words: str = "") -> None:
        """Ask the running members of every tier that has roles or facts what they are now."""
        await asking.refresh_roles(self.instances, words)

    async def call_admin(
        self, name: str, method: str, *params: Any, timeout_s: float = ASK_TIMEOUT_S
    ) -> Any:
        """Call a node's admin method. Raises RpcError."""
        instance = self.instances.get(name)
        if instance is None:
            raise RpcError("unavailable", f"no node is called {name}")
        return await instance.handle.ask(method, *params, timeout_s=timeout_s)

    def _log(self, instance: Instance, event: str, **fields: Any) -> None:
        self.events.add("info", event, {**instance.identity, **fields})
