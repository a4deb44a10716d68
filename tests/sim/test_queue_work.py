"""Work queues in virtual time: who has a record, and what becomes of it when somebody dies."""

from __future__ import annotations

from typing import Any

import pytest

from emu.scenario import Scenario
from protocols.errors import RpcError
from tests.sim.queues import FRONT, primary_of, ready, sim, values


async def acquire(c: Scenario, consumer: str = "w1", **options: Any) -> list[list[Any]]:
    answer = await c.call(FRONT, "acquire", "jobs", "workers", consumer, options)
    return list(answer["deliveries"])


async def put(c: Scenario, *told: Any, partition: int = 0) -> None:
    for each in told:
        await c.call(FRONT, "publish", "jobs", [[None, each]], {"partition": partition})


def named(delivery: list[Any]) -> list[int]:
    return delivery[:3]


def test_each_record_goes_to_one_worker_until_it_is_done() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await put(c, "a", "b")
        (first,) = await acquire(c, "w1")
        (second,) = await acquire(c, "w2")
        assert [first[6], second[6]] == ["a", "b"]
        assert await acquire(c, "w3") == []
        await c.call(FRONT, "ack", "jobs", "workers", [named(first)])
        with pytest.raises(RpcError) as caught:
            await c.call(FRONT, "ack", "jobs", "workers", [named(first)])
        assert caught.value.code == "settled" and caught.value.definite
        assert list(caught.value.details) == named(first), "by this very delivery"
        await c.call(FRONT, "nack", "jobs", "workers", [named(second)])
        (again,) = await acquire(c, "w3")
        assert again[:4] == [0, 1, 2, 1], "the second delivery, after one failure"
        with pytest.raises(RpcError) as caught:
            await c.call(FRONT, "ack", "jobs", "workers", [named(second)])
        assert caught.value.code == "stale_delivery"

    sim(script)


def test_a_lock_that_is_not_renewed_ends_and_its_holder_is_refused() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await put(c, "long", "short")
        long, short = await acquire(c, max=2)
        for _ in range(3):
            await c.sleep(1.5)
            await c.call(FRONT, "renew", "jobs", "workers", [named(long)])
        (again,) = await acquire(c, "w2")
        assert again[6] == "short" and again[2] == 2
        for word in ("ack", "nack", "renew"):
            with pytest.raises(RpcError, match="stale_delivery"):
                await c.call(FRONT, word, "jobs", "workers", [named(short)])
        await c.call(FRONT, "ack", "jobs", "workers", [named(long)])

    sim(script)


def test_a_poison_message_is_a_dead_letter_after_exactly_so_many_deliveries() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await put(c, "poison", "good")
        for delivery in (1, 2, 3):
            (mine,) = await acquire(c)
            assert mine[2] == delivery and mine[6] == "poison"
            if delivery == 1:
                await c.crash(await primary_of(c))
                await c.until("promoted")
                await ready(c)
            await c.call(FRONT, "nack", "jobs", "workers", [named(mine)])
        await c.sleep(0.5)
        (other,) = await acquire(c)
        assert other[6] == "good"
        polled = await c.call(FRONT, "poll", "jobs.dead", 0, 0)
        assert values(polled) == ["poison"]
        headers = polled["records"][0][4]
        assert headers["dead-letter-from"] == ["jobs", 0, 0]
        assert headers["dead-letter-failed"] == 3

    sim(script)


def test_a_work_group_says_what_is_undone_and_what_was_given_up() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await put(c, "poison", "done", "waiting")
        for _ in range(3):
            (mine,) = await acquire(c)
            await c.call(FRONT, "nack", "jobs", "workers", [named(mine)])
        (mine,) = await acquire(c)
        await c.call(FRONT, "ack", "jobs", "workers", [named(mine)])
        await c.sleep(0.5)
        rows = await c.call(FRONT, "standing", "jobs", "workers")
        assert rows == [[0, 0, 2, 3, 1, [0]], [1, 0, 0, 0, 0, []]]
        assert await c.call(FRONT, "standing", "jobs", "nobody") == []

    sim(script)


def test_done_and_published_are_both_or_neither() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await put(c, "job")
        (job,) = await acquire(c)
        how = {"publish": [["orders", [[None, "result"]], {"partition": 0}]]}
        answer = await c.call(FRONT, "ack", "jobs", "workers", [named(job)], how)
        assert answer == {"published": [[0, 0]]}
        with pytest.raises(RpcError, match="settled"):
            await c.call(FRONT, "ack", "jobs", "workers", [named(job)], how)
        await put(c, "other")
        (job,) = await acquire(c)
        with pytest.raises(RpcError, match="not_found"):
            wrong = {"publish": [["nowhere", [[None, "result"]]]]}
            await c.call(FRONT, "ack", "jobs", "workers", [named(job)], wrong)
        await c.call(FRONT, "ack", "jobs", "workers", [named(job)])
        assert values(await c.call(FRONT, "poll", "orders", 0, 0)) == ["result"]

    sim(script)
