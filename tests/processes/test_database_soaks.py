"""The database's long proofs of durability and failover, its nodes in two worker processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.topology.loading import loads
from tests.live import test_database_durability as durability
from tests.live import test_database_failover as failover
from tests.processes.test_in_cluster import on_workers

pytestmark = pytest.mark.soak


async def test_ten_thousand_commits_survive_ten_kills_and_ten_power_cuts(tmp_path: Path) -> None:
    async with on_workers(loads(durability.ALONE), tmp_path) as c:
        durability.check(await durability.die_often(c, 10, 10_000), 10_000)


SCRIPTS = {
    "ten kills and ten power cuts": failover.often(("kill", "crash"), 10),
    "a paused primary": failover.sleeper(4.0),
    "a mute primary": failover.half_heard("mute"),
    "a deaf primary": failover.half_heard("deaf"),
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
async def test_a_lost_primary_costs_writers_a_moment_and_nothing_else(
    script: failover.Script, tmp_path: Path
) -> None:
    async with on_workers(failover.under_load(processes=20), tmp_path) as c:
        found = await script(c)
    failover.tell("on two workers", found)
    failover.check_whole(found)
    assert found["acknowledged_writes"] > 100
    if "late" in found:
        assert "acknowledged" not in found["late"] and found["role"] == "replica"
    elif "down_s" not in found and found["trustworthy"]:  # else this computer was too busy
        failover.check_gaps(found["gaps"], "live")
