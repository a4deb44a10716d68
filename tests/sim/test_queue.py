"""The message queue in virtual time: topics, partitions, publishers that repeat themselves, and
brokers that die.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio

from emu.running.logs import Wanted, lines
from emu.scenario import Scenario
from protocols.errors import RpcError
from tests.sim.queues import BROKER, FRONT, primary_of, ready, sim, values


def test_records_of_a_key_are_read_in_the_order_in_which_they_were_published() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        places = []
        for number in range(10):
            places += await c.call(FRONT, "publish", "orders", [["customer-7", number]])
        partition = places[0][0]
        assert places == [[partition, offset] for offset in range(10)]
        polled = await c.call(FRONT, "poll", "orders", partition, 0)
        assert values(polled) == list(range(10))
        assert (polled["start"], polled["end"]) == (0, 10)
        some = await c.call(FRONT, "poll", "orders", partition, 4, {"max_records": 3})
        assert values(some) == [4, 5, 6]

    sim(script)


def test_a_poll_waits_for_the_first_record() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        polled: list[Any] = []

        async def poll() -> None:
            polled.append(await c.call(FRONT, "poll", "orders", 1, 0, {"wait_ms": 2000}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await c.sleep(0.5)
            assert not polled
            await c.call(FRONT, "publish", "orders", [[None, "late"]], {"partition": 1})
        assert values(polled[0]) == ["late"]

    sim(script)


def test_who_waits_for_something_to_come_is_no_slow_request() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        for method, *params in (("poll", "orders", 1, 0), ("acquire", "orders", "g", "w")):
            await c.call(FRONT, method, *params, {"wait_ms": 1500})
            for tier in (FRONT, BROKER):
                assert c.metrics(tier, "requests_total", method=method, code="ok") == 1
                assert c.metrics(tier, "request_seconds", method=method) == 0
        told, _ = lines(c.cluster.events, Wanted(grep="what="), (0, 0))
        assert not [each for each in told if each["what"] in ("poll", "acquire")]

    sim(script)


def test_what_was_acknowledged_survives_kills_and_power_cuts_of_the_leader() -> None:
    async def script(c: Scenario) -> None:
        published: list[int] = []

        async def publish() -> None:
            for number in range(120):
                try:
                    await c.call(FRONT, "publish", "orders", [["k", number]])
                    published.append(number)
                except RpcError as error:
                    assert not error.definite or error.code in ("unavailable", "not_primary")
                await c.sleep(0.05)

        await ready(c)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            for turn in range(4):
                await c.sleep(0.7)
                name = await primary_of(c)
                await (c.kill(name) if turn % 2 else c.crash(name))
                await c.until("promoted")
                await c.start(name)
        await ready(c)
        found: list[int] = []
        for partition in range(3):
            found += values(await c.call(FRONT, "poll", "orders", partition, 0))
        assert found == sorted(set(found)), "none twice, none out of order"
        assert not set(published) - set(found), "none lost"
        assert len(published) > 60

    sim(script)


def test_a_producer_that_repeats_itself_gets_its_first_offset_from_the_next_leader_too() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        name, epoch = await c.call(FRONT, "producer")
        how = {"partition": 2, "producer": [name, epoch, 0]}
        first = await c.call(FRONT, "publish", "orders", [[None, "a"], [None, "b"]], how)
        assert first == [[2, 0], [2, 1]]
        assert await c.call(FRONT, "publish", "orders", [[None, "a"], [None, "b"]], how) == first
        old = await primary_of(c)
        await c.crash(old)
        await c.until("promoted")
        await ready(c)
        assert await c.call(FRONT, "publish", "orders", [[None, "a"], [None, "b"]], how) == first
        with pytest.raises(RpcError) as caught:
            how["producer"] = [name, epoch, 5]
            await c.call(FRONT, "publish", "orders", [[None, "c"]], how)
        assert caught.value.code == "out_of_sequence" and caught.value.details == (2,)
        assert values(await c.call(FRONT, "poll", "orders", 2, 0)) == ["a", "b"]

    sim(script)


def test_whoever_takes_a_producers_name_fences_the_one_before() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        first = await c.call(FRONT, "producer", "importer")
        second = await c.call(FRONT, "producer", "importer")
        assert second == [first[0], first[1] + 1]
        for producer, code in ((first, "fenced"), (["unheard-of", 0], "unknown_producer")):
            how = {"partition": 0, "producer": [*producer, 0]}
            with pytest.raises(RpcError) as caught:
                await c.call(FRONT, "publish", "orders", [[None, 1]], how)
            assert caught.value.code == code and caught.value.definite

    sim(script)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        (["publish", "no-such", [[None, 1]]], "not_found"),
        (["publish", "orders", [[None, 1]], {"partition": 3}], "bad_request"),
        (["publish", "orders", [[None, "x" * 300_000]]], "too_large"),
        (["publish", "orders", [[None, 1, {3: 4}]]], "bad_request"),
        (["publish", "orders", []], "bad_request"),
        (["publish", "orders", [[7, 1]]], "bad_request"),
        (["poll", "orders", 0, 1], "out_of_range"),
        (["poll", "orders", 9, 0], "bad_request"),
        (["poll", "no-such", 0, 0], "not_found"),
        (["ack", "jobs", "workers", [[0, 0, 1]]], "not_found"),
        (["commit", "readers", "me", 3, [["orders", 0, 0]]], "stale_generation"),
        (["commit", "readers", "", 0, [["orders", 0, 9]]], "out_of_range"),
        (["declare", "orders", {"partitions": 9}], "refused"),
        (["declare", "x", {"partitions": 0}], "bad_request"),
        (["declare", "no name", {}], "bad_request"),
    ],
)
def test_bad_input_is_refused_with_a_clear_code(params: list[Any], code: str) -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        for target in (FRONT, await primary_of(c)):
            with pytest.raises(RpcError) as caught:
                await c.call(target, *params)
            assert caught.value.code == code, (target, caught.value)
            assert caught.value.definite
        assert await c.call(FRONT, "offsets", "orders") == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]

    sim(script)


def test_a_restarted_queue_has_its_records_and_goes_on_counting() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        for number in range(5):
            await c.call(FRONT, "publish", "orders", [[None, number]], {"partition": 0})
        await c.crash(BROKER)
        await c.start(BROKER)
        await ready(c)
        assert values(await c.call(FRONT, "poll", "orders", 0, 0)) == list(range(5))
        assert await c.call(FRONT, "publish", "orders", [[None, 5]], {"partition": 0}) == [[0, 5]]

    sim(script)


@pytest.mark.parametrize("replicas", [0, 1, 2])
@pytest.mark.parametrize("acks", ["none", "leader", "quorum"])
def test_no_publisher_waits_for_the_interval_between_syncs(acks: str, replicas: int) -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        assert c.now_s < 3
        for number in range(10):
            began_s = c.now_s
            await c.call(FRONT, "publish", "orders", [["customer-7", number]])
            assert c.now_s - began_s < 0.05, number

    late = f"sync_interval: 3s, acks: {acks}, replicas: {replicas}"
    sim(
        script, f"tiers: {{queue: {{kind: queue, public: true, {late}, topics: {{orders: {{}}}}}}}}"
    )
