"""Groups whose disks were kept elect before anybody comes to ask."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from emu.live.world import LiveWorld
from emu.operations.inject import inject
from emu.running.supervisor import Cluster
from emu.session import until_led
from emu.topology.loading import loads

TIERS = """
tiers:
  db: {kind: database, nodes: 3, detection_timeout: 200ms}
  asking: {kind: clients, asks: db, workload: set}
"""


async def order_of_boot(folder: Path) -> list[str]:
    async with (
        LiveWorld(7, folder, temporary=False) as world,
        Cluster(world, loads(TIERS), events=world.events, inject=inject) as cluster,
    ):
        await cluster.boot(partial(until_led, cluster, asked_again_s=0.0))
        return [
            event["event"]
            for event in world.events
            if event["event"] == "promoted"
            or (event["event"], event.get("node")) == ("node up", "asking-1")
        ]


async def test_users_come_when_a_second_run_has_elected(tmp_path: Path) -> None:
    assert "node up" in await order_of_boot(tmp_path)
    assert await order_of_boot(tmp_path) == ["promoted", "node up"]
