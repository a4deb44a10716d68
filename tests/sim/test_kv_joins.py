"""Questions across shards in virtual time: what they cost, and a shard that does not answer."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.base import RPC_PORT
from nodes.kv.fanout import MAX_FAN_OUT
from protocols.errors import RpcError
from protocols.hashing.slots import SLOTS, slot_of
from tests.sim.resharding import reshard

STORE = """
links: {defaults: {within: 0.3ms}}
tiers: {kv: {kind: kv, public: true, shards: 3, replicas: 0, index: author}}
"""
PEOPLE = ("ada", "alan", "barbara", "edsger", "grace", "hedy")
TO_USER = {"on": "author", "to": "user:*"}


def sim(script: Any, text: str = STORE) -> Any:
    return run(script, loads(text), seed=6)


async def filled(c: Scenario, posts: int = 60) -> dict[str, Any]:
    """Posts and their authors, spread over the shards; key → value."""
    for _ in range(100):
        try:
            await c.call("kv", "mget", [f"probe{number}" for number in range(20)])
            break
        except RpcError:
            await c.sleep(0.1)
    values: dict[str, Any] = {f"user:{name}": {"name": name} for name in PEOPLE}
    for number in range(posts):
        values[f"post:{number:03}"] = {"author": PEOPLE[number % len(PEOPLE)], "text": f"{number}"}
    for key, value in values.items():
        await c.call("kv", "set", key, value)
    return values


def shard_of(key: str) -> str:
    """Its owner while the three shards have even shares."""
    return f"kv-shard-{slot_of(key) * 3 // SLOTS + 1}"


def rows_expected(values: dict[str, Any]) -> list[list[Any]]:
    return [
        [key, post, f"user:{post['author']}", values[f"user:{post['author']}"]]
        for key, post in sorted(values.items())
        if key.startswith("post:")
    ]


def test_a_join_across_shards_is_whole_and_says_what_it_cost() -> None:
    async def script(c: Scenario) -> None:
        values = await filled(c)
        answer = await c.call("kv", "join", {"prefix": "post:"}, TO_USER)
        assert answer["rows"] == rows_expected(values)
        assert (answer["partial"], answer["unanswered"], answer["more"]) == (False, [], False)
        cost = answer["cost"]
        assert cost["shards"] == 3 and 3 <= cost["requests"] <= 6
        assert cost["keys"] >= len(values) and cost["bytes"] > 60 * 20
        assert cost["slowest_shard"].startswith("kv-shard-") and cost["slowest_ms"] >= 0.6
        assert c.metrics("kv-router", "scatters_total", command="join") == 1
        assert c.metrics("kv-router", "scatter_requests_total", command="join") == cost["requests"]
        assert c.metrics("kv-router", "partial_results_total", command="join") == 0

    sim(script)


def test_keys_with_one_tag_are_joined_by_one_request_of_one_shard() -> None:
    async def script(c: Scenario) -> None:
        await filled(c, posts=1)
        await c.call("kv", "set", "{ada}user", {"name": "Ada"})
        for number in range(5):
            await c.call("kv", "set", f"{{ada}}post:{number}", {"author": "ada"})
        left, right = {"prefix": "{ada}post:"}, {"on": "author", "to": "{*}user"}
        for options in ({}, {"atomic": True}):
            answer = await c.call("kv", "join", left, right, options)
            assert [row[3] for row in answer["rows"]] == [{"name": "Ada"}] * 5
            cost = answer["cost"]
            assert (cost["shards"], cost["requests"]) == (1, 1)
            assert cost["slowest_shard"] == shard_of("{ada}user")
        for bad in ({"prefix": "post:"}, {"find": "ada"}, {"keys": ["{ada}post:1", "post:000"]}):
            with pytest.raises(RpcError) as caught:
                await c.call("kv", "join", bad, right, {"atomic": True})
            assert caught.value.code == "crossslot"
        with pytest.raises(RpcError) as caught:
            await c.call("kv", "mget", ["user:ada", "user:alan"], {"atomic": True})
        assert caught.value.code == "crossslot"
        assert await c.call("kv", "mget", ["{ada}user", "{ada}x"], {"atomic": True}) == [
            {"name": "Ada"}, None
        ]  # fmt: skip

    sim(script)


def test_a_paused_shard_makes_the_answer_partial_within_its_deadline() -> None:
    async def script(c: Scenario) -> None:
        values = await filled(c)
        async with await c.pause("kv-shard-2"):
            for command, params, limit_s in (
                ("join", [{"prefix": "post:"}, TO_USER], 0.5),
                ("mget", [sorted(values)], 0.25),
                ("find", ["ada"], 0.25),
            ):
                began_s = c.now_s
                options = {"partial": True, "shard_timeout_ms": 200}
                answer = await c.call("kv", command, *params, options)
                assert 0.2 <= c.now_s - began_s < limit_s
                assert answer["partial"] and answer["unanswered"] == ["kv-shard-2"]
                assert answer["cost"]["slowest_shard"] == "kv-shard-2"
                check_rest(command, answer, values)
                with pytest.raises(RpcError, match="kv-shard-2") as caught:
                    await c.call("kv", command, *params, {"shard_timeout_ms": 200})
                assert caught.value.code == "unavailable" and caught.value.definite
        assert c.metrics("kv-router", "partial_results_total", command="join") == 2
        assert len(c.events("shard does not answer in time", shard="kv-shard-2")) == 1
        answer = await c.call("kv", "join", {"prefix": "post:"}, TO_USER)
        assert answer["rows"] == rows_expected(values)
        assert len(c.events("shard answers again", shard="kv-shard-2")) == 1

    sim(script)


def check_rest(command: str, answer: dict[str, Any], values: dict[str, Any]) -> None:
    """What the other shards have is there, all of it, and what is not is named."""
    there = {key for key in values if shard_of(key) != "kv-shard-2"}
    if command == "find":
        wanted = {key for key in there if values[key].get("author") == "ada"}
        assert set(answer["keys"]) == wanted
        return
    if command == "mget":
        assert answer["values"] == [values[key] if key in there else None for key in sorted(values)]
        assert answer["missing"] == [key for key in sorted(values) if key not in there]
        return
    expected = [row for row in rows_expected(values) if row[0] in there]
    assert [row[:3] for row in answer["rows"]] == [row[:3] for row in expected]
    for row in answer["rows"]:
        assert row[3] == (values[row[2]] if row[2] in there else None)
    assert answer["missing"] == [
        key for key in dict.fromkeys(row[2] for row in expected) if key not in there
    ]


def test_the_callers_time_bounds_the_whole_and_the_answer_still_reaches_it() -> None:
    async def script(c: Scenario) -> None:
        values = await filled(c)
        client = c.cluster.operator.client("kv-router-1", RPC_PORT)
        async with await c.pause("kv-shard-2"):
            began_s = c.now_s
            params = [sorted(values), {"partial": True}]
            answer = await client.call("mget", *params, timeout_s=1.0)
            assert answer["unanswered"] == ["kv-shard-2"]
            assert 0.8 < c.now_s - began_s < 1.0

    sim(script)


def test_a_question_that_is_cancelled_leaves_nothing_behind() -> None:
    async def script(c: Scenario) -> None:
        values = await filled(c)
        client = c.cluster.operator.client("kv-router-1", RPC_PORT)
        async with await c.pause("kv-shard-2"):
            with c.cluster.operator.move_on_after(0.1) as scope:
                await client.call("join", {"prefix": "post:"}, TO_USER)
            assert scope.cancelled_caught
            await c.sleep(0.01)
            assert c.metrics("kv-router", "requests_in_flight") == 0
            await client.call("mget", [key for key in values if shard_of(key) != "kv-shard-2"])

    sim(script)


def test_a_join_finds_every_row_once_while_slots_move() -> None:
    async def script(c: Scenario) -> None:
        values = await filled(c)
        expected = rows_expected(values)
        ended = trio.Event()
        asked = 0

        async def ask() -> None:
            nonlocal asked
            while not ended.is_set():
                answer = await c.call("kv", "join", {"prefix": "post:"}, TO_USER)
                assert answer["rows"] == expected
                found = await c.call("kv", "mget", sorted(values))
                assert found == [values[key] for key in sorted(values)]
                asked += 1
                await c.sleep(0.02)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            seen = await reshard(c.cluster, "kv", 4)
            assert seen["outcome"] == "done"
            ended.set()
        assert asked >= 3
        answer = await c.call("kv", "join", {"prefix": "post:"}, TO_USER)
        assert answer["rows"] == expected and answer["cost"]["shards"] == 4

    sim(script)


QUESTIONS = (("mget", [["user:ada"]]), ("find", ["ada"]), ("join", [{"find": "ada"}, TO_USER]))
"""Those that go by the map of slots, not by a key."""


def test_a_find_sees_every_document_at_every_moment_while_slots_move() -> None:
    """A document that leaves one shard after that was asked, for one that was asked before."""

    async def script(c: Scenario) -> None:
        values = await filled(c)
        wanted = [key for key in sorted(values) if values[key].get("author") == "ada"]
        ended = trio.Event()
        asked = 0

        async def ask() -> None:
            nonlocal asked
            while not ended.is_set():
                answer = await c.call("kv", "find", "ada")
                assert (answer["keys"], answer["partial"]) == (wanted, False)
                answer = await c.call("kv", "join", {"find": "ada"}, TO_USER)
                assert [row[0] for row in answer["rows"]] == wanted
                asked += 1
                await c.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            for shards in (4, 3):
                seen = await reshard(c.cluster, "kv", shards)
                assert seen["outcome"] == "done"
            ended.set()
        assert asked > 20

    sim(script)


def test_what_is_on_its_way_until_the_time_is_over_is_not_passed_over() -> None:
    """No coordinator publishes who has the fenced slots: without `partial` that is an error."""

    async def script(c: Scenario) -> None:
        values = await filled(c)
        names = sorted(values)
        client = c.cluster.operator.client("kv-router-1", RPC_PORT)
        await c.reshard("kv", 4)
        await c.until("move.source fenced")
        async with await c.pause("kv-coordinator"):
            for command, params in (*QUESTIONS, ("mget", [names])):
                answer = await client.call(command, *params, {"partial": True}, timeout_s=0.5)
                if "missing" not in answer or answer["missing"]:
                    assert (answer["partial"], answer["unanswered"]) == (True, []), command
            assert 0 < len(answer["missing"]) < len(names)
            with pytest.raises(RpcError, match="slots were moving") as caught:
                await client.call("find", "ada", timeout_s=0.5)
            assert caught.value.code == "unavailable"
        await c.until("reshard ended")
        assert await c.call("kv", "mget", names) == [values[name] for name in names]

    sim(script)


def test_a_router_whose_map_is_old_asks_for_a_new_one_before_it_answers_in_part() -> None:
    """Shards came, and others left with all their nodes, while nobody asked it anything."""

    async def script(c: Scenario) -> None:
        values = await filled(c)
        for shards in (4, 2):
            assert (await reshard(c.cluster, "kv", shards))["outcome"] == "done"
            await c.sleep(1.0)
            began_s = c.now_s
            for command, params in QUESTIONS:
                answer = await c.call("kv", command, *params, {"partial": True})
                assert (answer["partial"], answer["unanswered"]) == (False, []), (command, answer)
                assert len(answer.get("keys", [])) in (0, 10)
            names = sorted(values)
            assert await c.call("kv", "mget", names) == [values[name] for name in names]
            assert c.now_s - began_s < 0.5

    sim(script)


@pytest.mark.parametrize("partitioner", ["slots", "ring", "modulo"])
def test_however_the_slots_are_shared_out_a_join_asks_each_shard_a_few_times(
    partitioner: str,
) -> None:
    async def script(c: Scenario) -> None:
        values = await filled(c)
        answer = await c.call("kv", "join", {"prefix": "post:"}, TO_USER, {"limit": 7})
        assert len(answer["rows"]) == 7 and answer["more"]
        assert all(row in rows_expected(values) for row in answer["rows"])
        assert answer["cost"]["requests"] <= 6 < MAX_FAN_OUT

    sim(script, STORE.replace("shards: 3", f"shards: 3, partitioner: {partitioner}"))
