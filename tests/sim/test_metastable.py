"""Experiment 15: a retry storm never ends by itself, and each cure alone ends it. By seed.

The file's own numbers (100/s, 10 s of outage) are a soak; CI plays half of it, in the same ratios.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

import emu
from emu.model.topology import Topology
from emu.scenario import Scenario
from emu.topology.loading import loads

FILE: Final = Path(__file__).parents[2] / "topologies" / "experiments" / "15-metastable.yaml"
SHORT: Final = (3.0, 5.0, 15.0)
"""When the outage begins, how long it lasts, and when all is looked at."""
HALF: Final = {"service_time": "60ms", "max_queue": 150}
CURES: Final[dict[str, tuple[str, dict[str, Any], dict[str, Any]]]] = {
    "deadline": ("deadline", {}, {}),
    "limit": ("limit", {}, {}),
    "the last first": ("bare", {"order": "lifo"}, {}),
    "breaker": ("bare", {}, {"breaker": {"failures": 20}}),
}
"""Name → the arm of the file, and what is changed of its cpu and of its users."""


def arm(
    name: str, cpu: dict[str, Any], users: dict[str, Any], fault: tuple[float, float]
) -> Topology:
    """One of the four, alone."""
    yaml = YAML()
    file = yaml.load(FILE.read_text())
    web = file["tiers"][f"{name}-web"]
    web["cpu"].update(cpu)
    file["users"][name].update(users)
    file["regions"], file["tiers"] = [name], {f"{name}-web": web}
    file["users"] = {name: file["users"][name]}
    del file["accepts"]
    at_s, for_s = fault
    file["faults"] = [{"at": f"{at_s}s", "pause": f"{name}-web", "for": f"{for_s}s"}]
    out = io.StringIO()
    yaml.dump(file, out)
    return loads(out.getvalue())


def goodput(topology: Topology, until_s: float, seed: int | None = None) -> tuple[float, float]:
    """What users got of what they asked for: in the 2 s before the outage, the last 3 s."""

    async def script(c: Scenario) -> tuple[float, float]:
        name = topology.regions[0]
        begins_s = topology.faults[0].at_s
        assert begins_s is not None
        rate_per_s = topology.users[0].config.rate_per_s

        async def good(seconds: float) -> float:
            before = c.metrics(f"users-{name}", "user_requests_total", outcome="ok")
            await c.sleep(seconds)
            after = c.metrics(f"users-{name}", "user_requests_total", outcome="ok")
            return (after - before) / seconds / rate_per_s

        c.start_playing(topology.faults)
        await c.sleep(begins_s - 2.0)
        first = await good(2.0)
        await c.sleep(until_s - begins_s - 3.0)
        return first, await good(3.0)

    return emu.run(script, topology, seed=seed)


def halved(cure: str) -> tuple[float, float]:
    name, cpu, users = CURES.get(cure, ("bare", {}, {}))
    begins_s, for_s, until_s = SHORT
    small = arm(name, {**HALF, **cpu}, {**users, "rate": "46.5/s"}, (begins_s, for_s))
    return goodput(small, until_s)


def test_without_a_cure_a_storm_outlives_its_cause():
    before, after = halved("none")
    assert before > 0.8
    assert after < 0.05


@pytest.mark.parametrize("cure", ["deadline", "limit"])
def test_one_cure_alone_ends_it(cure: str):
    before, after = halved(cure)
    assert before > 0.8
    assert after > 0.7


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_a_cure_it_has_not_ended_after_two_minutes(seed: int):
    _, after = goodput(arm("bare", {}, {}, (10.0, 10.0)), 140.0, seed)
    assert after < 0.05


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("cure", CURES)
def test_each_cure_ends_it_within_a_quarter_of_a_minute(cure: str, seed: int):
    _, after = goodput(arm(*CURES[cure], (10.0, 10.0)), 35.0, seed)
    assert after > 0.8


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_budget_ends_it_as_fast_as_the_queue_empties(seed: int):
    """Nothing succeeds, so nothing is tried again: 93/s of 100/s leave 7/s for the queue of 300."""
    _, early = goodput(arm("budget", {}, {}, (10.0, 10.0)), 35.0, seed)
    _, late = goodput(arm("budget", {}, {}, (10.0, 10.0)), 75.0, seed)
    assert early < 0.05
    assert late > 0.8


THREE_HUNDRED: dict[str, Any] = {"service_time": "10ms", "max_queue": 900}
"""A server of 300/s, whose queue is as long as that of the file: three seconds."""


@pytest.mark.soak
@pytest.mark.parametrize(("cure", "until_s"), [("none", 36.0), ("deadline", 19.0)])
def test_at_280_of_300_it_never_ends_and_with_a_deadline_it_has_after_two_seconds(
    cure: str, until_s: float
):
    """Outage from 4 s to 14 s; `goodput` looks at the last three seconds."""
    name = CURES[cure][0] if cure in CURES else "bare"
    before, after = goodput(arm(name, THREE_HUNDRED, {"rate": "280/s"}, (4.0, 10.0)), until_s)
    assert before > 0.9
    assert after > 0.95 if cure == "deadline" else after == 0.0
