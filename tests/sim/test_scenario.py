"""The scripting API: the same script in both worlds, with the verbs of emu/model/faults.py."""

from __future__ import annotations

import inspect

import pytest
import trio

import emu
from emu.model.faults import Kill
from emu.model.topology import FaultItem
from emu.model.vocabulary import verbs
from emu.running.targets import TargetError

FOUR = "topologies/04-load-balancer.yaml"


async def kill_one_and_finish(c: emu.Scenario) -> dict:
    await c.sleep(1)
    await c.kill("one web", for_s=1)
    assert [row["state"] for row in await c.ps("web")].count("killed") == 1
    back = await c.until("node up", tier="web")
    assert back["generation"] == 2
    await c.sleep(1)
    summary = await c.finish()
    return {**summary, "web_requests": c.metrics("web", "requests_total")}


@pytest.mark.parametrize("world", ["sim", pytest.param("live", marks=pytest.mark.slow)])
def test_the_same_script_runs_in_both_worlds(world):
    summary = emu.run(kill_one_and_finish, FOUR, world=world, seed=7)
    assert summary["requests"] > 100
    assert summary["web_requests"] > 60
    assert summary["lost_acknowledged_writes"] == 0
    assert summary["anomalies"] == []
    assert [each["verb"] for each in summary["faults"]] == ["kill"]


def test_every_verb_of_the_vocabulary_is_a_method_with_its_own_arguments():
    for verb, kind in verbs().items():
        method = getattr(emu.Scenario, verb.replace(" ", "_").replace("-", "_"))
        if verb != "call":  # asks and answers, where the fault only calls
            assert set(inspect.signature(kind).parameters) < set(
                inspect.signature(method).parameters
            )
            assert method.__doc__ == inspect.getdoc(kind)


def test_a_partition_as_a_block_ends_with_it():
    async def script(c: emu.Scenario) -> list[str]:
        async with await c.partition("lb", "web"):
            during = list(c.cluster.active)
            await c.sleep(0.5)
        return [f"{len(during)} active, then {len(c.cluster.active)}"]

    assert emu.run(script, FOUR) == ["1 active, then 0"]


def test_what_a_script_raises_is_raised_as_it_is():
    async def script(c: emu.Scenario) -> None:
        await c.kill("wbe")

    with pytest.raises(TargetError, match="did you mean `web"):
        emu.run(script, FOUR)


def test_an_unknown_verb_or_metric_is_answered_with_what_there_is():
    async def script(c: emu.Scenario) -> None:
        with pytest.raises(AttributeError, match="did you mean `kill`"):
            await c.kil("web")
        with pytest.raises(KeyError, match="did you mean `emu_requests_total`"):
            c.metrics("web", "requests_totl")

    emu.run(script, FOUR)


def test_a_simulated_cluster_outside_virtual_time_says_what_to_call():
    async def main() -> None:
        async with emu.cluster(FOUR, world="sim"):
            raise AssertionError("not reached")

    with pytest.raises(RuntimeError, match=r"emu\.run\(script"):
        trio.run(main)


def test_a_call_reaches_the_front_of_one_node_and_refuses_several():
    async def script(c: emu.Scenario) -> None:
        await c.sleep(0.1)
        rows = await c.call("db", "query", "SELECT 1 + 1")
        assert rows["rows"] == [[2]]
        with pytest.raises(ValueError, match="3 nodes"):
            await c.call("web", "ping")
        answers = await c.call_admin("web", "ping")
        assert sorted(answers) == ["web-1", "web-2", "web-3"]

    emu.run(script, FOUR)


def test_waiting_for_an_event_that_does_not_come_ends():
    async def script(c: emu.Scenario) -> float:
        with pytest.raises(TimeoutError, match="no event `node failed`"):
            await c.until("node failed", timeout_s=3)
        return c.now_s

    assert emu.run(script, FOUR) == pytest.approx(3, abs=0.1)


def test_a_fault_that_waits_for_an_event_does_not_take_one_that_came_too_soon():
    async def script(c: emu.Scenario) -> float:
        fault = FaultItem(Kill("web-2"), 0.1, on="node-killed", for_s=1.0, since_s=2.0)
        c.start_playing([fault])
        for _ in range(2):
            await c.sleep(1.5)
            await c.kill("web-1", for_s=0.2)
        event = await c.until("node killed", node="web-2")
        return float(event["time_s"])

    assert emu.run(script, FOUR) == pytest.approx(3.1, abs=0.1)


def test_a_node_that_was_scaled_away_comes_back_as_a_later_generation():
    async def script(c: emu.Scenario) -> list[int]:
        found = []
        for nodes in (3, 2, 3):
            await c.scale("web", nodes)
            found += [row["generation"] for row in await c.ps("web") if row["name"] == "web-3"]
        return found

    assert emu.run(script, FOUR) == [1, 2]
