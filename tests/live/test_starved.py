"""Nothing fails by itself on a busy laptop: the cluster's time stretches with what it withholds."""

from __future__ import annotations

import json
import random
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

import pytest

import emu
from emu.control.client import ControlClient
from emu.scenario import Scenario
from tests.live.running import Running, emu_up
from tests.live.starving import spinning, stop_and_go

FULL: Final = "topologies/full.yaml"
GROUPS: Final = 5
"""That elect: the database, the brokers, the store's two shards and its coordinators."""


def call(running: Running, method: str, *params: Any) -> Any:
    (socket,) = running.state.glob("*/control.sock")
    with ControlClient(socket, timeout_s=120) as client:
        return client.call(method, *params)


def settled(running: Running) -> int:
    """The number of the next event, once all is quiet."""
    time.sleep(1.0)
    found: int = call(running, "events")[-1]["index"] + 1
    return found


def judged(running: Running, since: int) -> dict[str, Any]:
    """How it ended: the summary, and `said`, the events from `since` until now."""
    said = [
        f"{each['time_s']:.2f} {each.get('node')} {each['event']}"
        for each in call(running, "events", since)
        if each["level"] != "debug"
    ]
    found: dict[str, Any] = call(running, "down", False)
    found["said"] = said
    shown = ("ran_s", "requests", "errors", "latency_s", "loop_lag_s", "verdict", "reasons", "said")
    print(json.dumps({name: found[name] for name in shown}, indent=1))
    return found


def check(found: dict[str, Any]) -> None:
    """No promotion, no lost lease, no server marked down, no connection cut, no error."""
    assert found["said"] == []
    assert (found["requests"] > 20, found["errors"]) == (True, 0)
    assert found["verdict"] == ("passed" if found["trustworthy"] else "untrusted")


@pytest.mark.slow
def test_beside_forty_programs_that_spin_and_stopped_a_few_times_nothing_fails(tmp_path: Path):
    with emu_up(tmp_path, FULL, "--fresh") as running:
        since = settled(running)
        with spinning(40, 4.0), urllib.request.urlopen(running.url("edge-1"), timeout=60) as page:
            assert page.status == 200
        stop_and_go(running.process, (0.3, 1.2, 2.0), 0.3)
        time.sleep(1.0)
        found = judged(running, since)
    check(found)
    assert found["verdict"] == "untrusted"
    assert any("withheld" in reason for reason in found["reasons"])


@pytest.mark.slow
def test_a_step_that_holds_all_nodes_for_two_seconds_costs_no_group_its_primary():
    async def script(c: Scenario) -> None:
        while len(c.events("promoted")) < GROUPS:
            await c.sleep(0.1)
        await c.sleep(0.5)
        seen, before_s = len(c.events()), c.now_s
        until_s = time.thread_time() + 2.0
        while time.thread_time() < until_s:
            pass
        await c.sleep(0.5)
        assert c.now_s - before_s < 1.5
        assert not {"promoted", "role changed"} & {each["event"] for each in c.events()[seen:]}
        assert "emu held it" in c.cluster.world.fidelity()["reasons"][0]

    emu.run(script, FULL, world="live")


@pytest.mark.soak
@pytest.mark.parametrize("count", [20, 100, 300])
def test_beside_many_programs_that_spin_nothing_fails(tmp_path: Path, count: int):
    with emu_up(tmp_path, FULL, "--fresh") as running:
        since = settled(running)
        with spinning(count, 12.0):
            pass
        time.sleep(5.0)
        check(judged(running, since))


@pytest.mark.soak
def test_stopped_at_random_nothing_fails(tmp_path: Path):
    rng = random.Random(14)
    with emu_up(tmp_path, FULL, "--fresh") as running:
        since = settled(running)
        stop_and_go(running.process, [rng.uniform(0.1, 3.0) for _ in range(20)], 0.4)
        time.sleep(3.0)
        check(judged(running, since))
