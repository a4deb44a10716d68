"""A cache node's answers: who is next when whoever fills is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from nodes.cache.config import CacheConfig
from nodes.cache.desk import Desk
from nodes.wire.service import Call
from protocols.errors import RpcError
from tests.nodes.harness import MemoryWorld


@pytest.fixture
async def world() -> AsyncIterator[MemoryWorld]:
    async with trio.open_nursery() as nursery:
        yield MemoryWorld(nursery)
        nursery.cancel_scope.cancel()


async def test_the_end_of_its_holders_connection_frees_a_token_at_once(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    desk = Desk(world.context("cache-1"), CacheConfig())
    holder, found = Call("web-1"), list[Any]()
    _, token, _ = await desk.get(holder, "k")

    async def reader() -> None:
        found.append(await desk.get(Call("web-2"), "k", {"wait_ms": 5000}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await trio.sleep(0.1)
        began_s = trio.current_time()
        holder.ending.come()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() - began_s < 0.01
    assert len(found) == 1 and found[0][0] == "miss" and found[0][1] != token
    assert not desk.set(holder, "k", "late", {"token": token}), "the dead one's fill is refused"


async def test_stale_values_are_for_those_who_would_wait(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    desk = Desk(world.context("cache-1"), CacheConfig(serves_stale_s=2.0))
    desk.set(Call(), "k", "old")
    desk.delete(Call(), ["k"], 5)
    word, token, lsn = await desk.get(Call("web-1"), "k")
    assert (word, lsn) == ("miss", 5)
    assert await desk.get(Call("web-2"), "k", {"wait_ms": 5000}) == ["stale", "old"]
    await trio.sleep(2.1)
    assert await desk.get(Call("web-2"), "k") == ["busy"]
    assert desk.set(Call(), "k", "new", {"token": token})
    assert await desk.get(Call("web-2"), "k") == ["hit", "new"]


async def test_nothing_is_kept_of_holders_and_readers_whose_time_is_over(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    desk = Desk(world.context("cache-1"), CacheConfig(lease_time_s=1.0))
    holder = Call("web-1")
    for number in range(50):
        await desk.get(holder, f"k{number}")
        assert await desk.get(Call("web-2"), f"k{number}", {"wait_ms": 100}) == ["busy"]
    assert len(desk._holders) == len(desk.leases) <= 11, "those of the last second"
    assert len(desk._changed) == 0
    await trio.sleep(1.0)
    desk.end_overdue(trio.current_time())
    assert len(desk._holders) == len(desk.leases) == len(holder.ending._todo) == 0


async def test_a_token_tried_at_another_key_stays_its_holders(
    autojump_clock: MockClock, world: MemoryWorld
) -> None:
    desk = Desk(world.context("cache-1"), CacheConfig())
    holder = Call("web-1")
    _, token, _ = await desk.get(holder, "k")
    assert not desk.set(holder, "other", 1, {"token": token})
    holder.ending.come()
    assert (await desk.get(Call("web-2"), "k"))[0] == "miss", "it ended with its connection"


def test_what_is_shown_as_stale_adds_to_how_old_a_value_may_be() -> None:
    assert CacheConfig(ttl_s=10.0, serves_stale_s=3.0).max_age_s == 13.0
    following = CacheConfig(fills_from="db", max_stale_s=5.0, serves_stale_s=3.0)
    assert following.max_age_s == 8.0


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("set", ["", 1]),
        ("set", ["k" * 251, 1]),
        ("set", ["k", "x" * 900_001]),
        ("set", ["k", 1, {"ttl_ms": -1}]),
        ("set", ["k", 1, {"token": "1"}]),
        ("set", ["k", 1, {"until": 5}]),
        ("set", [7, 1]),
        ("delete", [["k", None]]),
        ("delete", [["k"] * 1001]),
        ("delete", ["k", -1]),
    ],
)
async def test_what_cannot_be_is_refused_in_words(
    world: MemoryWorld, method: str, params: list[Any]
) -> None:
    desk = Desk(world.context("cache-1"), CacheConfig())
    with pytest.raises(RpcError) as caught:
        getattr(desk, method)(Call(), *params)
    assert caught.value.code in ("bad_request", "too_large")
    assert len(desk.store) == 0
