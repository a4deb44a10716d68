"""A whole cluster in worker processes: the supervisor and all above it talk to handles, and see no
difference."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import emu
from emu.model.topology import Topology
from emu.observe.sampling import Sampler
from emu.operations.inject import inject
from emu.processes.goings import nodes_killed
from emu.processes.runner import Workers
from emu.processes.shared import SharedWorld
from emu.running.supervisor import Cluster
from emu.scenario import Scenario
from emu.topology.loading import load, loads
from nodes.kind import Kind
from nodes.kinds import KINDS
from protocols.errors import RpcError
from tests.processes.notebook import NOTEBOOK

pytestmark = pytest.mark.slow

PADS = """
tiers:
  pad: {kind: pad, nodes: 2, restart: on-failure}
  desk: {kind: desk}
"""
LOTTERY = Path(__file__).parents[1] / "examples" / "lottery" / "lottery.yaml"
DATABASE = """
seed: 5
links: {defaults: {within: 0.3ms, bandwidth: 1Gbit}}
tiers:
  db: {kind: database, nodes: 3, ack: quorum, detection_timeout: 1s, restart: on-failure}
  load: {kind: clients, asks: db, workload: set, processes: 4, think_time: 50ms, timeout: 3s}
"""


@asynccontextmanager
async def running(
    text: str, kinds: Mapping[str, Kind], folder: Path
) -> AsyncIterator[emu.Scenario]:
    async with on_workers(loads(text, kinds=kinds), folder) as c:
        yield c


@asynccontextmanager
async def on_workers(topology: Topology, folder: Path) -> AsyncIterator[emu.Scenario]:
    """Two workers run every node."""

    def make(world, events, operator, nursery) -> Workers:
        def on_killed(names: Sequence[str]) -> None:
            nursery.start_soon(nodes_killed, cluster, names)

        code = Path(topology.path).resolve().parent
        return Workers(world, events, operator, nursery, count=2, code=code, on_killed=on_killed)

    async with (
        SharedWorld(topology.seed, folder, temporary=True) as world,
        Cluster(world, topology, events=world.events, inject=inject, runners={"": make}) as cluster,
    ):
        scenario = Scenario(cluster)
        await cluster.boot()
        world.settle()
        yield scenario


@asynccontextmanager
async def pads(folder: Path) -> AsyncIterator[emu.Scenario]:
    async with running(PADS, {"pad": NOTEBOOK, "desk": NOTEBOOK}, folder) as c:
        yield c


def kill_worker_of(c: emu.Scenario, name: str) -> None:
    """As somebody else would."""
    os.kill(c.cluster.instances[name].handle.process.pid, signal.SIGKILL)


@pytest.mark.soak
async def test_every_verb_does_to_a_process_what_it_does_to_a_task(tmp_path):
    async with pads(tmp_path) as c:
        assert [(row["name"], row["state"]) for row in await c.ps()] == [
            ("pad-1", "up"), ("pad-2", "up"), ("desk-1", "up")]  # fmt: skip
        for name in ("pad-1", "desk-1"):
            async with await c.disk(name, full=True):
                with pytest.raises(RpcError):
                    await c.call(name, "note", "no room")
            await c.call(name, "note", "kept")
            await c.call(name, "keep")
            async with await c.skew(name, step_s=500.0):
                later_s = (await c.call(name, "time"))[1]
            assert later_s - (await c.call(name, "time"))[1] > 400
            async with await c.cpu(name, cores=3):
                assert await c.call(name, "cores") == 3
            async with await c.pause(name):
                assert (await c.ps(name))[0]["state"] == "paused"
                assert isinstance((await c.call_admin(name, "ping"))[name], RpcError)
            async with await c.kill(name):
                assert (await c.ps(name))[0]["state"] == "killed"
            await c.crash(name, in_write=True)
            await c.start(name)
            row = (await c.ps(name))[0]
            assert (row["state"], row["generation"]) == ("up", 3)
            assert await c.call(name, "read") == "kept"
            await c.restart(name)
        assert not c.cluster.active


async def test_a_process_that_fails_is_started_again_as_its_tier_says(tmp_path):
    async with pads(tmp_path) as c:
        await c.call("pad-1", "fail", "out of paper")
        await c.until("node up", node="pad-1", timeout_s=30)
        (failure,) = c.events("node failed")
        assert failure["node"] == "pad-1"
        assert failure["error"].startswith("RuntimeError: out of paper (notebook.py:")
        assert (await c.ps("pad-1"))[0]["generation"] == 2


async def test_processes_come_and_go_with_their_tier_and_are_measured(tmp_path):
    async with pads(tmp_path) as c:
        sampler = Sampler(c.cluster)
        for _ in range(5):
            await c.call("pad-2", "note", "x")
        while c.metrics("pad-2", "notes_total") < 5:
            await c.sleep(0.02)
        await c.sleep(0.2)
        await sampler.sample()
        assert sampler.nodes["pad-2"].counts.requests >= 5
        await c.scale("pad", 3)
        assert await c.call("pad-3", "read") == ""
        await c.scale("pad", 1)
        assert sorted(c.cluster.instances) == ["desk-1", "pad-1"]


async def test_nodes_of_code_beside_the_topology_run_in_workers_too(tmp_path):
    async with on_workers(load(LOTTERY), tmp_path) as c:
        await c.until("promoted", timeout_s=30)
        summary = await c.finish()
        assert summary["anomalies"] == []


async def test_a_killed_worker_is_a_kill_of_its_nodes_and_their_tiers_say_what_comes(tmp_path):
    async with pads(tmp_path) as c:
        mates = [row["name"] for row in await c.ps()]
        mates = [each for each in mates if c.cluster.instances[each].handle.process.number == 1]
        assert mates == ["pad-1", "desk-1"]
        kill_worker_of(c, "pad-1")
        await c.until("process killed", timeout_s=30)
        await c.until("node up", node="pad-1", timeout_s=30)
        assert {(row["name"], row["state"]) for row in await c.ps()} == {
            ("pad-1", "up"), ("pad-2", "up"), ("desk-1", "killed")}  # fmt: skip
        (killed,) = c.cluster.active.values()
        assert (killed.fault.verb, killed.nodes) == ("kill", ("pad-1", "desk-1"))
        await c.heal()
        assert (await c.ps("desk-1"))[0]["state"] == "up" and not c.cluster.active
        assert not c.events("node failed")


async def test_a_quorum_loses_nothing_acknowledged_when_nodes_and_workers_are_killed(tmp_path):
    async with running(DATABASE, KINDS, tmp_path) as c:
        for break_it in (c.kill, c.crash):
            await c.sleep(1.0)
            async with await break_it("db primary"):
                await c.until("promoted", timeout_s=30)
        for worker in ("db-1", "db-2"):
            await c.sleep(1.0)
            kill_worker_of(c, worker)
            await c.until("process killed", timeout_s=30)
            await c.until("node up", node=worker, timeout_s=30)
        summary = await c.finish()
        assert (summary["anomalies"], summary["lost_acknowledged_writes"]) == ([], 0)
        assert summary["acknowledged_writes"] > 50
        assert len(c.events("process killed")) == 2
