"""What the swarm found in the database, each as the shortest story that showed it."""

from __future__ import annotations

import pytest

import emu
from emu.sim.world import Knobs
from emu.topology.loading import loads
from tests.sim.test_clients import topology

SLOWLY = ", processes: 3, keys: 2"


def test_an_old_primary_forgets_what_it_did_ahead_of_the_group():
    """It had executed writes that the group never got; their log was cut, their effect stayed."""

    async def script(c: emu.Scenario) -> dict:
        await c.sleep(1)
        (primary,) = await c.resolve("db primary")
        await c.partition(primary, "all", one_way=True, for_s=4)  # it hears, and is not heard
        await c.until("divergent records saved", timeout_s=10)
        await c.sleep(6)
        return await c.finish()

    found = emu.run(script, topology("register"), seed=2)
    assert found["anomalies"] == []
    assert found["divergent_records"] > 0


@pytest.mark.parametrize("workload", ["bank", "register"])
def test_what_a_group_has_committed_waits_until_an_old_primarys_own_work_is_undone(workload):
    """Healed, it heard of a new epoch and of all its records at once; while it noted the epoch on
    its disk, it applied those behind its own to a state that still had its own."""

    async def script(c: emu.Scenario) -> dict:
        await c.sleep(1)
        (primary,) = await c.resolve("db primary")
        others = ",".join(name for name in ("db-1", "db-2", "db-3") if name != primary)
        await c.partition(primary, others, for_s=2)
        await c.sleep(8)
        return await c.finish()

    found = emu.run(script, topology(workload), seed=1)
    assert found["anomalies"] == []
    assert found["divergent_records"] > 0


def test_no_replica_answers_a_linearizable_read_while_the_primary_is_away():
    async def script(c: emu.Scenario) -> dict:
        await c.sleep(1)
        replica = (await c.resolve("db replica"))[0]
        await c.partition(replica, "all", for_s=6)
        await c.sleep(6.5)  # back, and still behind: its peer's retransmission waits
        await c.kill("db primary", for_s=2)
        await c.sleep(3)
        return await c.finish()

    assert emu.run(script, topology("register"), seed=0)["anomalies"] == []


def test_a_fault_that_is_refused_does_not_end_the_run():
    plan = loads(
        """
tiers:
  db: {kind: database, nodes: 3}
  load: {kind: clients, asks: db}
faults:
  - {at: 100ms, call: db-1, method: promote}
  - {at: 100ms, call: db-2, method: promote}
  - {at: 100ms, call: db-3, method: promote}
"""
    )

    async def script(c: emu.Scenario) -> int:
        c.start_playing(c.cluster.topology.faults)
        await c.sleep(1)
        assert (await c.finish())["anomalies"] == []
        return len(c.events("fault not possible"))

    assert emu.run(script, plan) >= 2


def test_an_old_primary_goes_back_before_it_applies_what_the_new_one_sends():
    """Its log was cut while it wrote the new epoch down, and the new records came before that was
    done: they were applied to a state that had the cut ones."""

    async def script(c: emu.Scenario) -> dict:
        await c.sleep(1)
        (primary,) = await c.resolve("db primary")
        await c.disk(primary, slow_factor=100.0)
        await c.partition(primary, "db", for_s=2.5)  # its clients go on reaching it
        await c.sleep(5)
        return await c.finish()

    for seed in range(3):
        knobs = Knobs(split_ratio=0.5)  # what was held arrives in pieces
        found = emu.run(script, topology("register", more=SLOWLY), seed=seed, knobs=knobs)
        assert found["anomalies"] == []
        assert found["divergent_records"] > 0
