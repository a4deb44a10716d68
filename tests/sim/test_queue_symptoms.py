"""What users of real queues report as going wrong, and how it is here."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
import trio

from emu.scenario import Scenario
from protocols.errors import RpcError
from protocols.queue.words import MAX_RECORD_BYTES
from tests.sim.queues import BROKER, FRONT, primary_of, ready, sim, values
from tests.sim.test_queue_work import acquire, named, put

TWO_GROUPS = """
tiers:
  queue:
    kind: queue
    public: true
    snapshot_every: 10KB
    retained: 10KB
    topics:
      orders: {}
      jobs: {ack_wait: 60s, max_deliver: 2, max_ack_pending: 2, dead_letters: dead,
             groups: [workers, others]}
      keyed: {ordered: true, groups: [workers]}

"""


async def fail_twice(c: Scenario, group: str) -> None:
    for _ in range(2):
        got = await c.call(FRONT, "acquire", "jobs", group, "w", {"max": 1})
        (mine,) = got["deliveries"]
        await c.call(FRONT, "nack", "jobs", group, [named(mine)])


def test_a_dead_workers_records_do_not_wait_for_their_lock_to_end() -> None:
    """Its connection's end frees them; the lock would last a minute."""

    async def script(c: Scenario) -> None:
        await ready(c)
        await put(c, "job")
        (front,) = await c.ps(FRONT)
        client = c.cluster.operator.client(front["name"], 7000)
        got = await client.call("acquire", "jobs", "workers", "doomed", {"max": 1})
        assert len(got["deliveries"]) == 1 and await acquire(c) == []
        client.close()
        await c.sleep(0.2)
        (again,) = await acquire(c)
        assert again[2:4] == [2, 1], "the second delivery, after one failure"

    sim(script, TWO_GROUPS)


