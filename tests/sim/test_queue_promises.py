"""A broker that must not die of what a client asks, nor forget what it has promised a worker."""

from __future__ import annotations

import pytest

from emu.scenario import Scenario
from protocols.errors import RpcError
from tests.sim.queues import BROKER, FRONT, primary_of, ready, sim, values
from tests.sim.test_queue_work import acquire, named, put

QUEUE = """
tiers:
  queue:
    kind: queue
    public: true
    snapshot_every: 10KB
    retained: 10KB
    topics:
      orders: {}
      jobs: {ack_wait: 2s, max_deliver: 1, groups: [workers], dead_letters: dead, record: 8KB,
             capacity: 64KiB, when_full: drop_oldest}
"""


async def nobody_has_failed(c: Scenario) -> None:
    assert {row["state"] for row in await c.ps("queue")} == {"up"}


def test_a_job_that_is_published_anew_into_a_full_topic_is_done_before_it_is_dropped() -> None:
    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        await put(c, "job")
        (job,) = await acquire(c)
        await put(c, *["x" * 4000] * 16)
        how = {"publish": [["jobs", [[None, "x" * 4000]], {"partition": 0}]]}
        await c.call(FRONT, "ack", "jobs", "workers", [named(job)], how)
        await nobody_has_failed(c)
        (row,) = [each for each in await c.call(FRONT, "groups") if each["topic"] == "jobs"]
        assert row["lost"] > 0 and row["lag"] + row["lost"] == 17, "the job itself is not lost"

    sim(script, QUEUE)


def test_what_is_published_with_an_ack_is_no_more_than_one_record_can_hold() -> None:
    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        await put(c, "job")
        (job,) = await acquire(c)
        batch = ["orders", [[None, "x" * 190_000]] * 2]
        with pytest.raises(RpcError, match="too_large"):
            how = {"publish": [batch, batch]}
            await c.call(FRONT, "ack", "jobs", "workers", [named(job)], how)
        await c.call(FRONT, "ack", "jobs", "workers", [named(job)], {"publish": [batch]})

    sim(script, QUEUE)


def test_a_record_that_fails_for_good_and_is_damaged_is_taken_from_a_peer_and_buried() -> None:
    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        await c.call(FRONT, "publish", "orders", [[None, "x" * 12_000]])
        await put(c, "poison", "y" * 1000)
        await c.sleep(2)
        (job,) = await acquire(c)
        name = await primary_of(c)
        await c.disk(name, flip_bit="queue.2")
        await c.call(FRONT, "nack", "jobs", "workers", [named(job)])
        await c.sleep(5)
        await nobody_has_failed(c)
        assert values(await c.call(FRONT, "poll", "dead", 0, 0)) == ["poison"]

    sim(script, QUEUE)


def test_a_lock_that_was_made_longer_is_as_long_under_the_next_leader() -> None:
    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        await put(c, "job")
        (job,) = await acquire(c)
        await c.call(FRONT, "renew", "jobs", "workers", [named(job)], {"lock_ms": 60_000})
        await c.crash(await primary_of(c))
        await c.until("promoted")
        await ready(c, "jobs")
        await c.sleep(10)
        await c.call(FRONT, "ack", "jobs", "workers", [named(job)])

    sim(script, QUEUE)


def test_an_acquire_that_nobody_hears_gives_back_what_it_got_unharmed_and_nothing_else() -> None:
    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        await put(c, "mine", "unheard")
        leader = await primary_of(c)
        asked = "acquire", "jobs", "workers", "w"
        got = await c.call(leader, *asked, {"attempt": 1})
        (mine,) = got["deliveries"]
        client = c.cluster.operator.client(leader, 7000)
        await c.partition(leader, BROKER)
        with pytest.raises(RpcError, match="cancelled"):
            await client.call(*asked, {"attempt": 2}, timeout_s=0.2)
        await c.heal()
        (other,) = await acquire(c, "another", wait_ms=1000)
        assert (other[6], other[3]) == ("unheard", 0), "it has not failed"
        await c.call(leader, "ack", "jobs", "workers", [named(mine)])

    sim(script, QUEUE)


def test_what_a_consumer_gets_by_a_new_connection_does_not_go_with_the_old_one() -> None:
    """While a leader is missing both wait for the next one: to give back, and to be given."""

    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        await put(c, "a", "b")
        (front,) = await c.ps(FRONT)
        asked = "acquire", "jobs", "workers", "w", {"lock_ms": 60_000}
        old = c.cluster.operator.client(front["name"], 7000)
        assert (await old.call(*asked))["deliveries"]
        await c.crash(await primary_of(c))
        old.close()
        await c.sleep(0.05)
        new = c.cluster.operator.client(front["name"], 7000)
        (job,) = (await new.call(*asked, timeout_s=20))["deliveries"]
        await c.sleep(2)
        await new.call("ack", "jobs", "workers", [named(job)])

    sim(script, QUEUE.replace("max_deliver: 1", "max_deliver: 9"))


def test_dead_letters_have_somewhere_to_go_whoever_declares_their_topic() -> None:
    async def script(c: Scenario) -> None:
        await ready(c, "jobs")
        declared = {"dead_letters": "odd.dead", "max_deliver": 1, "groups": ["g"]}
        assert await c.call(FRONT, "declare", "odd", {**declared, "partitions": 2})
        assert not await c.call(FRONT, "declare", "odd", {**declared, "partitions": 2})
        await c.call(FRONT, "publish", "odd", [[None, "poison"]])
        (job,) = (await c.call(FRONT, "acquire", "odd", "g", "w"))["deliveries"]
        await c.call(FRONT, "nack", "odd", "g", [named(job)])
        await c.sleep(0.5)
        assert values(await c.call(FRONT, "poll", "odd.dead", job[0], 0)) == ["poison"]
        for wrong in ({"dead_letters": "own"}, {"dead_letters": "jobs"},
                      {"dead_letters": "odd.dead", "partitions": 3}):  # fmt: skip
            with pytest.raises(RpcError, match="bad_request"):
                await c.call(FRONT, "declare", "own", wrong)

    sim(script, QUEUE)
