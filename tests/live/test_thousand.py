"""A thousand web nodes in one process, and in two workers: they boot, answer, and fit."""

from __future__ import annotations

import pytest

from emu.live.world import LiveWorld
from emu.operations.inject import inject
from emu.running.asking import ask_each
from emu.running.supervisor import Cluster
from emu.topology.loading import load
from tests.bench.boot import NODES, TOPOLOGY, memory
from tests.processes.test_in_cluster import on_workers


async def all_answer(cluster: Cluster) -> None:
    assert {slot.state for slot in cluster.instances.values()} == {"up"}
    names = [name for name in cluster.instances if name.startswith("web-")]
    assert len(names) == NODES
    answers = await ask_each(names, lambda name: cluster.call_admin(name, "ping"))
    assert set(answers.values()) == {"pong"}


@pytest.mark.soak
async def test_a_thousand_web_nodes_are_up_in_one_process_and_answer(tmp_path):
    path = tmp_path / "thousand.yaml"
    path.write_text(TOPOLOGY)
    before = memory("self")["rss_mb"]
    async with LiveWorld(7, tmp_path / "data", temporary=True) as world:
        async with Cluster(world, load(path), events=world.events, inject=inject) as cluster:
            await cluster.boot()
            world.settle()
            await all_answer(cluster)
            assert memory("self")["rss_mb"] - before < 500


@pytest.mark.soak
async def test_a_thousand_web_nodes_are_up_in_two_workers_and_answer(tmp_path):
    path = tmp_path / "thousand.yaml"
    path.write_text(TOPOLOGY)
    async with on_workers(load(path), tmp_path / "data") as c:
        await all_answer(c.cluster)
        workers = {slot.handle.process.pid for slot in c.cluster.instances.values()}
        assert len(workers) == 2
