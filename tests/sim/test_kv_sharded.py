"""A sharded store in virtual time: the map, redirects, and moves while clients write."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from protocols.errors import RpcError
from tests.sim.resharding import reshard

KV = "tiers: {kv: {kind: kv, public: true, shards: 2, replicas: 1, slots_per_move: 2048}}"


def sim(script: Any, text: str = KV, **options: Any) -> Any:
    return run(script, loads(text), **options)


async def ready(c: Scenario) -> None:
    """Return once every shard serves."""
    for _ in range(100):
        try:
            await c.call("kv", "mget", [f"probe{number}" for number in range(20)])
            return
        except RpcError:
            await c.sleep(0.1)
    raise AssertionError("the store does not come up")


def test_a_router_spreads_keys_over_the_shards_and_finds_them_again() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        names = [f"user:{number}" for number in range(40)]
        for number, name in enumerate(names):
            assert await c.call("kv", "set", name, number) is True
        assert await c.call("kv", "mget", names) == list(range(40))
        rows = await c.ps("kv")
        held = [row["slots"] for row in rows if row["kind"] == "kv_shard"]
        assert sorted(held) == [8192] * 4
        with pytest.raises(RpcError, match="crossslot"):
            await c.call("kv", "transact", [["incr", "a"], ["incr", "b"]])

    sim(script)


def test_a_crowd_that_comes_before_the_slots_are_given_out_waits_and_is_served() -> None:
    """Each of them finds no owner and wants a later map: they share the fetching of it, and do
    not fetch one after the other."""

    async def script(c: Scenario) -> None:
        answers: list[Any] = []

        async def write(number: int) -> None:
            answers.append(await c.call("kv", "set", f"user:{number}", number))

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(write, number)
        assert answers == [True] * 200
        assert c.now_s < 4.0

    sim(script)


def test_slots_move_to_a_new_shard_and_back_while_clients_write() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        names = [f"user:{number}" for number in range(60)]
        counts = dict.fromkeys(names, 0)
        stop = trio.Event()

        async def write(mine: list[str]) -> None:
            while not stop.is_set():
                for name in mine:
                    counts[name] += 1
                    assert await c.call("kv", "incr", name) == counts[name]
                    await c.sleep(0.04)

        async with trio.open_nursery() as nursery:
            for at in range(6):
                nursery.start_soon(write, names[at::6])
            await c.sleep(0.5)
            seen = await reshard(c.cluster, "kv", 3)
            assert seen["outcome"] == "done", seen
            assert max(seen["shares"].values()) - min(seen["shares"].values()) <= 1
            assert sum(each["slots"] for each in seen["moves"]) == 16384 // 3
            await c.sleep(0.5)
            seen = await reshard(c.cluster, "kv", 2)
            assert seen["outcome"] == "done", seen
            assert not [name for name in c.cluster.instances if name.startswith("kv-shard-3")]
            stop.set()
        assert await c.call("kv", "mget", names) == list(counts.values())
        assert max(each["pause_s"] for each in seen["moves"]) < 0.1

    sim(script)


def test_a_router_that_slept_through_a_reshard_asks_no_shard_that_is_gone_for_long() -> None:
    """Its map names a shard without nodes: nothing answers there, the next map is what helps."""

    async def script(c: Scenario) -> None:
        await ready(c)
        names = [f"user:{number}" for number in range(20)]
        for name in names:
            await c.call("kv", "set", name, name)
        seen = await reshard(c.cluster, "kv", 1)
        assert seen["outcome"] == "done"
        await c.sleep(1.0)
        asked_s = c.now_s
        for name in names:
            assert await c.call("kv", "get", name) == name
        assert c.now_s - asked_s < 0.5

    sim(script)
