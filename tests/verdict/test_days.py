"""Days of virtual time: what emu keeps of them does not grow with them, and all is judged."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

import pytest

from emu.scenario import cluster
from emu.sim.run import in_virtual_time
from emu.topology.loading import loads

TOPOLOGY = """
name: days
tiers:
  db: {kind: database, public: true}
  registers: {kind: clients, asks: db, workload: register, processes: 2, think_time: 4s}
  sets: {kind: clients, asks: db, workload: set, processes: 2, think_time: 8s}
"""
HOUR_S = 3600.0
FULL_AFTER_HOURS = 30
"""By then all that is kept up to a bound has met it: the latest of the log at last. What grows
later is what the clients store, on the disk and in the database."""
HOURS = max(FULL_AFTER_HOURS + 2, int(os.environ.get("EMU_SOAK_HOURS", "48")))


def memory_mb() -> float:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read as Linux tells it")
def test_memory_does_not_grow_with_the_days():
    sizes_mb: list[float] = []

    async def program() -> dict[str, Any]:
        async with cluster(loads(TOPOLOGY), world="sim") as c:
            for _ in range(HOURS):
                await c.sleep(HOUR_S)
                sizes_mb.append(memory_mb())
                assert len(c.cluster.world.history.operations) < 25_000
            return await c.finish()

    most_s = (HOURS + 1) * HOUR_S
    outcome = in_virtual_time(program, seed=1, max_virtual_s=most_s, watchdog_s=600)
    assert outcome.error is None and outcome.value is not None
    found = outcome.value
    assert (found["verdict"], found["anomalies"], found["undecided"]) == ("passed", [], [])
    assert sum(each["operations"] for each in found["judged"]) > 2000 * HOURS
    assert found["lost_acknowledged_writes"] == 0
    assert sizes_mb[-1] - sizes_mb[FULL_AFTER_HOURS] < 15, sizes_mb
