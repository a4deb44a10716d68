"""Experiments 16 and 18: what scaling up, out, and at the wrong place does to what users get."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

import emu
from emu.scenario import Scenario
from emu.topology.loading import load

FOLDER: Final = Path(__file__).parents[2] / "topologies" / "experiments"


def got(name: str, from_s: float, until_s: float, seed: int | None = None) -> dict[str, float]:
    """Region → operations a second that its users got between these times of the file's run."""

    async def script(c: Scenario) -> dict[str, float]:
        def good(region: str) -> float:
            return c.metrics(f"users-{region}", "user_requests_total", outcome="ok")

        topology = c.cluster.topology
        c.start_playing([each for each in topology.faults if (each.at_s or 0.0) < until_s])
        await c.sleep(from_s)
        before = {each: good(each) for each in topology.regions}
        await c.sleep(until_s - from_s)
        return {each: (good(each) - before[each]) / (until_s - from_s) for each in before}

    return emu.run(script, load(FOLDER / f"{name}.yaml"), seed=seed)


def test_four_cores_carry_what_one_cannot_in_one_machine_or_in_four():
    found = got("16-up-or-out", 1.0, 3.0)
    assert found["small"] < 105
    assert found["big"] > 180 and found["many"] > 180


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_of_one_machine_nothing_is_left_when_it_dies_and_of_four_most(seed: int):
    found = got("16-up-or-out", 16.0, 19.0, seed)
    assert found["small"] == found["big"] == 0
    assert found["many"] > 150


def test_more_servers_before_a_full_database_give_users_less():
    found = got("18-scale-up-that-hurts", 2.0, 5.0)
    assert found["few"] > 20
    assert found["many"] < found["few"] / 5


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_stays_so(seed: int):
    found = got("18-scale-up-that-hurts", 5.0, 30.0, seed)
    assert found["many"] < found["few"] / 10
