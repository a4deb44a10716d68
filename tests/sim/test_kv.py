"""A KV store in virtual time: one node, and one replicated shard that loses its primary."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.replica.driver import ReplicaDriver
from protocols.errors import RpcError

ONE = "tiers: {kv: {kind: kv_shard, public: true}}"
THREE = "tiers: {kv: {kind: kv_shard, public: true, nodes: 3}}"


def sim(text: str, script: Any, **options: Any) -> Any:
    return run(script, loads(text), **options)


async def primary_of(c: Scenario, tier: str = "kv") -> str:
    """The primary, once there is one that serves."""
    for _ in range(200):
        for row in await c.ps(tier):
            if row["role"] == "primary":
                with suppress(RpcError):
                    await c.call(row["name"], "get", "anything")
                    return str(row["name"])
        await c.sleep(0.1)
    raise AssertionError(f"{tier} has no primary")


@pytest.mark.parametrize("durability", ["none", "log"])
def test_one_node_is_a_store_of_its_own(durability: str) -> None:
    async def script(c: Scenario) -> None:
        name = await primary_of(c)
        assert await c.call(name, "set", "k", "v") is True
        assert await c.call(name, "incr", "n", 2, {"request_id": "r"}) == 2
        assert await c.call(name, "incr", "n", 2, {"request_id": "r"}) == 2
        assert await c.call(name, "get", "k") == "v"
        with pytest.raises(RpcError, match="wrong_type"):
            await c.call(name, "incr", "k")
        await c.kill(name)
        await c.start(name)
        await primary_of(c)
        kept = "v" if durability == "log" else None
        assert await c.call(name, "get", "k") == kept

    sim(ONE.replace("kv_shard", f"kv_shard, durability: {durability}"), script)


def test_a_write_that_was_answered_survives_the_primarys_death() -> None:
    async def script(c: Scenario) -> None:
        for turn in range(3):
            first = await primary_of(c)
            assert await c.call(first, "incr", "n", {"request_id": f"r{turn}"}) == turn + 1
            await c.crash(first)
            await c.until("promoted")
            second = await primary_of(c)
            assert second != first
            assert await c.call(second, "incr", "n", {"request_id": f"r{turn}"}) == turn + 1
            await c.start(first)

    sim(THREE, script)


def test_a_key_whose_time_is_over_stays_away_when_a_slower_clock_takes_over() -> None:
    async def script(c: Scenario) -> None:
        first = await primary_of(c)
        for row in await c.ps("kv"):
            if row["name"] != first:
                await c.skew(row["name"], step_s=-3600)
        await c.call(first, "set", "k", 1, {"ttl_ms": 500})
        await c.call(first, "set", "unseen", 1, {"ttl_ms": 500})
        await c.sleep(1)
        assert await c.call(first, "get", "k") is None
        await c.kill(first)
        second = await primary_of(c)
        assert await c.call(second, "mget", ["k", "unseen"]) == [None, None]

    sim(THREE, script)


def test_replicas_refuse_and_name_the_primary() -> None:
    async def script(c: Scenario) -> None:
        first = await primary_of(c)
        other = next(row["name"] for row in await c.ps("kv") if row["name"] != first)
        for params in (["get", "k"], ["set", "k", 1], ["scan", ""]):
            with pytest.raises(RpcError) as caught:
                await c.call(other, *params)
            assert caught.value.code == "not_primary"
            assert caught.value.details == (first,)

    sim(THREE, script)


def test_a_primary_that_is_cut_off_neither_reads_nor_writes_once_another_may() -> None:
    async def script(c: Scenario) -> None:
        first = await primary_of(c)
        await c.call(first, "set", "k", 1)
        await c.partition(first, "kv")
        await c.until("promoted")
        for params in (["get", "k"], ["set", "k", 2], ["incr", "n"]):
            with pytest.raises(RpcError) as caught:
                await c.call(first, *params)
            assert caught.value.code in ("not_primary", "unavailable")
        await c.heal()
        second = await primary_of(c)
        assert second != first
        assert await c.call(second, "get", "k") == 1

    sim(THREE, script)


def test_an_answer_waits_for_the_log_and_a_read_of_the_same_key_with_it() -> None:
    """With the replicas cut off nothing commits: neither the write nor a read of it is answered."""

    async def script(c: Scenario) -> None:
        first = await primary_of(c)
        await c.call(first, "set", "old", 1)
        others = ",".join(row["name"] for row in await c.ps("kv") if row["name"] != first)
        async with await c.partition(first, others):
            answers: dict[str, Any] = {}

            async def ask(*params: Any) -> None:
                try:
                    answers[params[0] + params[1]] = await c.call(first, *params)
                except RpcError as error:
                    answers[params[0] + params[1]] = error.code

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, "set", "new", 1)
                await c.sleep(0.05)
                nursery.start_soon(ask, "get", "new")
                nursery.start_soon(ask, "get", "old")
                await c.sleep(0.2)
                assert answers == {"getold": 1}
        assert answers["setnew"] in (True, "unknown_outcome")

    sim(THREE, script)


def test_a_key_whose_write_the_log_refused_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = False
    sound = ReplicaDriver.propose

    def propose(self: ReplicaDriver, payload: bytes, *, now: bool = False) -> int:
        if refuse:
            raise RpcError("overloaded", "too many records wait for the quorum")
        return sound(self, payload, now=now)

    monkeypatch.setattr(ReplicaDriver, "propose", propose)

    async def script(c: Scenario) -> None:
        nonlocal refuse
        name = await primary_of(c)
        assert await c.call(name, "set", "k", "before") is True
        refuse = True
        with pytest.raises(RpcError, match="overloaded"):
            await c.call(name, "set", "k", "refused")
        refuse = False
        with trio.fail_after(0.5):
            assert await c.call(name, "get", "k") == "before"

    sim(ONE, script)
