"""One live run, from a claimed state folder to its verdict: what `emu up` is, without the printing.

It joins the world, the cluster, the control socket and the observations; each
of them lives elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from emu.control.server import ControlServer
from emu.live.network import LOOPBACK
from emu.live.post import post_json
from emu.live.world import LiveWorld
from emu.machine.events import Event, Events
from emu.machine.lines import Lines
from emu.machine.world import World
from emu.model.problems import TopologyError
from emu.model.topology import Placement, Topology, diff
from emu.observe.alerting import Alerting
from emu.observe.explaining import consequences
from emu.observe.http import ObserveServer
from emu.observe.outbox import Address
from emu.observe.prometheus import Prometheus
from emu.observe.record import Record, record
from emu.observe.spans import Spans
from emu.observe.webhooks import Webhooks
from emu.operations.inject import inject
from emu.operations.tiers import kept_lines, resizable, with_kept
from emu.processes.goings import nodes_came, nodes_killed, nodes_leave, nodes_moved
from emu.processes.joining import MOST_SHOWN, Joined, Joining
from emu.processes.runner import Workers
from emu.processes.shared import SharedWorld
from emu.running import conditions, doors, timeline
from emu.running.conditions import Condition
from emu.running.handle import Runner
from emu.running.in_process import InProcess
from emu.running.operator import Operator
from emu.running.serving import until_they_serve
from emu.running.supervisor import CHANGED, IN_PROCESS, Cluster
from emu.state import StateFolder, keep_record
from emu.topology.loading import load
from emu.verdict.judging import Judge
from nodes.wire.service import Call
from protocols.errors import RpcError

LINES: Final = "lines.jsonl"
"""Of a cluster's state folder: what its nodes told, newest in it, older in `lines.jsonl.1`."""
SPANS_S: Final = 3.0
"""For a collector to take the last spans."""
TOLD_S: Final = 0.1
"""For the answer to whoever asked for the end to leave before the control socket goes."""


@dataclass(slots=True)
class SessionOptions:
    """How to run: for how long (None: until told), and what to print of the events."""

    for_s: float | None = None
    level: str = "info"
    until: Condition | None = None
    """It ends when this is met, too."""
    printer: Callable[[Event], None] | None = None
    aliases: bool = True
    workers: int = 1
    """Processes that run the nodes; 1: this one alone."""
    join_at: tuple[str, int] | None = None
    """Where processes may join, host and port (0: any)."""
    joined: Joined | None = None
    """Which nodes they run."""
    prometheus: bool = False
    """Whether the system's Prometheus scrapes it as long as it runs."""
    webhooks: tuple[Address, ...] = ()
    """Where alerts are posted to."""
    spans: Address | None = None
    """Where what nodes tell of requests is posted to."""


