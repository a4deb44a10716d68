"""Every planted bug of scaling and of overload is found by what `emu sim` runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from emu.seeds.run import SeedRun, run_seed
from tests.planting import alarms, first_found
from tests.sim.planted_scaling_bugs import BUGS, ScalingBug

TOPOLOGY = Path(__file__).parent / "planted" / "scaled.yaml"
FOR_S = 11.0
MOST_SEEDS = 200
SAMPLE_SEEDS = 20
CONTROL_SEEDS = 500

each_bug = pytest.mark.parametrize("bug", BUGS, ids=[each.sentence for each in BUGS])


def seed_run(seed: int) -> SeedRun:
    return SeedRun(str(TOPOLOGY), seed, FOR_S, "swarm")


def finding_seed(bug: ScalingBug, seeds: Iterable[int]) -> int | None:
    return first_found(bug.plant, lambda seed: run_seed(seed_run(seed)).anomaly, seeds)


def test_the_bugs_are_many():
    assert len(BUGS) == len({each.sentence for each in BUGS}) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS[:1], ids=[each.sentence for each in BUGS[:1]])
def test_a_planted_bug_is_found(bug: ScalingBug):
    assert finding_seed(bug, range(bug.seed, bug.seed + SAMPLE_SEEDS)) is not None


@pytest.mark.soak
@each_bug
def test_a_planted_bug_is_found_within_200_seeds(bug: ScalingBug):
    seed = finding_seed(bug, range(1, MOST_SEEDS + 1))
    print(f"seed {seed}: {bug.sentence}")
    assert seed is not None


@pytest.mark.soak
def test_the_true_code_gives_no_alarm_in_500_seeds():
    assert alarms([seed_run(seed) for seed in range(1, CONTROL_SEEDS + 1)]) == []
