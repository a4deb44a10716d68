"""Workers in virtual time: what becomes of a job when its worker dies, drains, or fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from emu.model.problems import TopologyError
from emu.scenario import Scenario
from emu.topology.loading import loads
from tests.sim import worker_jobs
from tests.sim.queues import FRONT, primary_of, ready, sim, values
from tests.sim.worker_jobs import AFTER_S, BEFORE_S

TEXT = """
tiers:
  queue:
    kind: queue
    public: true
    topics:
      jobs:
        {partitions: 2, ack_wait: 2s, max_deliver: 3, dead_letters: jobs.dead, groups: [workers]}
  hands: {kind: worker, nodes: 2, takes: queue, topics: jobs, job: 'tests.sim.worker_jobs:note'}
"""


@pytest.fixture(autouse=True)
def _nothing_done_yet() -> Iterator[None]:
    worker_jobs.DONE.clear()
    yield
    worker_jobs.DONE.clear()


def text(job: str = "note", **options: Any) -> str:
    """The topology with another job, or options of the workers."""
    words = "".join(f", {name}: {value}" for name, value in options.items())
    return TEXT.replace(":note'", f":{job}'{words}")


async def put(c: Scenario, *told: str, key: str | None = None, partition: int = 0) -> None:
    for each in told:
        await c.call(FRONT, "publish", "jobs", [[key, each]], {"partition": partition})


async def worker_with(c: Scenario, what: str) -> str:
    """Once somebody has done it: who."""
    for _ in range(200):
        for value, node in worker_jobs.DONE:
            if value == what:
                return node
        await c.sleep(0.05)
    raise AssertionError(f"nobody does {what}")


async def busy(c: Scenario, words: str = "hands") -> str:
    """A worker that has a job in hand, once there is one."""
    for _ in range(200):
        for row in await c.ps(words):
            if row.get("in_hand"):
                return str(row["name"])
        await c.sleep(0.02)
    raise AssertionError("nobody works")


def times() -> Counter[str]:
    return Counter(value for value, _ in worker_jobs.DONE)


def test_each_job_is_done_once_by_some_worker() -> None:
    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        for number in range(20):
            await put(c, f"job {number}", partition=number % 2)
        summary = await c.finish()
        assert set(times().values()) == {1} and len(times()) == 20
        assert {node for _, node in worker_jobs.DONE} == {"hands-1", "hands-2"}
        assert summary["verdict"] == "passed", summary["why"]
        assert summary["counted"] == {
            "lost_jobs": 0, "duplicated_jobs": 0, "reordered_jobs": 0, "given_up_jobs": 0,
        }  # fmt: skip

    sim(script, TEXT)


def test_a_job_whose_worker_dies_before_its_effect_is_done_by_another_at_once() -> None:
    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        await put(c, "a")
        first = await busy(c)
        await c.kill(first)
        second = await worker_with(c, "a")
        assert second != first
        await c.start(first)
        summary = await c.finish()
        summary.expect("lost_jobs == 0", "duplicated_jobs == 0")
        assert times() == {"a": 1} and summary["verdict"] == "passed", summary["why"]

    sim(script, TEXT)


def test_a_worker_that_cannot_say_that_it_is_done_does_it_for_another_to_do_again() -> None:
    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        await put(c, "a")
        first = await busy(c)
        await c.sleep(BEFORE_S / 2)
        await c.partition(first, "queue")
        await c.sleep(BEFORE_S + AFTER_S + 8)
        await c.heal()
        summary = await c.finish()
        summary.expect("lost_jobs == 0", "duplicated_jobs == 1")
        assert times() == {"a": 2}
        assert {node for _, node in worker_jobs.DONE} == {"hands-1", "hands-2"}
        assert summary["verdict"] == "passed", summary["why"]
        (judged,) = [each for each in summary["judged"] if each["clients"] == "hands"]
        assert judged["guarantee"] == "at-least-once"

    sim(script, TEXT)


def test_a_drained_worker_ends_what_it_has_in_hand_and_gives_the_rest_back_unharmed() -> None:
    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        await put(c, *(f"job {number}" for number in range(8)))
        await busy(c, "hands-2")
        await c.scale("hands", 1)
        assert times(), "what was in hand was done"
        rows = await c.ps("hands")
        assert [row["name"] for row in rows] == ["hands-1"]
        summary = await c.finish()
        summary.expect("lost_jobs == 0", "duplicated_jobs == 0")
        assert set(times().values()) == {1} and len(times()) == 8
        assert summary["verdict"] == "passed", summary["why"]

    sim(script, text(concurrency=1, prefetch=4))


def test_the_lock_of_a_long_job_is_renewed_while_it_runs() -> None:
    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        await put(c, "long", "other")
        await c.sleep(20)
        assert times() == {"long": 1, "other": 1}
        summary = await c.finish()
        assert summary["counted"]["duplicated_jobs"] == 0

    sim(script, text("slow", concurrency=1, nodes=1).replace("nodes: 2, ", ""))


def test_a_poison_message_ends_in_the_dead_letters_and_is_not_lost() -> None:
    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        await put(c, "poison", "bug", "good")
        await worker_with(c, "good")
        await c.sleep(4)
        polled = await c.call(FRONT, "poll", "jobs.dead", 0, 0)
        assert sorted(values(polled)) == ["bug", "poison"]
        assert [record[4]["dead-letter-failed"] for record in polled["records"]] == [3, 3]
        summary = await c.finish()
        assert summary["counted"]["given_up_jobs"] == 2
        assert summary["counted"]["lost_jobs"] == 0

    sim(script, text("picky"))


def test_work_goes_on_when_the_brokers_leader_dies() -> None:
    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        for number in range(12):
            await put(c, f"job {number}", partition=number % 2)
            if number == 5:
                await c.crash(await primary_of(c), for_s=3)
                await c.until("promoted")
                await ready(c, "jobs")
        summary = await c.finish()
        summary.expect("lost_jobs == 0")
        assert len(times()) == 12
        assert summary["verdict"] == "passed", summary["why"]

    sim(script, TEXT)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("{kind: worker, takes: other, topics: jobs, job: 'json:loads'}", "is no queue"),
        ("{kind: worker, takes: queue, topics: jobs}", "the site has no jobs of `jobs`"),
        ("{kind: worker, takes: queue}", "the site's jobs need its database"),
        ("{kind: worker, takes: queue, uses: [kv, db]}", "in `uses`, before any kv tier"),
        ("{kind: web, uses: [kv, queue]}", "name that before any kv tier"),
        ("{kind: web, uses: queue}", "only with its people in a database"),
        ("{kind: worker, takes: queue, job: 'tests.sim.worker_jobs:note'}", "needs `topics`"),
        (
            "{kind: worker, takes: queue, topics: j, job: 'tests.sim.queues:Any'}",
            "is no function",
        ),
        (
            "{kind: worker, takes: queue, topics: j, job: 'tests.sim.queues:ready', prefetch: 0}",
            "`prefetch` from 1",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_file(written: str, why: str) -> None:
    with pytest.raises(TopologyError, match=why):
        loads(
            "tiers:\n  queue: {kind: queue}\n  other: {kind: web}\n  kv: {kind: kv}\n"
            f"  db: {{kind: database}}\n  hands: {written}\n"
        )
