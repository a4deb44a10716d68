"""How a client of the queue asks again, and what it may believe of an ack that was not heard."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from nodes.queue.client import Producer, QueueClient
from protocols.errors import RpcError
from protocols.queue import words
from tests.nodes.harness import MemoryClock

MINE = [[1, 8, 2], [1, 9, 1]]
UNHEARD = RpcError("disconnected", "the connection broke")


async def test_a_group_that_fails_at_once_is_not_asked_without_a_pause(
    autojump_clock: MockClock,
) -> None:
    asked = 0

    async def ask(*params: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        await trio.lowlevel.checkpoint()
        raise RpcError("unavailable", "nobody leads")

    client: Any = QueueClient.__new__(QueueClient)
    clock = SimpleNamespace(monotonic_s=trio.current_time, sleep=trio.sleep)
    client.ctx = SimpleNamespace(clock=clock)
    client._groups = SimpleNamespace(of=lambda tier: SimpleNamespace(ask=ask))
    began_s = trio.current_time()
    with pytest.raises(RpcError, match="nobody leads"):
        await client.ask("queue-broker-1", "topics", timeout_s=1.0)
    assert 0.9 < trio.current_time() - began_s <= 1.01
    assert 10 < asked < 110


async def asked_twice(second: RpcError) -> RpcError:
    """What a client makes of an attempt that nobody answers, and then this."""
    refusals = [RpcError("unknown_outcome", "it lost its role"), second]

    async def ask(*params: Any, **options: Any) -> Any:
        await trio.lowlevel.checkpoint()
        raise refusals.pop(0)

    client: Any = QueueClient.__new__(QueueClient)
    client.topics = {}
    client.ctx = SimpleNamespace(
        clock=SimpleNamespace(monotonic_s=trio.current_time, sleep=trio.sleep)
    )
    client._groups = SimpleNamespace(of=lambda tier: SimpleNamespace(ask=ask))
    with pytest.raises(RpcError) as caught:
        await client.ask("queue-broker-1", words.PUBLISH, "t", [], {})
    return caught.value


@pytest.mark.parametrize("code", ["full", "no_space", "overloaded", "expired", "refused"])
async def test_a_refusal_does_not_say_that_an_unheard_attempt_before_it_never_happened(
    autojump_clock: MockClock, code: str
) -> None:
    told = await asked_twice(RpcError(code, "not now"))
    assert not told.definite and code in str(told)


async def test_one_that_holds_of_every_attempt_does(autojump_clock: MockClock) -> None:
    told = await asked_twice(RpcError("out_of_range", "it begins at 7", 7, 9))
    assert told.code == "out_of_range" and told.details == (7, 9)


class Broker:
    """Answers publishes one after the other, each after a moment."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.requests: list[list[Any]] = []
        self.log: list[Any] = []
        self.ctx = SimpleNamespace(clock=MemoryClock(nursery))

    async def ask(self, tier: str, method: str, *params: Any, timeout_s: float) -> Any:
        await trio.sleep(0.1)
        if method == words.PRODUCER:
            return ["p", 0]
        _, records, options = params
        self.requests.append(records)
        if any(value == "poison" for _, value in records):
            raise RpcError("too_large", "one of them is")
        assert options["producer"] == ["p", 0, len(self.log)], "sequences have no hole"
        first = len(self.log)
        self.log += [value for _, value in records]
        return [[3, first + place] for place in range(len(records))]