def test_a_worker_that_waits_is_woken_by_what_another_gives_back() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await put(c, "job")
        (mine,) = await acquire(c)
        found: list[Any] = []

        async def wait() -> None:
            found.extend(await acquire(c, "w2", wait_ms=5000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await c.sleep(0.5)
            assert await c.call(FRONT, "release", "jobs", "workers", "w1") == 1
            await c.sleep(0.1)
            assert [each[:4] for each in found] == [[0, 0, 2, 0]], "and that is no failure"
        with pytest.raises(RpcError, match="stale_delivery"):
            await c.call(FRONT, "ack", "jobs", "workers", [named(mine)])

    sim(script, TWO_GROUPS)


def test_what_rests_does_not_fill_what_may_be_pending() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await put(c, *range(6))
        for _ in range(2):
            got = await acquire(c, max=5)
            assert len(got) == 2, "max_ack_pending"
            assert await acquire(c) == []
            rows = [named(each) for each in got]
            await c.call(FRONT, "nack", "jobs", "workers", rows, {"delay_ms": 3000})
        assert [each[6] for each in await acquire(c, max=5)] == [4, 5]
        await c.call(FRONT, "release", "jobs", "workers", "w1")
        await c.sleep(3.2)
        assert [each[6] for each in await acquire(c, max=5)] == [0, 1]

    sim(script, TWO_GROUPS)


def test_two_groups_that_fail_at_one_record_make_one_dead_letter() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await put(c, "poison")
        await fail_twice(c, "workers")
        await fail_twice(c, "others")
        await c.sleep(0.5)
        assert values(await c.call(FRONT, "poll", "dead", 0, 0)) == ["poison"]

    sim(script, TWO_GROUPS)


def test_the_largest_record_is_a_dead_letter_that_is_read_and_hides_none_behind_it() -> None:
    """What is told of its failure makes it longer than what may be published."""

    async def script(c: Scenario) -> None:
        await ready(c)
        largest = "x" * (MAX_RECORD_BYTES - len(msgpack.packb([None, "", {}])) - 4)
        with pytest.raises(RpcError, match="too_large"):
            await put(c, largest + "x")
        await put(c, largest)
        (mine,) = await acquire(c)
        await c.call(FRONT, "terminate", "jobs", "workers", [named(mine)])
        await c.sleep(0.5)
        await c.call(FRONT, "publish", "jobs.dead", [[None, "behind"]], {"partition": 0})
        polled = await c.call(FRONT, "poll", "jobs.dead", 0, 0)
        assert values(polled) == [largest, "behind"]

    sim(script)


def test_failures_are_counted_over_restarts_and_snapshots() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await put(c, "poison")
        (mine,) = await acquire(c)
        await c.call(FRONT, "nack", "jobs", "workers", [named(mine)])
        for number in range(60):
            await c.call(FRONT, "publish", "orders", [[None, [number, "x" * 300]]])
        await c.until("snapshot taken")
        await c.crash(BROKER)
        await c.start(BROKER)
        await ready(c)
        (mine,) = await acquire(c)
        assert mine[2:4] == [2, 1]
        await c.call(FRONT, "nack", "jobs", "workers", [named(mine)])
        await c.sleep(0.5)
        assert values(await c.call(FRONT, "poll", "dead", 0, 0)) == ["poison"]

    sim(script, TWO_GROUPS)


def test_requeues_do_not_make_the_log_grow_without_bound() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await c.call(FRONT, "publish", "keyed", [["k", "x" * 300]])
        for _ in range(150):
            got = await c.call(FRONT, "acquire", "keyed", "workers", "w", {"max": 1})
            assert len(got["deliveries"]) == 1
            await c.call(FRONT, "release", "keyed", "workers", "w")
            await c.sleep(0.02)
        await c.sleep(2)
        facts = await c.call_admin(await primary_of(c), "describe")
        (told,) = facts.values()
        assert (told["records"], told["lsn"] > 300) == (1, True)
        disk = c.cluster.instances[told["name"]].handle.disk.files
        assert disk.used_bytes < 200_000

    sim(script, TWO_GROUPS)


def test_a_keys_next_record_waits_while_its_head_is_out_or_rests() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        for key, value in (("a", 1), ("a", 2), ("b", 3), ("a", 4), ("b", 5)):
            await c.call(FRONT, "publish", "keyed", [[key, value]])

        async def take() -> list[list[Any]]:
            got = await c.call(FRONT, "acquire", "keyed", "workers", "w", {"max": 10})
            return list(got["deliveries"])

        first = await take()
        assert [each[6] for each in first] == [1, 3], "one of each key"
        assert await take() == []
        a, b = first
        await c.call(FRONT, "nack", "keyed", "workers", [named(a)], {"delay_ms": 9000})
        await c.call(FRONT, "ack", "keyed", "workers", [named(b)])
        assert [each[6] for each in await take()] == [5], "a's head rests"
        await c.crash(await primary_of(c))
        await c.until("promoted")
        await ready(c)
        assert await take() == []
        await c.sleep(9.2)
        (again,) = await take()
        assert again[6] == 1
        await c.call(FRONT, "ack", "keyed", "workers", [named(again)])
        assert [each[6] for each in await take()] == [2]

    sim(script, TWO_GROUPS)


def test_a_cursor_is_never_beyond_the_log_that_a_cut_leader_left() -> None:
    """`acks: leader`: what the next leader lacks is lost, and its offsets are given again; nobody
    waits for them for ever."""

    async def script(c: Scenario) -> None:
        await ready(c)
        await put(c, "a", "b")
        old = await primary_of(c)
        await c.partition(old, BROKER)
        for number in range(3):
            params = ["publish", "jobs", [[None, f"lost-{number}"]], {"partition": 0}]
            await c.call(old, *params)
        await c.until("promoted")
        await c.heal()
        await ready(c)
        await put(c, "c")
        got = await acquire(c, max=2)
        await c.call(FRONT, "ack", "jobs", "workers", [named(each) for each in got])
        got += await acquire(c, max=2)
        assert [each[6] for each in got] == ["a", "b", "c"]

    sim(script, TWO_GROUPS.replace("kind: queue\n", "kind: queue\n    acks: leader\n"))


def test_a_flipped_bit_in_the_backlog_is_taken_from_a_peer() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        for number in range(300):
            await c.call(FRONT, "publish", "orders", [[None, [number, "x" * 300]]])
        await c.sleep(3)
        name = await primary_of(c)
        await c.disk(name, flip_bit="queue.1")
        found: list[int] = []
        for _ in range(100):
            try:
                polled = await c.call(FRONT, "poll", "orders", 0, len(found))
            except RpcError as error:
                assert error.code in ("unavailable", "not_primary", "timeout")
                await c.sleep(0.2)
                continue
            found += [number for number, _ in values(polled)]
            if len(found) == 300:
                break
        assert found == list(range(300))

    sim(script, TWO_GROUPS)
