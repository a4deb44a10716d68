"""A queue's backlog lies in files: what a snapshot names of them is there after restarts and power
cuts, on members that were away for long, and goes when it is worked off.
"""

from __future__ import annotations

import pytest

from emu.scenario import Scenario
from protocols.errors import RpcError
from tests.sim.queues import BROKER, FRONT, primary_of, ready, sim, values

SMALL = """
tiers:
  queue:
    kind: queue
    public: true
    snapshot_every: 20KB
    retained: 10KB
    topics:
      orders: {partitions: 2}
      jobs: {retention: worked_off, groups: [workers], capacity: 64KiB, record: 4KiB}
      recent: {capacity: 64KiB, when_full: drop_oldest, record: 4KiB}
      patient: {capacity: 64KiB, when_full: block, retention: worked_off, groups: [workers], record: 4KiB}
"""  # noqa: E501
BODY = "x" * 300


async def fill(c: Scenario, topic: str, first: int, count: int, partition: int = 0) -> None:
    for begin in range(first, first + count, 20):
        records = [[None, [number, BODY]] for number in range(begin, begin + 20)]
        await c.call(FRONT, "publish", topic, records, {"partition": partition})


async def read_all(c: Scenario, topic: str, first: int = 0) -> list[int]:
    found: list[int] = []
    while True:
        polled = await c.call(FRONT, "poll", topic, 0, first + len(found), {"max_records": 70})
        if not polled["records"]:
            return found
        found += [number for number, _ in values(polled)]


def test_every_record_is_there_after_snapshots_restarts_and_power_cuts() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        for turn in range(4):
            await fill(c, "orders", 200 * turn, 200)
            await c.sleep(2.5)
            await (c.crash(BROKER) if turn % 2 else c.kill(BROKER))
            await c.start(BROKER)
            await ready(c)
        assert await read_all(c, "orders") == list(range(800))
        assert any(event["event"] == "snapshot taken" for event in c.cluster.events.since(0))

    sim(script, SMALL)


def test_a_member_that_was_away_for_long_gets_the_files_and_leads_with_them() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        leader = await primary_of(c)
        away = next(f"{BROKER}-{n}" for n in (1, 2, 3) if f"{BROKER}-{n}" != leader)
        await fill(c, "orders", 0, 100)
        await c.crash(away)
        for turn in range(3):
            await fill(c, "orders", 100 + 200 * turn, 200)
            await c.sleep(2.5)
        await c.start(away)
        await c.until("snapshot installed", node=away)
        await c.sleep(1)
        others = [f"{BROKER}-{n}" for n in (1, 2, 3) if f"{BROKER}-{n}" != away]
        while await primary_of(c) != away:
            await c.kill(await primary_of(c), for_s=1.5)
            await c.sleep(3)
        assert await read_all(c, "orders") == list(range(700))
        await c.kill(others[0])
        assert await read_all(c, "orders", 650) == list(range(650, 700))

    sim(script, SMALL)


def test_what_is_worked_off_goes_and_makes_room() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        with pytest.raises(RpcError) as caught:
            await fill(c, "jobs", 0, 1000)
        assert caught.value.code == "full" and caught.value.definite
        kept = (await c.call(FRONT, "offsets", "jobs"))[0][2]
        for _ in range(kept // 20):
            got = await c.call(FRONT, "acquire", "jobs", "workers", "w", {"max": 20})
            named = [each[:3] for each in got["deliveries"]]
            await c.call(FRONT, "ack", "jobs", "workers", named)
        assert (await c.call(FRONT, "offsets", "jobs"))[0] == [0, kept, kept]
        await fill(c, "jobs", 0, 100)
        assert (await c.call(FRONT, "offsets", "jobs"))[0] == [0, kept, kept + 100]

    sim(script, SMALL)


def test_the_oldest_are_dropped_where_the_topic_says_so_and_are_lost_not_lag() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await c.call(FRONT, "acquire", "recent", "workers", "w", {"max": 1})
        await fill(c, "recent", 0, 1000)
        _, start, end = (await c.call(FRONT, "offsets", "recent"))[0]
        assert 0 < start < end == 1000
        assert await read_all(c, "recent", start) == list(range(start, 1000))
        with pytest.raises(RpcError) as caught:
            await c.call(FRONT, "poll", "recent", 0, start - 1)
        assert caught.value.code == "out_of_range" and caught.value.details == (start, 1000)
        facts = await c.call_admin(await primary_of(c), "describe")
        (told,) = facts.values()
        assert told["backlog"] == 1000 - start and told["lost"] == start

    sim(script, SMALL)


def test_a_publisher_waits_for_room_where_the_topic_says_so() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        with pytest.raises(RpcError) as caught:
            await fill(c, "patient", 0, 1000)
        assert caught.value.code in ("full", "timeout", "unknown_outcome")
        got = await c.call(FRONT, "acquire", "patient", "workers", "w", {"max": 100})
        await c.call(FRONT, "ack", "patient", "workers", [each[:3] for each in got["deliveries"]])
        before = (await c.call(FRONT, "offsets", "patient"))[0][2]
        await fill(c, "patient", 5000, 20)
        assert (await c.call(FRONT, "offsets", "patient"))[0][2] == before + 20

    sim(script, SMALL)


FULL = """
tiers:
  queue:
    kind: queue
    public: true
    disk: {capacity: 4MB}
    snapshot_every: 256KB
    retained: 256KB
    topics: {jobs: {partitions: 2, groups: [workers], retention: worked_off}}
"""


def test_a_full_disk_refuses_records_and_lets_what_is_there_be_worked_off() -> None:
    async def publish(c: Scenario) -> int:
        count = 0
        with pytest.raises(RpcError, match="no_space") as caught:
            while True:
                record = [None, [count, "x" * 20_000]]
                await c.call(FRONT, "publish", "jobs", [record], {"partition": count % 2})
                count += 1
        assert caught.value.definite
        return count

    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        count = await publish(c)
        assert count > 20
        await c.sleep(3)  # snapshots are due, and have no room
        polled = await c.call(FRONT, "poll", "jobs", 0, 0, {"max_records": 5})
        assert [number for number, _ in values(polled)] == [0, 2, 4, 6, 8]
        done: list[int] = []
        while len(done) < count:
            told = await c.call(FRONT, "acquire", "jobs", "workers", "w", {"max": 20})
            for delivery in told["deliveries"]:
                await c.call(FRONT, "ack", "jobs", "workers", [delivery[:3]])
                done.append(delivery[6][0])
        assert sorted(done) == list(range(count)), "what was refused is not there"
        await c.sleep(3)
        assert await publish(c) > 10, "there is room again"
        assert {row["state"] for row in await c.ps("queue")} == {"up"}

    sim(script, FULL)