async def publish_all(broker: Broker, values: list[Any]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    producer = Producer(broker, "queue-broker-1")  # type: ignore[arg-type]

    async def one(value: Any) -> None:
        try:
            (place,) = await producer.publish("t", 3, [[None, value]], trio.current_time() + 5)
            found[value] = place.offset
        except RpcError as error:
            found[value] = error.code

    async with trio.open_nursery() as nursery:
        for value in values:
            nursery.start_soon(one, value)
    return found


async def test_publishers_that_wait_for_each_other_leave_together(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    broker = Broker(nursery)
    found = await publish_all(broker, list(range(30)))
    assert len(broker.requests) == 2 and sorted(broker.log) == list(range(30))
    assert {value: broker.log[offset] for value, offset in found.items()} == {
        value: value for value in range(30)
    }


async def test_a_refused_record_takes_no_other_with_it(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    broker = Broker(nursery)
    found = await publish_all(broker, ["a", "b", "poison", "c"])
    assert found["poison"] == "too_large" and sorted(broker.log) == ["a", "b", "c"]
    assert all(broker.log[found[value]] == value for value in ("a", "b", "c"))


async def test_who_leaves_before_it_was_sent_takes_no_other_with_it(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    broker, found = Broker(nursery), list[int]()
    producer = Producer(broker, "queue-broker-1")  # type: ignore[arg-type]

    async def one(value: str, scope: trio.CancelScope | None = None) -> None:
        with scope or trio.CancelScope():
            (place,) = await producer.publish("t", 3, [[None, value]], trio.current_time() + 5)
            found.append(place.offset)

    async with trio.open_nursery() as inner:
        leaves = trio.CancelScope()
        inner.start_soon(one, "first")
        await trio.testing.wait_all_tasks_blocked()
        inner.start_soon(one, "leaves", leaves)
        await trio.testing.wait_all_tasks_blocked()
        inner.start_soon(one, "stays")
        await trio.testing.wait_all_tasks_blocked()
        leaves.cancel()
    assert broker.log == ["first", "stays"] and found == [0, 1]


async def settled(refusal: RpcError, method: str, cause: RpcError | None, rows: Any = MINE) -> Any:
    async def ask(*params: Any, **options: Any) -> Any:
        raise refusal from cause

    return await QueueClient.settle(
        SimpleNamespace(ask=ask),  # type: ignore[arg-type]
        "queue-broker-1", method, "jobs", "workers", rows,
    )  # fmt: skip


def done(*details: int) -> RpcError:
    return RpcError("settled", "it is done already", *details)


async def test_an_ack_that_was_not_heard_counts_if_it_was_the_one_that_was_believed() -> None:
    assert await settled(done(1, 8, 2), words.ACK, UNHEARD) is None
    assert await settled(done(1, 9, 1), words.ACK, UNHEARD) is None


@pytest.mark.parametrize("by", [3, 0])
async def test_it_does_not_if_another_was_or_the_record_was_given_up(by: int) -> None:
    with pytest.raises(RpcError) as caught:
        await settled(done(1, 8, by), words.ACK, UNHEARD)
    assert caught.value.code == "settled" and caught.value.definite


async def test_nobody_knows_where_that_is_forgotten() -> None:
    with pytest.raises(RpcError) as caught:
        await settled(done(1, 8, words.FORGOTTEN), words.ACK, UNHEARD)
    assert caught.value.code == "unknown_outcome" and not caught.value.definite


async def test_what_was_heard_twice_is_a_refusal() -> None:
    for cause in (None, RpcError("not_primary", "ask another")):
        with pytest.raises(RpcError, match="settled"):
            await settled(done(1, 8, 2), words.ACK, cause)


async def test_one_that_was_given_back_unheard_is_another_s_by_now() -> None:
    stale = RpcError("stale_delivery", "it is another's")
    assert await settled(stale, words.NACK, UNHEARD, MINE[:1]) is None
    for method, rows in ((words.ACK, MINE[:1]), (words.NACK, MINE)):
        with pytest.raises(RpcError, match="stale_delivery"):
            await settled(stale, method, UNHEARD, rows)


class Silent(Broker):
    """Answers nothing more after its first publish, for so long."""

    silent_s = 10.0

    async def ask(self, tier: str, method: str, *params: Any, timeout_s: float) -> Any:
        answer = await super().ask(tier, method, *params, timeout_s=timeout_s)
        if self.log == ["first"]:
            await trio.sleep(self.silent_s)
        return answer


async def test_whose_turn_does_not_come_is_not_published_and_hears_so_in_time(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    broker = Silent(nursery)
    producer = Producer(broker, "queue-broker-1")  # type: ignore[arg-type]
    told: dict[str, Any] = {}

    async def one(value: str, timeout_s: float) -> None:
        began_s = trio.current_time()
        try:
            await producer.publish("t", 3, [[None, value]], began_s + timeout_s)
            told[value] = "ok"
        except RpcError as error:
            took_s = trio.current_time() - began_s
            told[value] = error.code, error.definite, took_s <= 0.8 * timeout_s

    async with trio.open_nursery() as inner:
        for value, timeout_s in (("first", 20), ("carries", 2), ("hasty", 1), ("patient", 20)):
            inner.start_soon(one, value, timeout_s)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(0.5)
        inner.start_soon(one, "late", 20)
    in_time = "expired", True, True
    assert told == {
        "first": "ok",
        "carries": in_time,
        "hasty": in_time,
        "patient": "ok",
        "late": "ok",
    }
    first, *others = broker.log
    assert (first, sorted(others)) == ("first", ["late", "patient"]), "those two wait side by side"
