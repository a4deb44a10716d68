"""An autoscaler in virtual time: it follows its load, and nobody notices who comes and goes."""

from __future__ import annotations

from typing import Any

import pytest

import emu
from emu.scenario import Scenario
from emu.topology.loading import loads
from tests.sim import worker_jobs
from tests.sim.queues import FRONT, ready

WEB = """
tiers:
  web: {kind: web, public: true, cpu: {cores: 1, service_time: 100ms}, boot_time: 2s}
  hpa:
    kind: autoscaler
    scales: web
    targets: {cpu: 50%}
    sync: 2s
    cpu_initialization: 4s
    scale_up: {policies: []}
    scale_down: {window: 10s}
users:
  local: {rate: [[0s, 3/s], [20s, 14/s], [60s, 3/s]], visits: web, protocol: rpc,
          mix: {home: 1, post: 0, profile: 0, timeline: 0, search: 0, asset: 0}}
"""
QUEUE = """
tiers:
  queue:
    {kind: queue, public: true, replicas: 0, topics: {jobs: {partitions: 4, groups: [workers]}}}
  hands: {kind: worker, takes: queue, topics: jobs, job: 'tests.sim.worker_jobs:long',
          concurrency: 1, prefetch: 1}
  keda:
    kind: autoscaler
    scales: hands
    lag_of: queue
    topics: [jobs]
    targets: {lag: 5}
    sync: 1s
    scale_down: {window: 3s}
"""


def scalings(c: Scenario) -> list[tuple[int, int]]:
    return [(each["was"], each["nodes"]) for each in c.events("scaling")]


async def count(c: Scenario, tier: str, state: str = "up") -> int:
    return sum(row["state"] == state for row in await c.ps(tier))


def run(script: Any, text: str) -> Any:
    return emu.run(script, loads(text))


def test_it_follows_a_step_up_and_down_without_oscillation_and_without_an_error():
    async def script(c: Scenario) -> None:
        await c.sleep(19.0)
        assert await count(c, "web") == 1
        await c.sleep(20.0)  # a look or two, the boot, and the load on many servers
        assert await count(c, "web") in (3, 4)
        assert all(now > was for was, now in scalings(c))
        await c.sleep(50.0)
        assert await count(c, "web") == 1
        ups = [now > was for was, now in scalings(c)]
        assert ups == sorted(ups, reverse=True), scalings(c)
        told = (await c.call_admin("users-local", "summary"))["users-local-1"]
        assert told["requests"] > 600 and told["errors"] == 0, told

    run(script, WEB)


def test_a_decision_tells_its_arithmetic():
    async def script(c: Scenario) -> None:
        event = await c.until("scaling")
        assert event["why"].startswith("cpu ") and " of 50%" in event["why"]
        assert "ceil(" in event["why"]
        (row,) = await c.ps("hpa")
        assert row["scales"] == "web" and row["wanted"] == event["nodes"]

    run(script, WEB)


def test_a_machine_boots_before_it_counts():
    async def script(c: Scenario) -> None:
        begun = await c.until("scaling")
        assert await count(c, "web", "starting") == event_growth(begun)
        up = await c.until("node up", node="web-2")
        assert up["time_s"] - begun["time_s"] == pytest.approx(2.0, abs=0.4)

    def event_growth(event: Any) -> int:
        return int(event["nodes"] - event["was"])

    run(script, WEB)


def test_while_it_is_dead_nothing_changes_and_then_it_goes_on():
    async def script(c: Scenario) -> None:
        await c.kill("hpa")
        await c.sleep(30.0)
        assert await count(c, "web") == 1
        await c.start("hpa")
        await c.until("scaling")

    run(script, WEB)


def test_a_dead_member_is_not_counted_as_idle():
    async def script(c: Scenario) -> None:
        await c.sleep(39.0)
        before = len(await c.ps("web"))
        await c.kill("web-2")
        await c.sleep(10.0)
        assert len(await c.ps("web")) >= before
        assert all(now > was for was, now in scalings(c))

    run(script, WEB)


def test_an_operator_may_scale_too_and_is_followed():
    async def script(c: Scenario) -> None:
        await c.sleep(5.0)
        await c.scale("web", 4)
        await c.sleep(14.0)
        assert await count(c, "web") == 1

    run(script, WEB)


# --- lag -------------------------------------------------------------------------------------


async def put(c: Scenario, jobs: int) -> None:
    records = [[None, f"job {number}"] for number in range(jobs)]
    for partition in range(4):
        mine = records[partition::4]
        if mine:
            await c.call(FRONT, "publish", "jobs", mine, {"partition": partition})


def test_workers_come_for_what_waits_and_go_when_it_is_done():
    worker_jobs.DONE.clear()

    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        await put(c, 40)
        await c.sleep(4.0)
        assert await count(c, "hands") == 4, "40 jobs by 5 each, but 4 partitions"
        await c.sleep(60.0)
        assert await count(c, "hands") == 1
        done = [value for value, _ in worker_jobs.DONE]
        assert sorted(done) == sorted(f"job {number}" for number in range(40)), "each once"

    run(script, QUEUE)
    worker_jobs.DONE.clear()