class Session:
    """A live run of one topology in one state folder."""

    def __init__(self, topology: Topology, folder: StateFolder, options: SessionOptions) -> None:
        self.topology = with_kept(topology, folder.kept_tiers())
        self.kept_lines = kept_lines(topology, self.topology)
        """What to say where a store's disks know better than the file how many shards it has."""
        self.folder = folder
        self.options = options
        self.summary: dict[str, Any] | None = None
        self.wipe_at_end = False
        self.ending = trio.Event()
        self.hurried = trio.Event()
        self._judged = trio.Event()
        self._patience = trio.CancelScope()
        """Around healing, reading back and judging: `hurry` cuts it short."""
        self._told_at_end = False
        self._timeline = trio.CancelScope()
        self._changing = trio.Lock()
        self._workers: Workers | None = None
        self._joining: Joining | None = None
        self.prometheus: Prometheus | None = None
        self.record: Record | None = None
        """What a report is drawn from (see observe/record.py), once the run is over."""

    async def run(self, on_ready: Callable[[Session], Awaitable[None]]) -> dict[str, Any]:
        """Boot, serve until the end, judge. Returns the summary (see emu/verdict/summary.py)."""
        options = self.options

        def make_events(now_s: Callable[[], float]) -> Events:
            return Events(now_s, level=options.level, printer=options.printer)

        several = options.workers > 1
        make: Callable[..., LiveWorld] = SharedWorld if several or options.joined else LiveWorld
        if options.join_at is not None and not options.join_at[0].startswith(LOOPBACK):
            make = partial(SharedWorld, outer=options.join_at[0])
        async with make(
            self.topology.seed,
            self.folder.data,
            temporary=self.folder.temporary,
            events=make_events,
            aliases=options.aliases,
        ) as world:
            self.world = world
            self._write_lines(world.events)
            async with Cluster(
                world,
                self.topology,
                events=world.events,
                inject=inject,
                runners={"": self._make_runner} if several or options.joined else IN_PROCESS,
            ) as cluster:
                self.cluster = cluster
                self._judge = Judge(cluster)
                self._alerting = self._judge.alerting = Alerting(cluster)
                await self._serve(cluster)
                self._keep_tiers()
                cluster.events.listeners.append(self._look_for_changes)
                await self._let_join(cluster)
                await cluster.boot(partial(until_they_serve, cluster))
                for line in self.kept_lines:
                    cluster.log.warning("not as the file says", why=line)
                world.settle()
                self.folder.describe(self.facts())
                await on_ready(self)
                self.summary = await self._live(cluster)
                return self.summary

    def _write_lines(self, events: Events) -> None:
        """Everything told, as JSON lines beside the disks."""
        try:
            lines = Lines(self.folder.path / LINES)
        except OSError as error:
            events.add("warning", "lines not written", {"why": str(error)})
            return
        events.listeners.append(lines.write)
        events.requests.listeners.append(lines.write)

    def _make_runner(
        self, world: World, events: Events, operator: Operator, nursery: trio.Nursery
    ) -> Runner:
        """Of the nodes, where emu's own process is not to run them all."""
        make = self._make_workers if self.options.workers > 1 else InProcess
        runner: Runner = make(world, events, operator, nursery)
        if self.options.joined is None:
            return runner
        self._joining = Joining(
            world,
            events,
            operator,
            nursery,
            joined=self.options.joined,
            inner=runner,
            placements=self._placements,
            code=self._code,
        )
        return self._joining

    def _placements(self) -> list[Placement]:
        """As they are now: a running cluster may have been scaled."""
        cluster: Cluster | None = getattr(self, "cluster", None)
        return (cluster.topology if cluster is not None else self.topology).placements()

    @property
    def _code(self) -> Path | None:
        return Path(self.topology.path).resolve().parent if self.topology.path else None

    async def _let_join(self, cluster: Cluster) -> None:
        """Open the door, and wait until every node that is to come with a process has come."""
        joining, options = self._joining, self.options
        if joining is None or options.join_at is None or options.joined is None:
            return
        joining.on_lost = partial(nodes_killed, cluster, restart=False)
        joining.on_came = partial(nodes_came, cluster)
        joining.on_leave = partial(nodes_leave, cluster)
        joining.on_moved = partial(nodes_moved, cluster)
        await cluster.nursery.start(joining.serve, *options.join_at)
        self.folder.keep_token(options.joined.token)
        self.folder.describe(self.facts())
        missing = joining.missing()
        if missing:
            cluster.log.warning(
                "waiting for processes", nodes=missing[:MOST_SHOWN], count=len(missing),
                command=f"emu node {missing[0]} --join {joining.address}",
            )  # fmt: skip
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._give_up_joining, joining)
            await joining.all_here()
            nursery.cancel_scope.cancel()

    async def _give_up_joining(self, joining: Joining) -> None:
        """Asked to end before there is anything to end."""
        await self.ending.wait()
        raise TimeoutError(f"ended before its nodes had joined: {', '.join(joining.missing()[:9])}")

    def _make_workers(
        self, world: World, events: Events, operator: Operator, nursery: trio.Nursery
    ) -> Workers:
        regions = [each.spec.region for each in self.topology.placements()]

        def on_killed(names: Sequence[str]) -> None:
            nursery.start_soon(nodes_killed, self.cluster, names)

        self._workers = Workers(
            world,
            events,
            operator,
            nursery,
            count=self.options.workers,
            regions=regions,
            code=self._code,
            on_killed=on_killed,
        )
        return self._workers

    async def _serve(self, cluster: Cluster) -> None:
        extra: dict[str, Callable[..., Any]] = {
            "summary": lambda call: self._interim(),
            "alerts": lambda call: self._alerting.shown(),
            "doctor": lambda call: self.observe.doctor(),
            "status": lambda call, since=0: self.observe.status(since),
            "record": lambda call: self._record_so_far(),
            "config": self._config,
            "info": lambda call: self.facts(),
            "plan": self._plan,
            "apply": self._apply,
            "down": self._down,
            "waits_for": lambda call: self.waits_for,
        }
        control = ControlServer(cluster, extra=extra)
        self.observe = ObserveServer(cluster, self._alerting, interim=self._interim)
        self._judge.sample = self.observe.sampler.sample
        await cluster.nursery.start(control.serve, self.folder.socket)
        await cluster.nursery.start(self.observe.serve)
        if self.options.prometheus:
            host = self.observe.endpoint.rpartition(":")[0]
            self.prometheus = Prometheus(host, self.folder.path / "prometheus")
            cluster.nursery.start_soon(self._scrape, self.prometheus)

    def _webhooks(self, cluster: Cluster) -> Webhooks:
        return Webhooks(
            self.options.webhooks, _post, cluster.log, cluster.world.metrics,
            cluster=self.topology.name, url=self.observe.url, now_s=cluster.world.timers.now_s,
            sleep=cluster.operator.sleep, began=self._began(cluster),
        )  # fmt: skip

    def _spans(self, cluster: Cluster, address: Address) -> Spans:
        began = self._began(cluster)
        return Spans(
            address, _post, cluster.log, cluster.world.metrics, cluster=self.topology.name,
            run_id=f"{self.topology.name} {began.isoformat()}", now_s=cluster.world.timers.now_s,
            sleep=cluster.operator.sleep, began=began,
        )  # fmt: skip

    @staticmethod
    def _began(cluster: Cluster) -> datetime:
        """When the cluster's time was 0."""
        return datetime.now(UTC) - timedelta(seconds=cluster.world.timers.now_s())

    async def _scrape(self, prometheus: Prometheus) -> None:
        async def ready() -> None:
            self.cluster.log.info("prometheus ready", url=prometheus.url)

        nodes = len(self.topology.placements())
        await prometheus.run(f"{self.observe.url}/sd", nodes, ready)
        self.cluster.log.error("prometheus ended", why=prometheus.problem)

    async def _live(self, cluster: Cluster) -> dict[str, Any]:
        """The time between boot and end: the timeline plays, users come, somebody breaks things."""
        began_s = self.world.timers.now_s()
        cluster.nursery.start_soon(self._play)
        if self.options.until is not None:
            cluster.nursery.start_soon(self._end_when, cluster, self.options.until)
        webhooks = self._webhooks(cluster)
        self._alerting.listeners.append(webhooks.tell)
        cluster.nursery.start_soon(webhooks.run)
        spans = None
        if self.options.spans is not None:
            spans = self._spans(cluster, self.options.spans)
            cluster.events.requests.listeners.append(spans.take)
            cluster.nursery.start_soon(spans.run)
        cluster.nursery.start_soon(self._alerting.run)
        for_s = self.options.for_s
        # In the cluster's time, as the timeline: a computer that was too busy cuts no fault short.
        with nullcontext() if for_s is None else cluster.operator.move_on_after(for_s):
            await self.ending.wait()
        ran_s = self.world.timers.now_s() - began_s
        self._timeline.cancel()
        summary = None
        with self._patience:
            summary = await self._judge.finish(self.topology.expect, ran_s)
        if summary is None:
            summary = await self._judge.hurry(self.topology.expect, ran_s)
        self.observe.judged(summary)
        self.record = record(cluster, self.observe.sampler, summary)
        summary["consequences"] = [asdict(each) for each in consequences(self.record)]
        summary["by_hand"] = cluster.by_hand
        self._keep_record(self.record)
        self.summary = summary
        if spans is not None:
            await spans.end(SPANS_S)
        self._judged.set()
        if self._told_at_end:
            await trio.sleep(TOLD_S)
        return summary

    async def _end_when(self, cluster: Cluster, condition: Condition) -> None:
        try:
            node = await conditions.until(cluster, condition)
        except ValueError as error:  # a TargetError, too
            cluster.log.error("condition not judged", condition=str(condition), why=str(error))
            return
        cluster.log.warning("condition met", condition=str(condition), by=node)
        self.end()

    def _keep_record(self, found: Record) -> None:
        """For `emu report`, once nobody runs that could be asked."""
        try:
            keep_record(self.topology.name, found)
        except (OSError, ValueError) as error:
            self.cluster.log.warning("record not kept", why=str(error))

    async def _play(self) -> None:
        """Play the faults of the topology; `apply` cancels and plays those of the new one."""
        with self._timeline:
            await timeline.play(self.cluster, self.topology.faults, own=True)

    def _look_for_changes(self, event: Event) -> None:
        if event["event"] == CHANGED:
            self._keep_tiers()

    def _keep_tiers(self) -> None:
        self.folder.keep_tiers(resizable(self.cluster.topology))

    def end(self, wipe: bool = False) -> None:
        """End the run as `--for` does: heal, let clients read back, judge. `wipe`: forget the disks
        afterwards."""
        self.wipe_at_end = self.wipe_at_end or wipe
        self.ending.set()

    def hurry(self) -> None:
        """End it with what is known in a moment."""
        self.ending.set()
        self.hurried.set()
        self._patience.cancel()

    async def _down(self, call: Call, wipe: bool = False, now: bool = False) -> dict[str, Any]:
        """End the run; the answer is its summary."""
        self._told_at_end = True
        self.end(wipe)
        if now:
            self.hurry()
        await self._judged.wait()
        assert self.summary is not None
        return self.summary

    @property
    def waits_for(self) -> str:
        """While the run ends: what that waits for."""
        return self._judge.waits_for

    def facts(self) -> dict[str, Any]:
        """Who runs here: what `emu ps` and the first screen need to find it."""
        return {
            "name": self.topology.name,
            "file": self.topology.path,
            "pid": os.getpid(),
            "nodes": len(self.cluster.instances),
            "ready_s": self.cluster.ready_s,
            "kept": self.folder.kept,
            "site": doors.site(self.cluster),
            "observe": self.observe.url,
            "page": self.observe.page_url,
            "prometheus": self.prometheus.url if self.prometheus is not None else "",
            "fidelity": self.world.fidelity(),
            "workers": self._workers.facts() if self._workers is not None else [],
            "join": self._joining.address if self._joining is not None else "",
            "joined": self._joining.facts() if self._joining is not None else [],
            "missing": self._joining.missing() if self._joining is not None else [],
        }

    # --- the control socket's own verbs ----------------------------------------------------

    async def _record_so_far(self) -> Record:
        return record(self.cluster, self.observe.sampler, await self._interim(sampled=True))

    async def _interim(self, *, sampled: bool = False) -> dict[str, Any]:
        ran_s = self.world.timers.now_s() - (self.cluster.ready_s or 0.0)
        return await self._judge.interim(self.topology.expect, ran_s, sampled=sampled)

    def _config(self, call: Call) -> dict[str, Any]:
        return {
            "name": self.topology.name,
            "file": self.topology.path,
            "tiers": {tier.name: len(tier.members) for tier in self.cluster.topology.tiers},
        }

    def _plan(self, call: Call, path: str, settings: Sequence[str] = ()) -> list[str]:
        file = self._load(path, settings)
        topology = self._kept(file)
        return diff(self.cluster.topology, topology).lines() + kept_lines(file, topology)

    async def _apply(self, call: Call, path: str, settings: Sequence[str] = ()) -> list[str]:
        async with self._changing:
            file = self._load(path, settings)
            topology = self._kept(file)
            plan = diff(self.cluster.topology, topology)
            await self.cluster.apply(topology, plan)
            self.topology = topology
        if "faults" in plan.reconfigured:
            self._timeline.cancel()
            self._timeline = trio.CancelScope()
            self.cluster.nursery.start_soon(self._play)
        return plan.lines() + kept_lines(file, topology)

    def _kept(self, file: Topology) -> Topology:
        """The file with the shards that run: only a reshard changes those."""
        return with_kept(file, resizable(self.cluster.topology))

    def _load(self, path: str, settings: Sequence[str]) -> Topology:
        """The changed file, under the name and the seed of this run."""
        try:
            topology = load(path, settings=settings)
        except (TopologyError, OSError) as error:
            raise RpcError("bad_request", str(error)) from error
        return replace(topology, name=self.topology.name, seed=self.topology.seed)


async def _post(address: Address, body: bytes) -> int:
    return await post_json(address.host, address.port, address.target, body)
