"""A thousand web nodes in one process: they boot, answer, and fit."""

from __future__ import annotations

import pytest

from emu.live.world import LiveWorld
from emu.operations.inject import inject
from emu.running.asking import ask_each
from emu.running.supervisor import Cluster
from emu.topology.loading import load
from tests.bench.boot import NODES, TOPOLOGY, memory


@pytest.mark.soak
async def test_a_thousand_web_nodes_are_up_in_one_process_and_answer(tmp_path):
    path = tmp_path / "thousand.yaml"
    path.write_text(TOPOLOGY)
    before = memory("self")["rss_mb"]
    async with LiveWorld(7, tmp_path / "data", temporary=True) as world:
        async with Cluster(world, load(path), events=world.events, inject=inject) as cluster:
            await cluster.boot()
            world.settle()
            assert {slot.state for slot in cluster.instances.values()} == {"up"}
            names = [name for name in cluster.instances if name.startswith("web-")]
            assert len(names) == NODES
            answers = await ask_each(names, lambda name: cluster.call_admin(name, "ping"))
            assert set(answers.values()) == {"pong"}
            assert memory("self")["rss_mb"] - before < 500
