"""Every planted bug of workers is found by what `emu sim` runs: its own load, faults, verdict."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from emu.seeds.run import SeedRun, run_seed
from tests.planting import Bug, alarms, first_found
from tests.sim.planted_worker_bugs import BUGS

TOPOLOGY = Path(__file__).parent / "planted" / "workers.yaml"
FOR_S = 10.0
MOST_SEEDS = 200
CONTROL_SEEDS = 300
SAMPLE = ("a key's next job does not wait for the one before it",)
"""What CI looks for: it shows in the first seeds."""
MISSED = {
    "a job that failed is acknowledged like one that is done": "no job of this load fails: "
    "while the database is away they wait",
}
"""Not found, and why."""


def seed_run(seed: int) -> SeedRun:
    return SeedRun(str(TOPOLOGY), seed, FOR_S, "swarm")


def finding_seed(bug: Bug, seeds: Iterable[int]) -> int | None:
    return first_found(bug.plant, lambda seed: run_seed(seed_run(seed)).anomaly, seeds)


@pytest.mark.slow
@pytest.mark.parametrize("bug", [each for each in BUGS if each.sentence in SAMPLE])
def test_a_planted_bug_of_workers_is_found(bug: Bug) -> None:
    assert finding_seed(bug, range(1, MOST_SEEDS + 1)) is not None


@pytest.mark.soak
@pytest.mark.parametrize("bug", BUGS, ids=[each.sentence for each in BUGS])
def test_a_planted_bug_of_workers_is_found_within_200_seeds(bug: Bug) -> None:
    if bug.sentence in MISSED:
        pytest.xfail(MISSED[bug.sentence])
    seed = finding_seed(bug, range(1, MOST_SEEDS + 1))
    print(f"seed {seed}: {bug.sentence}")
    assert seed is not None


@pytest.mark.soak
def test_the_true_workers_give_no_alarm() -> None:
    runs = [seed_run(seed) for seed in range(1, CONTROL_SEEDS + 1)]
    assert alarms(runs) == []
