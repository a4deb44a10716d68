"""Experiment 14, asserted as ratios: far users with an edge and without, while the origin lives,
and while it is dead, within the grace and after it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emu.scenario import Scenario, run
from emu.topology.loading import load

FILE = Path(__file__).parents[2] / "topologies" / "experiments" / "14-cdn.yaml"
GROUPS = ("with", "without", "here")
BEGINS_S = 12.0


async def counted(c: Scenario) -> dict[str, Any]:
    """Requests, failures and the median of all, by group."""
    found = {}
    for group in GROUPS:
        told = next(iter((await c.call_admin(group, "summary")).values()))
        found[group] = [told["requests"], told["errors"], told["latency_s"]["p50"]]
    return found


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[str, Any]]:
    async def script(c: Scenario) -> dict[str, dict[str, Any]]:
        found = {}
        await c.sleep(BEGINS_S - 0.5)
        found["alive"] = await counted(c)
        async with await c.kill("web"):
            await c.sleep(6.0)
            found["down"] = await counted(c)
            await c.sleep(20.0)
            found["graced"] = await counted(c)
            await c.sleep(45.0)
            found["over"] = await counted(c)
            await c.sleep(10.0)
            found["long over"] = await counted(c)
        await c.sleep(6.0)
        return found

    return run(script, load(FILE))


def failing(seen: dict[str, dict[str, Any]], group: str, since: str, until: str) -> float:
    """The share of requests that failed between the two."""
    asked = seen[until][group][0] - seen[since][group][0]
    return float((seen[until][group][1] - seen[since][group][1]) / asked)


def test_14_far_users_gain_most_of_the_way(seen: dict[str, dict[str, Any]]) -> None:
    alive = {group: told[2] for group, told in seen["alive"].items()}
    print(f"p50: {alive}")
    assert alive["without"] > 5 * alive["with"], alive
    assert alive["without"] > 0.07
    assert alive["here"] < 0.02


def test_14_within_the_grace_only_those_without_an_edge_notice(
    seen: dict[str, dict[str, Any]],
) -> None:
    assert failing(seen, "without", "down", "graced") > 0.95
    assert failing(seen, "with", "down", "graced") < 0.1
    assert failing(seen, "here", "down", "graced") < 0.1


def test_14_beyond_it_pages_fail_and_what_is_kept_for_long_is_left(
    seen: dict[str, dict[str, Any]],
) -> None:
    assert 0.25 < failing(seen, "with", "over", "long over") < 0.6
