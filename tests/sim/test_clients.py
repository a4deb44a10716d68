"""The clients kind: every workload, against a replicated database that loses its primary."""

from __future__ import annotations

import pytest

import emu
from emu.checks.history import Recorder
from emu.model.problems import TopologyError
from emu.topology.loading import loads

NODES = "nodes: 3"


def topology(workload: str, *, db: str = NODES, more: str = ""):
    return loads(
        f"""
tiers:
  db: {{kind: database, {db}}}
  load: {{kind: clients, asks: db, workload: {workload}, think_time: 50ms{more}}}
"""
    )


def operations(c: emu.Scenario) -> list:
    recorder = c.cluster.world.history
    assert isinstance(recorder, Recorder)
    return recorder.operations


@pytest.mark.parametrize("workload", ["register", "append", "transactions", "set", "bank"])
@pytest.mark.parametrize("more", ["", ", reads: replicas"], ids=["primary", "replicas"])
def test_every_workload_keeps_its_promise_through_a_failover(workload, more):
    async def script(c: emu.Scenario) -> dict:
        await c.sleep(1)
        await c.crash("db primary", for_s=2)
        promoted = await c.until("promoted", timeout_s=10)
        await c.sleep(3)
        summary = await c.finish()
        return {**summary, "epoch": promoted["epoch"], "history": operations(c)}

    found = emu.run(script, topology(workload, more=more), seed=3)
    assert found["anomalies"] == [] and found["undecided"] == []
    assert found["epoch"] > 1
    assert found["requests"] > 200
    models = {each.model for each in found["history"]}
    words = {each.f for each in found["history"]}
    register = "register" if more else "cas-register"
    expected = {"register": register, "append": "list-append", "transactions": "list-append"}
    assert models == {expected.get(workload, workload)}
    assert len(words) >= 2


def test_every_object_is_read_once_more_at_the_end():
    async def script(c: emu.Scenario) -> tuple:
        await c.sleep(2)
        end = len(operations(c))
        await c.finish()
        history = operations(c)
        return {each.key for each in history}, {
            each.key for each in history[end:] if each.f == "read" and each.is_ok
        }

    used, read_last = emu.run(script, topology("append", more=", operations_per_key: 10"))
    assert used == read_last
    assert len(used) > 4


def test_members_that_only_read_read_what_the_writers_wrote():
    async def script(c: emu.Scenario) -> list:
        await c.sleep(3)
        await c.finish()
        return operations(c)

    found = emu.run(script, topology("append", more=", nodes: 3, writers: 2"))
    nodes = {str(each.process).partition(".")[0] for each in found if each.f == "append"}
    assert nodes == {"load-1", "load-2"}
    read = [each.result for each in found if each.process == "load-3.1/0" and each.is_ok]
    assert any(read) and all(each.f == "read" for each in found if each.process == "load-3.1/0")


def test_what_a_setting_may_lose_is_counted_not_condemned():
    """Commits are acknowledged by the primary alone, and the primary is cut off and replaced."""

    async def cut_primary(c: emu.Scenario) -> dict:
        await c.sleep(1)
        (primary,) = await c.resolve("db primary")
        others = ",".join(name for name in ("db-1", "db-2", "db-3") if name != primary)
        await c.partition(primary, others, for_s=3)
        await c.sleep(6)
        return await c.finish()

    found = emu.run(cut_primary, topology("append", db="nodes: 3, ack: async"), seed=1)
    assert found["anomalies"] == []
    assert found["permitted_anomalies"] > 0
    assert found["divergent_records"] > 0


def test_a_way_may_be_slow_and_the_way_back_as_it_was():
    async def script(c: emu.Scenario) -> list[float]:
        links = c.cluster.world.links
        async with await c.slow("db-1", latency_s=0.2, to="db-2", one_way=True):
            return [links.link("db-1", "db-2").latency_s, links.link("db-2", "db-1").latency_s]

    assert emu.run(script, topology("append")) == [0.2, 0.0]


def test_without_tokens_replicas_show_old_states_and_that_is_counted():
    async def script(c: emu.Scenario) -> dict:
        await c.sleep(1)
        await c.slow("db", latency_s=0.05, to="db")
        await c.sleep(4)
        return await c.finish()

    with_tokens = emu.run(script, topology("append", more=", reads: replicas"))
    without = emu.run(script, topology("append", more=", reads: replicas, tokens: false"))
    assert with_tokens["permitted_anomalies"] == 0
    assert without["permitted_anomalies"] > 0
    assert with_tokens["anomalies"] == without["anomalies"] == []


def test_a_workload_that_the_tier_has_not_is_a_mistake_of_the_file():
    with pytest.raises(TopologyError, match=r":4:46: `workload`: `web` has no workload 'bank'"):
        loads(
            """
tiers:
  web: {kind: web, public: true}
  load: {kind: clients, asks: web, workload: bank}
"""
        )
