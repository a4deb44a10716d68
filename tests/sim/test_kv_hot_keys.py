"""Experiment 17: one key with half of the load is named, and what each cure makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.parts.near_cache import MISSING, NearCache

STORE = """
links: {{defaults: {{within: 0.3ms}}}}
tiers:
  kv: {{kind: kv, public: true, shards: 3, replicas: 2, cpu: {{cores: 1, service_time: 5ms}}{cure}}}
  load: {{kind: clients, asks: kv-router, workload: hot, processes: 40, think_time: 0ms}}
"""
FOR_S = 8.0


def measured(cure: str = "") -> dict[str, Any]:
    """Operations a second of forty clients, half of which ask for one key."""

    async def script(c: Scenario) -> dict[str, Any]:
        began_s = c.now_s
        await c.sleep(FOR_S)
        named = c.events("hot key")
        ratio = max(c.metrics(f"kv-shard-{number}", "hot_key_ratio") for number in (1, 2, 3))
        summary = await c.finish()
        assert summary["anomalies"] == []
        return {
            "per_s": summary["requests"] / FOR_S,
            "named": [(each["key"], each["time_s"] - began_s) for each in named],
            "ratio": ratio,
        }

    return run(script, loads(STORE.format(cure=cure)), seed=17)


@pytest.fixture(scope="module")
def without() -> dict[str, Any]:
    return measured()


def test_a_key_with_half_of_the_load_is_named_within_five_seconds(without: Any) -> None:
    key, after_s = without["named"][0]
    assert key == "hot" and after_s < 5
    assert {key for key, _ in without["named"]} == {"hot"}
    assert without["ratio"] > 0.3


@pytest.mark.parametrize(
    ("cure", "at_least"),
    [
        (", copies: {hot: 6}", 1.25),
        (", max_lag: 1s", 1.5),
        (", near_cache: 500ms", 1.5),
    ],
)
def test_each_cure_lets_the_other_shards_work_again(
    without: Any, cure: str, at_least: float
) -> None:
    cured = measured(cure)
    assert cured["per_s"] > at_least * without["per_s"], (cured["per_s"], without["per_s"])


def test_a_near_cache_never_shows_what_is_older_than_it_may() -> None:
    near = NearCache(0.5, entries=2)
    near.put("a", 1, asked_s=10.0)
    assert near.get("a", 10.49) == 1
    assert near.get("a", 10.5) is MISSING
    near.put("a", None, 11.0)
    assert near.get("a", 11.1) is None
    near.put("b", 2, 11.0)
    near.put("c", 3, 11.0)
    assert near.get("a", 11.1) is MISSING
    near.forget("b")
    assert near.get("b", 11.1) is MISSING and near.get("c", 11.1) == 3
