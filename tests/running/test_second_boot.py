"""Groups whose disks were kept elect before anybody comes to ask."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from emu.live.world import LiveWorld
from emu.operations.inject import inject
from emu.running.serving import until_they_serve
from emu.running.supervisor import Cluster
from emu.topology.loading import loads

TIERS = """
tiers:
  lb: {kind: balancer, balances: web, check: http, public: true}
  web: {kind: web, uses: db}
  db: {kind: database, nodes: 3, detection_timeout: 200ms}
  asking: {kind: clients, asks: db, workload: set}
"""
TOLD = ("promoted", "server down", "web-1 up", "asking-1 up")


async def order_of_boot(folder: Path) -> list[str]:
    async with (
        LiveWorld(7, folder, temporary=False) as world,
        Cluster(world, loads(TIERS), events=world.events, inject=inject) as cluster,
    ):
        await cluster.boot(partial(until_they_serve, cluster))
        assert list(dict.fromkeys(name.rpartition("-")[0] for name in cluster.instances)) == [
            "lb", "web", "db", "asking",
        ]  # fmt: skip
        told = [
            f"{event.get('node')} up" if event["event"] == "node up" else event["event"]
            for event in world.events
        ]
        return [each for each in told if each in TOLD]


async def test_servers_and_then_users_come_when_a_second_run_has_elected(tmp_path: Path) -> None:
    for _ in range(2):
        assert await order_of_boot(tmp_path) == ["promoted", "web-1 up", "asking-1 up"]
