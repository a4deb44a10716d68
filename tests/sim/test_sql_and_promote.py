"""A database tier asked from outside, as `emu sql` does it; and planned switchovers."""

from __future__ import annotations

from typing import Any

import pytest

import emu
from emu.model.topology import Topology
from emu.running.targets import TargetError
from emu.topology.loading import loads
from protocols.errors import RpcError

MILLION = (
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000000) SELECT x FROM c"
)


def group(more: str = "nodes: 3") -> Topology:
    return loads(f"tiers:\n  db: {{kind: database, {more}}}\n  web: {{kind: web}}\n")


async def refused(c: emu.Scenario, *words: str, **options: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await c.sql(*words, **options)
    return caught.value


async def with_table(c: emu.Scenario) -> None:
    await c.sleep(2)
    await c.sql("db", "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)", request_id="table")


def test_the_primary_answers_and_a_replica_where_it_is_asked_for() -> None:
    async def script(c: emu.Scenario) -> None:
        await with_table(c)
        wrote = await c.sql("db", "INSERT INTO t VALUES (1, 'a'), (2, NULL)", request_id="one")
        assert (wrote["changes"], wrote["role"]) == (2, "primary")
        read = await c.sql("db", "SELECT * FROM t")
        assert (read["node"], read["role"]) == (wrote["node"], "primary")
        assert (read["columns"], read["rows"]) == (["id", "text"], [[1, "a"], [2, None]])
        aside = await c.sql("db", "SELECT * FROM t", replica=True, min_lsn=wrote["lsn"])
        assert (aside["role"], aside["rows"]) == ("replica", read["rows"])
        assert aside["lsn"] >= wrote["lsn"]
        named = await c.sql("db replica", "SELECT count(*) FROM t", min_lsn=wrote["lsn"])
        assert (named["role"], named["rows"]) == ("replica", [[2]])

    emu.run(script, group(), seed=1)


def test_statements_go_on_through_a_failover_and_are_done_once() -> None:
    async def script(c: emu.Scenario) -> list[Any]:
        await with_table(c)
        await c.kill("db primary", for_s=5)
        wrote = await c.sql("db", "INSERT INTO t VALUES (1, 'a')", request_id="x")
        again = await c.sql("db", "INSERT INTO t VALUES (1, 'a')", request_id="x")
        assert again["lsn"] == wrote["lsn"]
        return list((await c.sql("db", "SELECT * FROM t"))["rows"])

    assert emu.run(script, group(), seed=2) == [[1, "a"]]


def test_a_single_database_answers_too_and_has_no_replica() -> None:
    async def script(c: emu.Scenario) -> None:
        await with_table(c)
        assert (await c.sql("db", "SELECT 1 AS one"))["rows"] == [[1]]
        assert "no replica" in (await refused(c, "db", "SELECT 1", replica=True)).message
        with pytest.raises(TargetError, match="`web` is no database tier; there is: db"):
            await c.sql("web", "SELECT 1")
        await c.kill("db")
        assert "no node of `db` is up" in (await refused(c, "db", "SELECT 1")).message

    emu.run(script, group("nodes: 1"), seed=3)


def test_what_was_meant_for_others_is_not_done_at_the_primary() -> None:
    async def script(c: emu.Scenario) -> None:
        await with_table(c)
        await c.sleep(1)  # replicas have it too
        row = "INSERT INTO t VALUES (1, 'a')"
        (primary,) = await c.resolve("db primary")
        replica, *_ = await c.resolve("db replica")
        aside = await refused(c, "db", row, replica=True)
        assert (aside.code, "replicas only read" in aside.message) == ("refused", True)
        for statement in (row, "BEGIN"):
            named = await refused(c, replica, statement)
            assert f"{primary} just now, and {replica} was named: ask `db`" in named.message
        assert (await c.sql(replica, "SELECT count(*) FROM t"))["rows"] == [[0]]
        assert (await c.sql(primary, row))["node"] == primary

    emu.run(script, group(), seed=5)


def test_a_transaction_at_the_prompt_is_seen_by_itself_alone_until_it_commits() -> None:
    async def script(c: emu.Scenario) -> None:
        await with_table(c)
        lease = (await c.sql("db", "begin"))["lease"]
        await c.sql("db", "INSERT INTO t VALUES (1, 'a')", lease=lease)
        inside = await c.sql("db", "SELECT count(*) FROM t", lease=lease)
        outside = await c.sql("db", "SELECT count(*) FROM t")
        assert (inside["rows"], outside["rows"]) == ([[1]], [[0]])
        committed = await c.sql("db", "COMMIT", lease=lease)
        assert (committed["lease"], committed["changes"]) == (None, 1)
        lease = (await c.sql("db", "BEGIN"))["lease"]
        await c.sql("db", "DELETE FROM t", lease=lease)
        assert (await c.sql("db", "ROLLBACK", lease=lease))["lease"] is None
        assert (await c.sql("db", "SELECT count(*) FROM t"))["rows"] == [[1]]
        assert "no transaction is open" in (await refused(c, "db", "COMMIT")).message

    emu.run(script, group(), seed=4)


def test_what_is_too_much_gets_a_clear_answer_and_the_node_goes_on() -> None:
    async def script(c: emu.Scenario) -> None:
        await with_table(c)
        huge = await refused(c, "db", f"SELECT '{'x' * 10_000_000}'")
        assert (huge.code, "over 256 KiB" in huge.message) == ("too_large", True)
        million = await refused(c, "db", MILLION)
        assert "add LIMIT" in million.message
        first = await c.sql("db", MILLION, max_rows=3)
        assert (first["rows"], first["more"]) == ([[1], [2], [3]], 20_000)
        endless = MILLION.replace("LIMIT 1000000", "").replace(
            "SELECT x FROM", "SELECT sum(x) FROM"
        )
        runaway = await refused(c, "db", endless)
        assert "steps" in runaway.message
        assert (await c.sql("db", "SELECT 1"))["rows"] == [[1]]
        assert not c.events("node failed")

    emu.run(script, group(), seed=5)


# --- promote -----------------------------------------------------------------------------------


async def not_promoted(c: emu.Scenario, target: str) -> str:
    with pytest.raises(RpcError) as caught:
        await c.promote(target)
    return caught.value.message


def test_a_named_node_becomes_primary_and_it_is_told_how_long_writes_waited() -> None:
    async def script(c: emu.Scenario) -> None:
        await with_table(c)
        (old,) = await c.resolve("db primary")
        new = (await c.resolve("db replica"))[-1]
        await c.promote(f"db {new}")
        assert await c.resolve("db primary") == [new]
        (told,) = c.events("primary handed over")
        assert (told["old"], told["new"], told["epoch"]) == (old, new, 2)
        assert 0 < told["writes_waited_s"] < 0.5
        await c.promote("db")  # whoever fits best
        assert await c.resolve("db primary") != [new]
        await c.sql("db", "INSERT INTO t VALUES (1, 'a')", request_id="after")

    emu.run(script, group(), seed=6)


def test_a_node_that_cannot_be_primary_is_refused_with_the_reason() -> None:
    async def script(c: emu.Scenario) -> None:
        await with_table(c)
        (old,) = await c.resolve("db primary")
        replica = (await c.resolve("db replica"))[0]
        assert f"{old} is the primary already" in await not_promoted(c, old)
        assert "a witness has no data" in await not_promoted(c, "db-4")
        assert "no vote yet" in await not_promoted(c, "db-5")
        async with await c.kill(replica):
            assert f"{replica} is killed" in await not_promoted(c, replica)
        async with await c.pause(replica):
            assert f"{replica} is paused" in await not_promoted(c, replica)
        await c.sleep(1)
        async with await c.partition(old, replica):
            await c.sleep(2)
            assert "has heard nothing of it" in await not_promoted(c, replica)
            await c.promote("db")  # never the one that is cut off
            assert await c.resolve("db primary") != [replica]
        with pytest.raises(TargetError, match="name one"):
            await c.promote("db replica")

    emu.run(script, group("nodes: 5, witnesses: 1, spares: 1"), seed=7)


def test_a_replica_that_does_not_catch_up_leaves_the_old_primary_in_office() -> None:
    async def script(c: emu.Scenario) -> None:
        await with_table(c)
        (old,) = await c.resolve("db primary")
        replica = (await c.resolve("db replica"))[0]
        async with await c.disk(replica, slow_factor=100_000):
            await c.sql("db", "INSERT INTO t VALUES (1, 'a')")
            why = await not_promoted(c, replica)
        assert f"{replica} did not take over: the target did not catch up in time" in why
        assert f"{old} is still the primary" in why
        await c.sql("db", "INSERT INTO t VALUES (2, 'b')")

    emu.run(script, group(), seed=8)


def test_a_group_without_replica_or_primary_says_so() -> None:
    async def script(c: emu.Scenario) -> None:
        await c.sleep(2)
        assert "db-1 is the primary already" in await not_promoted(c, "db")
        await c.kill("db-1")
        assert "db-1 is killed" in await not_promoted(c, "db")

    emu.run(script, group("nodes: 1"), seed=9)


def test_without_a_majority_it_is_said_whose_votes_are_missing() -> None:
    async def script(c: emu.Scenario) -> None:
        await with_table(c)
        await c.kill("db-1")
        await c.pause("db-2")
        await c.sleep(3)
        with pytest.raises(RpcError, match=r"2 of 3 votes are missing: db-1 \(killed\), db-2"):
            await c.promote("db")
        await c.kill("db-2,db-3")
        await c.start("db-3")
        await c.sleep(3)
        with pytest.raises(RpcError, match=r"takes 2 of 3 votes \(db-1, db-2, db-3\)"):
            await c.call("db-3", "write", [["INSERT INTO t VALUES (9, 'x')"]])

    emu.run(script, group(), seed=1)
