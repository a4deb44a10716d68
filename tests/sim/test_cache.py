"""The cache in virtual time: who fills, who waits, what a delete voids, and what a node that was
away may show."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.cache.operations import OPERATIONS
from nodes.operations import DOWN
from protocols.errors import RpcError

ONE = "tiers: {cache: {kind: cache, public: true, ttl_jitter: 0}}"
FOLLOWING = """
tiers:
  cache: {kind: cache, public: true, fills_from: db, max_stale: 1s, rows: {users: name}}
  db: {kind: database, public: true}
"""
SHELF = "/shelf/shop.backup"
STATS, _, FLUSH, _ = OPERATIONS
MADE_OLD = ["INSERT INTO old_keys VALUES (?)", ["k"]]


def sim(script: Any, text: str = ONE, **options: Any) -> Any:
    return run(script, loads(text), **options)


async def write(c: Scenario, *statements: Any) -> int:
    return int((await c.call("db", "write", list(statements)))["lsn"])


async def ready_database(c: Scenario) -> None:
    """It serves, and has the table."""
    for _ in range(100):
        try:
            await write(c, ["CREATE TABLE old_keys (key TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID"])
            break
        except RpcError:
            await c.sleep(0.1)


async def ready(c: Scenario, name: str = "cache") -> None:
    """The database serves, has the table, and the cache hears its log."""
    await ready_database(c)
    while not (await c.call(name, "ready"))["ready"]:
        await c.sleep(0.05)


def test_a_miss_gives_a_token_and_only_that_fills() -> None:
    async def script(c: Scenario) -> None:
        word, token, lsn = await c.call("cache", "get", "k")
        assert (word, lsn) == ("miss", 0) and token
        assert not await c.call("cache", "set", "k", "wrong", {"token": token + 1})
        assert await c.call("cache", "set", "k", "right", {"token": token})
        assert await c.call("cache", "get", "k") == ["hit", "right"]

    sim(script)


def test_a_delete_voids_the_token_so_no_stale_value_is_set() -> None:
    async def script(c: Scenario) -> None:
        _, token, _ = await c.call("cache", "get", "k")
        await c.call("cache", "delete", ["k"], 7)
        assert not await c.call("cache", "set", "k", "old", {"token": token})
        assert (await c.call("cache", "get", "k"))[::2] == ["miss", 7]

    sim(script)


def test_readers_wait_for_the_one_that_fills_and_have_its_value() -> None:
    async def script(c: Scenario) -> None:
        _, token, _ = await c.call("cache", "get", "k")
        found: list[Any] = []

        async def reader() -> None:
            found.append(await c.call("cache", "get", "k", {"wait_ms": 1000}))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(reader)
            await c.sleep(0.2)
            assert await c.call("cache", "set", "k", "v", {"token": token})
        assert found == [["hit", "v"]] * 5
        assert (await c.call("cache", "stats"))["lease_waits"] == 5

    sim(script)


def test_when_the_one_that_fills_gives_up_another_is_next_at_once() -> None:
    async def script(c: Scenario) -> None:
        _, token, _ = await c.call("cache", "get", "k")
        found: list[Any] = []

        async def reader() -> None:
            found.append(await c.call("cache", "get", "k", {"wait_ms": 2000}))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(reader)
            await c.sleep(0.2)
            began_s = c.now_s
            assert await c.call("cache", "release", "k", token)
            while not found:
                await c.sleep(0.001)
            assert c.now_s - began_s < 0.05
            assert found[0][0] == "miss"
            await c.call("cache", "set", "k", "v", {"token": found[0][1]})
        assert found[1:] == [["hit", "v"]] * 2

    sim(script)


def test_a_token_ends_and_who_waits_longer_is_told_that_it_is_busy() -> None:
    async def script(c: Scenario) -> None:
        await c.call("cache", "get", "k")
        assert await c.call("cache", "get", "k", {"wait_ms": 100}) == ["busy"]
        await c.sleep(10)
        assert (await c.call("cache", "get", "k"))[0] == "miss"

    sim(script)


def test_what_a_transaction_made_old_is_gone_soon_though_nobody_deleted_it() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await c.call("cache", "set", "k", "old")
        _, token, _ = await c.call("cache", "get", "other")
        await write(
            c, MADE_OLD, ["INSERT INTO old_keys VALUES ('other')"], ["DELETE FROM old_keys"]
        )
        await c.sleep(0.05)
        assert (await c.call("cache", "get", "k"))[0] == "miss"
        assert not await c.call("cache", "set", "other", "old", {"token": token})

    sim(script, FOLLOWING)


def test_a_node_that_was_paused_shows_nothing_old_when_it_is_back() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await c.call("cache", "set", "k", "old")
        await c.pause("cache")
        await write(c, MADE_OLD)
        await c.sleep(5)
        await c.unpause("cache")
        for _ in range(200):
            try:
                assert (await c.call("cache", "get", "k"))[0] == "miss"
                return
            except RpcError as error:
                assert error.code == "unavailable"
                await c.sleep(0.01)
        raise AssertionError("it never serves again")

    sim(script, FOLLOWING)


def test_a_node_that_is_cut_off_from_the_log_shows_nothing_after_max_stale() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await c.call("cache", "set", "k", "old")
        await c.partition("cache", "db")
        await write(c, MADE_OLD)
        assert await c.call("cache", "get", "k") == ["hit", "old"], "no older than it may be"
        await c.sleep(1.0)
        with pytest.raises(RpcError, match="log"):
            await c.call("cache", "get", "k")
        await c.heal()
        while not (await c.call("cache", "ready"))["ready"]:
            await c.sleep(0.05)
        assert (await c.call("cache", "get", "k"))[0] == "miss"

    sim(script, FOLLOWING)


def test_a_row_is_read_through_once_for_all_who_ask_and_again_when_it_has_changed() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await write(c, ["CREATE TABLE users (name TEXT NOT NULL PRIMARY KEY, about TEXT)"])
        await write(c, ["INSERT INTO users VALUES ('ada', 'engines')"])
        rows: list[Any] = []

        async def reader() -> None:
            rows.append(await c.call("cache", "read", "users/ada"))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(reader)
        assert rows == [{"name": "ada", "about": "engines"}] * 10
        assert (await c.call("cache", "stats"))["fills"] == 1
        assert await c.call("cache", "read", "users/nobody") is None
        assert await c.call("cache", "get", "users/nobody") == ["hit", None]
        await write(
            c, ["UPDATE users SET about = 'notes'"], ["INSERT INTO old_keys VALUES ('users/ada')"]
        )
        await c.sleep(0.05)
        assert (await c.call("cache", "read", "users/ada"))["about"] == "notes"
        with pytest.raises(RpcError, match="cannot be read through"):
            await c.call("cache", "read", "elsewhere/1")

    sim(script, FOLLOWING)


def test_all_who_wait_for_a_row_hear_that_it_could_not_be_read() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        refused: list[str] = []

        async def reader() -> None:
            with pytest.raises(RpcError, match="no such table") as raised:
                await c.call("cache", "read", "users/ada")
            refused.append(raised.value.code)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(reader)
        assert len(refused) == 10
        assert (await c.call("cache", "stats"))["misses"] == 1, "nobody asked again"

    sim(script, FOLLOWING)


def test_a_new_node_takes_over_its_keys_from_the_others() -> None:
    async def script(c: Scenario) -> tuple[int, int]:
        await ready(c, "cache-1")
        for number in range(60):
            key = f"item/{number}"
            _, token, _ = await c.call("cache-1", "get", key)
            assert await c.call("cache-1", "set", key, f"value {number}", {"token": token})
        await c.scale("cache", 2)
        while not (await c.call("cache-2", "ready"))["ready"]:
            await c.sleep(0.05)
        told = await (await c.cache_warm("cache-2")).ended()
        kept = (await c.call_admin("cache-2", "stats"))["cache-2"]["entries"]
        return told["taken_over"], kept

    taken, kept = sim(script, FOLLOWING)
    assert 10 < taken == kept < 50  # what the ring gives it of 60


def test_what_is_asked_of_all_nodes_is_told_of_those_that_answer() -> None:
    async def script(c: Scenario) -> None:
        for name in ("cache-1", "cache-2", "cache-3"):
            await c.call(name, "set", name, "value")
        await c.kill("cache-2")
        told = await (await c.cache_stats("cache")).ended()
        assert {name: each["entries"] for name, each in told["answers"].items()} == {
            "cache-1": 1,
            "cache-3": 1,
        }
        assert told["silent"] == {"cache-2": DOWN}
        assert STATS.shown(told).splitlines()[-1] == "cache-2: no answer: it is down"
        told = await (await c.cache_flush("cache")).ended()
        assert told["answers"] == {"cache-1": 1, "cache-3": 1}
        assert told["silent"] == {"cache-2": DOWN} and FLUSH.succeeded(told), "it has nothing"
        await c.pause("cache-3")
        told = await (await c.cache_flush("cache")).ended()
        assert sorted(told["silent"]) == ["cache-2", "cache-3"] and not FLUSH.succeeded(told)
        await c.unpause("cache-3")
        await c.kill("cache")
        with pytest.raises(RpcError):
            await (await c.cache_stats("cache")).ended()

    sim(script, "tiers: {cache: {kind: cache, nodes: 3, public: true}}")


def test_keys_are_listed_page_by_page_and_what_is_no_place_is_refused() -> None:
    async def script(c: Scenario) -> None:
        for number in range(3):
            await c.call("cache", "set", f"k{number}", "x" * 400_000)
        told = await c.call("cache", "keys")
        assert (sorted(told["keys"]), told["next"]) == (["k0", "k1", "k2"], None)
        told = await c.call("cache", "values", ["gone", "k0", "k1", "k2"])
        assert [row[0] for row in told["rows"]] == ["k0"], "an answer has its bound"
        assert told["looked_at"] == 2
        for place in ("k0", [1], [1, -1], ["a", 0], [7, 0]):
            with pytest.raises(RpcError, match=r"place|whole number|begin anew"):
                await c.call("cache", "keys", place)

    sim(script)


def test_where_nothing_says_what_is_old_no_node_is_warmed() -> None:
    async def script(c: Scenario) -> None:
        with pytest.raises(RpcError, match="without `fills_from`"):
            await (await c.cache_warm("cache")).ended()

    sim(script)


def test_after_a_restore_no_miss_asks_for_what_the_log_lost() -> None:
    async def script(c: Scenario) -> None:
        await ready(c)
        await (await c.backup("db", SHELF)).ended()
        for _ in range(5):
            lsn = await write(c, MADE_OLD, "DELETE FROM old_keys")
        assert (await c.call("cache", "get", "k"))[-1] <= lsn
        await c.call("cache", "delete", ["k"], lsn)
        await (await c.restore("db", SHELF)).ended()
        await c.sleep(2.0)
        seen_lsn = (await c.call("db", "query", "SELECT 1"))["lsn"]
        word, _, wanted_lsn = await c.call("cache", "get", "k")
        assert (word, wanted_lsn <= seen_lsn < lsn) == ("miss", True)

    sim(script, FOLLOWING)
