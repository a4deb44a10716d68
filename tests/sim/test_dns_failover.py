"""Experiment 13: a failover by DNS takes detection + U(0, TTL), and as long as some resolvers keep
what they know where those keep it longer."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import emu
from emu.topology.loading import load

FILE = Path(__file__).parents[2] / "topologies" / "experiments" / "13-dns-failover.yaml"
INTERVAL_S, FALL, TTL_S, KEPT_S = 1.0, 3, 10.0, 30.0
SLACK_S = 0.8
"""Between two users, twice; and for a check to be answered."""
SEEDS = 200


@dataclass(frozen=True)
class Failover:
    detected_s: float
    """From the end of the region to when DNS gave the other one's address."""
    users_s: float
    unlucky_s: float


def failover(seed: int) -> Failover:
    """The region ends at a time that has nothing to do with what caches hold."""
    away_s = 12.0 + random.Random(f"{seed}/when").uniform(0, KEPT_S)

    async def script(c: emu.Scenario) -> Failover:
        await c.sleep(away_s)
        ended_s = c.now_s
        await c.kill("web us")
        withdrawn = await c.until("address withdrawn", server="web-1", node="dns-1")
        await c.sleep(TTL_S + 2)
        users_s = (await c.call_admin("users-us", "summary"))["users-us-1"]["outage_s"]
        await c.sleep(KEPT_S - TTL_S)
        unlucky_s = (await c.call_admin("unlucky", "summary"))["unlucky-1"]["outage_s"]
        return Failover(withdrawn["time_s"] - ended_s, users_s, unlucky_s)

    return emu.run(script, replace(load(FILE), faults=()), seed=seed)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[round(share * (len(values) - 1))]


@pytest.mark.parametrize("seed", range(1, 4))
def test_13_each_failover_is_detection_and_what_was_left_of_the_answer(seed: int) -> None:
    found = failover(seed)
    assert (FALL - 1) * INTERVAL_S - 0.1 <= found.detected_s <= FALL * INTERVAL_S + 0.6
    assert found.detected_s <= found.users_s <= found.detected_s + TTL_S + SLACK_S
    assert found.detected_s <= found.unlucky_s <= found.detected_s + KEPT_S + SLACK_S


@pytest.mark.soak
def test_13_over_200_seeds_the_mean_and_the_tail_are_the_formulas(record_property: Any) -> None:
    found = [failover(seed) for seed in range(1, SEEDS + 1)]
    rng = random.Random("formula")
    for name, kept_s in (("users_s", TTL_S), ("unlucky_s", KEPT_S)):
        measured = [getattr(each, name) for each in found]
        drawn = [(FALL - 1 + rng.random()) * INTERVAL_S + rng.uniform(0, kept_s)
                 for _ in range(20_000)]  # fmt: skip
        mean_s, formula_s = sum(measured) / len(measured), sum(drawn) / len(drawn)
        tail_s, formula_tail_s = quantile(measured, 0.95), quantile(drawn, 0.95)
        record_property(name, [mean_s, formula_s, tail_s, formula_tail_s])
        print(f"{name}: mean {mean_s:.2f} (formula {formula_s:.2f}), "
              f"p95 {tail_s:.2f} (formula {formula_tail_s:.2f})")  # fmt: skip
        assert mean_s == pytest.approx(formula_s, rel=0.1)
        assert tail_s == pytest.approx(formula_tail_s, rel=0.1)
