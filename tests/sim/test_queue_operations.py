"""What an operator does to a queue, through its front."""

from __future__ import annotations

from typing import Any

import pytest

from emu.running.targets import TargetError
from emu.scenario import Scenario
from nodes.queue.operations import OPERATIONS
from protocols.errors import RpcError
from tests.sim.queues import FRONT, THREE, ready, sim
from tests.sim.test_queue_work import acquire, named, put

SHOWN = {each.verb: each.shown for each in OPERATIONS}


async def done(begun: Any) -> Any:
    """The result of an operation."""
    return await (await begun).ended()


async def kill_softly(c: Scenario) -> None:
    """Fail the one record that there is until it is dead."""
    for _ in range(3):
        (mine,) = await acquire(c)
        await c.call(FRONT, "nack", "jobs", "workers", [named(mine)])
    await c.sleep(0.5)


def test_topics_groups_and_records_are_listed() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        placed = await done(c.queue_publish("queue", topic="orders", key="ada", value="two"))
        assert SHOWN["queue publish"](placed).startswith("orders/")
        await put(c, "a", "b", "c")
        await acquire(c)
        told = await done(c.queue_topics("queue"))
        text = SHOWN["queue topics"](told)
        assert "orders     3           1        kept" in text and "jobs.dead" in text
        (row,) = [each for each in (await done(c.queue_groups("queue")))["groups"]
                  if each["group"] == "workers"]  # fmt: skip
        assert (row["lag"], row["in_flight"], row["kind"]) == (3, 1, "work")
        told = await done(c.queue_tail("queue", topic="jobs", records=2))
        assert [each["value"] for each in told["records"]] == ["b", "c"]
        with pytest.raises(RpcError, match="not_found"):
            await done(c.queue_tail("queue", topic="nowhere"))
        with pytest.raises(TargetError, match=r"`asking` is no queue tier; there is: queue$"):
            await done(c.queue_topics("asking"))

    sim(script)


def test_a_dead_letter_is_listed_and_brought_back_once() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await put(c, "poison")
        await kill_softly(c)
        told = await done(c.queue_dead_letters("queue", topic="jobs.dead"))
        assert [each["value"] for each in told["records"]] == ["poison"]
        told = await done(c.queue_redrive("queue", topic="jobs.dead"))
        assert SHOWN["queue redrive"](told) == "1 brought back (1 to jobs)"
        (again,) = await acquire(c)
        assert again[1:4] == [1, 1, 0] and again[6] == "poison" and again[7] == {}
        told = await done(c.queue_redrive("queue", topic="jobs.dead"))
        assert told["brought_back"] == 0
        assert (await done(c.queue_dead_letters("queue", topic="jobs.dead")))["records"] == []

    sim(script)


def test_what_nobody_takes_is_parked_and_may_be_tried_again() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await put(c, "poison")
        await kill_softly(c)
        names = [event["event"] for event in c.cluster.events.since(0)]
        assert names.count("record parked") == 1
        assert await acquire(c) == []
        told = await done(c.queue_redrive("queue", topic="jobs"))
        assert (
            SHOWN["queue redrive"](told) == "0 brought back; 1 that were parked may be tried again"
        )
        (again,) = await acquire(c)
        assert again[2:4] == [4, 0]

    sim(script, THREE.replace(", dead_letters: jobs.dead", ""))
