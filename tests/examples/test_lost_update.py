"""The first lesson holds: the swarm finds the lost update, nothing finds one once it is cured."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.seeds.run import SeedResult, SeedRun, run_seed

FOLDER = Path(__file__).parent / "lost_update"
FOR_S = 15.0


def run(name: str, seed: int, faults: str = "swarm") -> SeedResult:
    return run_seed(SeedRun(str(FOLDER / name), seed, FOR_S, faults))


def first_failure(name: str, seeds: range, faults: str = "swarm") -> SeedResult | None:
    results = (run(name, seed, faults) for seed in seeds)
    return next((each for each in results if each.anomaly), None)


def test_the_swarm_finds_the_lost_update_and_says_where():
    found = first_failure("lost-update.yaml", range(1, 11))
    assert found is not None and found.kind == "kv"
    assert found.anomaly.startswith('kv, key "clicks":') and "cannot be" in found.anomaly
    assert len(found.operations) >= 2 and all("clickers-1" in each for each in found.operations)


def test_without_faults_the_mistake_does_not_show():
    assert first_failure("lost-update.yaml", range(1, 3), "none") is None


def test_the_cured_counter_bears_the_seeds_that_broke_the_other():
    assert first_failure("fixed.yaml", range(1, 6)) is None


@pytest.mark.soak
def test_the_lesson_over_many_seeds():
    assert first_failure("lost-update.yaml", range(1, 101), "none") is None
    assert first_failure("fixed.yaml", range(1, 301)) is None
    broken = [seed for seed in range(1, 101) if run("lost-update.yaml", seed).anomaly]
    assert len(broken) >= 10
