"""One live run, from a claimed state folder to its verdict: what `emu up` is, without the printing.

It joins the world, the cluster, the control socket and the observations; each
of them lives elsewhere.
"""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import trio

from emu import timeline, verdict
from emu.cluster import Cluster
from emu.control.server import ControlServer
from emu.live.world import LiveWorld
from emu.observe.events import Event, Events
from emu.observe.http import ObserveServer
from emu.state import StateFolder
from emu.topology.loading import load
from emu.topology.model import Topology, diff
from emu.topology.problems import TopologyError
from nodes.wire import Call
from protocols.errors import RpcError

FINISH_TIMEOUT_S: Final = 20.0
HURRIED_S: Final = 0.6
"""What the users get to read back their posts when the run is ended by hand."""
ANSWER_S: Final = 0.3


@dataclass(slots=True)
class SessionOptions:
    """How to run: for how long (None: until told), and what to print of the events."""

    for_s: float | None = None
    level: str = "info"
    printer: Callable[[Event], None] | None = None
    aliases: bool = True


class Session:
    """A live run of one topology in one state folder."""

    def __init__(self, topology: Topology, folder: StateFolder, options: SessionOptions) -> None:
        self.topology = topology
        self.folder = folder
        self.options = options
        self.summary: dict[str, Any] | None = None
        self.wipe_at_end = False
        self.ending = trio.Event()
        self._timeline = trio.CancelScope()
        self._changing = trio.Lock()

    async def run(self, on_ready: Callable[[Session], Awaitable[None]]) -> dict[str, Any]:
        """Boot, serve until the end, judge. Returns the summary (see verdict.py)."""
        options = self.options

        def make_events(now_s: Callable[[], float]) -> Events:
            return Events(now_s, level=options.level, printer=options.printer)

        async with LiveWorld(
            self.topology.seed,
            self.folder.data,
            temporary=self.folder.temporary,
            events=make_events,
            aliases=options.aliases,
        ) as world:
            self.world = world
            async with Cluster(world, self.topology, events=world.events) as cluster:
                self.cluster = cluster
                await self._serve(cluster)
                await cluster.boot()
                world.settle()
                self.folder.describe(self.facts())
                await on_ready(self)
                self.summary = await self._live(cluster)
                return self.summary

    async def _serve(self, cluster: Cluster) -> None:
        extra: dict[str, Callable[..., Any]] = {
            "summary": self._summary,
            "config": self._config,
            "info": lambda call: self.facts(),
            "plan": self._plan,
            "apply": self._apply,
        }
        control = ControlServer(cluster, end=self.end, extra=extra)
        self.observe = ObserveServer(cluster, fidelity=self.world.fidelity)
        await cluster.nursery.start(control.serve, self.folder.socket)
        await cluster.nursery.start(self.observe.serve)

    async def _live(self, cluster: Cluster) -> dict[str, Any]:
        """The time between boot and end: the timeline plays, users come, somebody breaks things."""
        began_s = self.world.timers.now_s()
        cluster.nursery.start_soon(self._play)
        with trio.move_on_after(self.options.for_s if self.options.for_s is not None else math.inf):
            await self.ending.wait()
        ran_s = self.world.timers.now_s() - began_s
        if not self.ending.is_set():
            await cluster.heal()
        return await self.judge(ran_s, final=True)

    async def _play(self) -> None:
        """Play the faults of the topology; `apply` cancels and plays those of the new one."""
        with self._timeline:
            await timeline.play(self.cluster, self.topology.faults)

    async def judge(self, ran_s: float, *, final: bool = False) -> dict[str, Any]:
        """Sum up; a final judgement lets the users read back what they wrote.

        Ended by hand, they have a moment for it, and only if nothing is broken: what they cannot
        tell is unknown.
        """
        hurried = self.ending.is_set()
        users = await self._ask_users(final, hurried)
        return verdict.summarize(
            name=self.topology.name,
            nodes=len(self.cluster.slots),
            ready_s=self.cluster.ready_s or 0.0,
            ran_s=ran_s,
            users=users,
            fidelity=self.world.fidelity(),
            expectations=self.topology.expect,
            divergent_records=await self._divergent(),
            faults=self.cluster.timeline,
            complete=final and not hurried,
        )

    async def _ask_users(self, final: bool, hurried: bool) -> list[dict[str, Any]]:
        cluster = self.cluster
        names = [name for name, slot in cluster.slots.items() if slot.spec.kind == "users"]
        whole = not cluster.active and all(slot.state == "up" for slot in cluster.slots.values())
        answers: Mapping[str, Any] = {}
        if final and (whole or not hurried):
            timeout_s = HURRIED_S if hurried else FINISH_TIMEOUT_S
            answers = await cluster.each(
                names, lambda name: cluster.operator.ask(name, "finish", timeout_s=timeout_s)
            )
        silent = [name for name in names if not isinstance(answers.get(name), dict)]
        late = await cluster.each(
            silent, lambda name: cluster.operator.ask(name, "summary", timeout_s=ANSWER_S)
        )
        for name, answer in late.items():
            if isinstance(answer, RpcError):
                cluster.log.warning("users did not answer", node=name, why=str(answer))
        found = [late.get(name, answers.get(name)) for name in names]
        return [each for each in found if isinstance(each, dict)]

    async def _divergent(self) -> int:
        names = [
            name
            for name, slot in self.cluster.slots.items()
            if slot.placement.kind.roles and slot.running
        ]
        answers = await self.cluster.each(
            names, lambda name: self.cluster.operator.ask(name, "describe", timeout_s=ANSWER_S)
        )
        return sum(
            int(each.get("divergent_records", 0))
            for each in answers.values()
            if isinstance(each, dict)
        )

    def end(self, wipe: bool = False) -> None:
        """End the run; with `wipe`, forget the disks afterwards."""
        self.wipe_at_end = self.wipe_at_end or wipe
        self.ending.set()

    def facts(self) -> dict[str, Any]:
        """Who runs here: what `emu ps` and the first screen need to find it."""
        return {
            "name": self.topology.name,
            "file": self.topology.path,
            "pid": os.getpid(),
            "nodes": len(self.cluster.slots),
            "ready_s": self.cluster.ready_s,
            "observe": self.observe.url,
            "fidelity": self.world.fidelity(),
        }

    # --- the control socket's own verbs ----------------------------------------------------

    async def _summary(self, call: Call) -> dict[str, Any]:
        return await self.judge(self.world.timers.now_s() - (self.cluster.ready_s or 0.0))

    def _config(self, call: Call) -> dict[str, Any]:
        return {
            "name": self.topology.name,
            "file": self.topology.path,
            "tiers": {tier.name: len(tier.members) for tier in self.topology.tiers},
        }

    def _plan(self, call: Call, path: str) -> list[str]:
        return diff(self.cluster.topology, self._load(path)).lines()

    async def _apply(self, call: Call, path: str) -> list[str]:
        async with self._changing:
            topology = self._load(path)
            plan = diff(self.cluster.topology, topology)
            await self.cluster.apply(topology, plan)
            self.topology = topology
        if "faults" in plan.reconfigured:
            self._timeline.cancel()
            self._timeline = trio.CancelScope()
            self.cluster.nursery.start_soon(self._play)
        return plan.lines()

    def _load(self, path: str) -> Topology:
        """The changed file, under the name and the seed of this run."""
        try:
            topology = load(path)
        except (TopologyError, OSError) as error:
            raise RpcError("bad_request", str(error)) from error
        return replace(topology, name=self.topology.name, seed=self.topology.seed)
