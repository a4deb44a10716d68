"""The experiments of topologies/experiments that concern the cache, as their files have it: 7 herd,
8 stale set, 9 eviction, 10 gutter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emu.scenario import Scenario, run
from emu.topology.loading import load
from nodes.cache.judged import count

EXPERIMENTS = Path(__file__).parents[2] / "topologies" / "experiments"


def played(name: str, script: Any) -> Any:
    """What the script finds, once the run is judged and nothing is wrong with it."""

    async def whole(c: Scenario) -> Any:
        found = await script(c)
        summary = await c.finish()
        assert summary["anomalies"] == [] and summary["undecided"] == []
        return found

    return run(whole, load(EXPERIMENTS / f"{name}.yaml"))


def questions(c: Scenario, readers: str) -> float:
    """What its readers asked the database for."""
    return c.metrics(readers, "cache_loads_total")


def reads(c: Scenario, cache: str) -> float:
    return c.metrics(cache, "cache_requests_total")


def hits(c: Scenario, cache: str) -> float:
    results = ("hit", "negative_hit")
    return sum(c.metrics(cache, "cache_requests_total", result=each) for each in results)


def test_7_with_leases_the_database_sees_a_tenth_of_the_herd() -> None:
    async def script(c: Scenario) -> dict[str, float]:
        await c.sleep(2.0)
        before = {each: questions(c, f"{each}-readers") for each in ("plain", "leased")}
        await c.sleep(5.0)
        return {each: questions(c, f"{each}-readers") - before[each] for each in before}

    seen = played("07-thundering-herd", script)
    print(f"the database was asked in 5 s: {seen}")
    assert 5 <= seen["leased"] <= 15, "once for each time that it expired"
    assert seen["plain"] >= 10 * seen["leased"], seen


def test_8_a_stale_value_is_set_without_leases_and_never_with_them() -> None:
    async def script(c: Scenario) -> dict[str, int]:
        await c.sleep(5.0)
        operations = c.cluster.world.history.operations
        stale = {"plain": 0, "leased": 0}
        for tier in stale:
            keys = {each.key for each in operations if str(each.key).startswith(tier)}
            for key in sorted(keys):
                found = count([each for each in operations if each.key == key])["stale_reads"]
                stale[tier] += found or 0
        refused = (await c.call("leased", "stats"))["refused_fills"]
        return {**stale, "refused": refused}

    seen = played("08-stale-set", script)
    assert seen["plain"] > 0 and seen["leased"] == 0 and seen["refused"] > 0, seen


@pytest.mark.soak
def test_9_newcomers_that_must_prove_themselves_leave_room_for_what_is_wanted() -> None:
    """(tests/nodes/parts/test_eviction.py has the figures of long traces.)"""

    async def script(c: Scenario) -> dict[str, float]:
        await c.sleep(6.0)
        return {
            each: (await c.call(each, "stats"))["hit_ratio"]
            for each in ("fifo", "lru", "sieve", "s3fifo")
        }

    ratios = played("09-eviction", script)
    assert ratios["fifo"] + 0.02 < ratios["lru"], ratios
    assert ratios["lru"] + 0.02 < min(ratios["sieve"], ratios["s3fifo"]), ratios


@pytest.mark.slow
@pytest.mark.parametrize("window_s", [6, pytest.param(30, marks=pytest.mark.soak)])
def test_10_a_gutter_halves_what_a_dead_node_does_to_the_database(window_s: int) -> None:
    calm_s = 4
    ratios: dict[str, float] = {}

    async def script(c: Scenario) -> dict[str, list[float]]:
        await c.sleep(1.0)  # clients have begun
        found: dict[str, list[float]] = {each: [] for each in ("bare", "caught")}
        for each in found:
            found[each] = [hits(c, each), reads(c, each)]
        asked: dict[str, list[float]] = {"bare": [], "caught": []}
        for second in range(calm_s + window_s):
            if second == calm_s:
                for each, (hit, read) in found.items():
                    ratios[each] = (hits(c, each) - hit) / (reads(c, each) - read)
                await c.kill("bare-2,caught-2")
            before = {each: questions(c, f"{each}-readers") for each in asked}
            await c.sleep(1.0)
            for each in asked:
                asked[each].append(questions(c, f"{each}-readers") - before[each])
        await c.heal()
        return asked

    asked = played("10-gutter", script)
    peaks = {each: max(seconds[calm_s:]) for each, seconds in asked.items()}
    calm = {each: sum(seconds[1:calm_s]) / (calm_s - 1) for each, seconds in asked.items()}
    print(f"hits before: {ratios}; asked in a second at most, over {window_s} s: {peaks}, ", end="")
    print(f"before on average: {calm}")
    assert all(0.93 < each < 0.97 for each in ratios.values()), ratios
    assert peaks["caught"] <= 0.5 * peaks["bare"], (peaks, calm)
    assert calm["bare"] < peaks["bare"] / 3
