"""Members come and go: one scaling after the other, each to its end, and nobody is cut short."""

from __future__ import annotations

from typing import Any

import trio

import emu
from emu.scenario import Scenario
from emu.topology.loading import loads
from tests.sim import worker_jobs
from tests.sim.queues import FRONT, ready

WEB = "tiers: {web: {kind: web, public: true, nodes: 3, boot_time: 5s}}"
WORK = """
tiers:
  queue: {kind: queue, public: true, replicas: 0, topics: {jobs: {groups: [workers]}}}
  hands: {kind: worker, nodes: 2, takes: queue, topics: jobs, concurrency: 1, prefetch: 1,
          job: 'tests.sim.worker_jobs:lasting'}
"""


def run(script: Any, text: str) -> Any:
    return emu.run(script, loads(text))


async def states(c: Scenario, tier: str = "web") -> list[tuple[str, str]]:
    return [(row["name"], row["state"]) for row in await c.ps(tier)]


def test_scalings_of_a_tier_follow_each_other():
    async def script(c: Scenario) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.cluster.scale, "web", 1)
            await c.sleep(0.001)
            nursery.start_soon(c.cluster.scale, "web", 3)
        up = [("web-1", "up"), ("web-2", "up"), ("web-3", "up")]
        assert await states(c) == up

    run(script, WEB)


def test_a_scaling_is_done_though_whoever_asked_for_it_leaves():
    async def script(c: Scenario) -> None:
        with c.cluster.operator.move_on_after(1.0) as scope:
            await c.cluster.scale("web", 4)
        assert scope.cancelled_caught
        await c.cluster.scale("web", 5)
        assert [state for _, state in await states(c)] == ["up"] * 5

    run(script, WEB)


def test_a_machine_that_is_added_boots_first_and_those_of_the_file_are_there():
    async def script(c: Scenario) -> None:
        assert {state for _, state in await states(c)} == {"up"}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.cluster.scale, "web", 4)
            await c.sleep(4.9)
            assert (await states(c))[-1] == ("web-4", "starting")
            await c.sleep(0.3)
            assert (await states(c))[-1] == ("web-4", "up")

    run(script, WEB)


def test_a_machine_may_be_taken_away_while_it_boots():
    async def script(c: Scenario) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.cluster.scale, "web", 4)
            await c.sleep(1.0)
            nursery.start_soon(c.cluster.scale, "web", 3)
        await c.sleep(6.0)
        assert len(await states(c)) == 3

    run(script, WEB)


def test_a_busy_worker_that_is_scaled_away_ends_its_job_first():
    worker_jobs.DONE.clear()

    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        await c.call(FRONT, "publish", "jobs", [[None, "a"], [None, "b"]])
        await c.sleep(2.0)
        before_s = c.now_s
        await c.cluster.scale("hands", 0)
        assert c.now_s - before_s > 20.0
        assert worker_jobs.DONE
        await c.cluster.scale("hands", 1)
        await c.sleep(30.0)
        assert sorted(value for value, _ in worker_jobs.DONE) == ["a", "b"], "each once"
        assert c.events("drain not finished") == []

    run(script, WORK)
    worker_jobs.DONE.clear()
