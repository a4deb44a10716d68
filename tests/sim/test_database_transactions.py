"""What a client may count on: isolation, tokens, staleness, and a planned change of the primary."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import emu
from emu.topology.loading import loads
from nodes.wire.client import Client
from protocols.errors import RpcError
from tests.sim.test_database_disks import INSERT, count, group, with_table, write


async def code_of(c: emu.Scenario, name: str, method: str, *params: Any) -> str:
    try:
        await c.call(name, method, *params)
    except RpcError as error:
        return error.code
    return "ok"


def test_an_open_transaction_sees_its_own_rows_and_nobody_else_does_before_it_commits():
    async def script(c: emu.Scenario) -> list[Any]:
        primary = await with_table(c)
        lease = (await c.call(primary, "begin"))["lease"]
        await c.call(primary, "execute", lease, INSERT, [1, "x"])
        inside = await c.call(primary, "execute", lease, "SELECT count(*) FROM t", [])
        outside = await count(c, primary)
        await c.call(primary, "commit", lease)
        return [inside["rows"], outside, await count(c, primary)]

    assert emu.run(script, group(), seed=1) == [[[1]], 0, 1]


@pytest.mark.parametrize("when", ["begun", "after a statement", "while a statement runs"])
def test_a_transaction_ends_with_the_connection_of_its_client(when):
    async def script(c: emu.Scenario) -> list[Any]:
        primary = await with_table(c)
        client = c.cluster.operator.client(primary, c.cluster.instances[primary].spec.port)
        lease = (await client.call("begin", {"timeout_ms": 60_000}, timeout_s=5))["lease"]
        if when == "after a statement":
            await client.call("execute", lease, INSERT, [1, "x"], timeout_s=5)
        async with trio.open_nursery() as nursery:
            if when == "while a statement runs":
                with trio.CancelScope() as scope:
                    nursery.start_soon(code_of_client, client, lease)
                    await c.sleep(0.0001)
                    scope.cancel()
            client.close()
        began_s = c.now_s
        await write(c, primary, INSERT, 2, "y")
        return [c.now_s - began_s < 1, await count(c, primary)]

    assert emu.run(script, group(), seed=1) == [True, 1]


def test_a_transaction_whose_client_gave_up_before_it_heard_of_it_holds_nobody():
    async def script(c: emu.Scenario) -> list[int]:
        primary = await with_table(c)
        client = c.cluster.operator.client(primary, c.cluster.instances[primary].spec.port)
        await client.call("role", timeout_s=5)  # it stays connected, as an operator's does
        for number in range(40):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(begin, client)
                await c.sleep(0.00002 * number)
                nursery.cancel_scope.cancel()
            began_s = c.now_s
            await write(c, primary, INSERT, number, "y")
            assert c.now_s - began_s < 1, number
        return [await count(c, primary)]

    assert emu.run(script, group(), seed=1) == [40]


async def begin(client: Client) -> None:
    lease = (await client.call("begin", {"timeout_ms": 60_000}, timeout_s=5))["lease"]
    with trio.CancelScope(shield=True):
        await client.call("rollback", lease, timeout_s=5)


async def code_of_client(client: Client, lease: int) -> str:
    try:
        await client.call("execute", lease, INSERT, [1, "x"], timeout_s=5)
    except RpcError as error:
        return error.code
    return "ok"


def test_a_transaction_that_has_ended_leaves_nothing_for_the_end_of_its_connection():
    async def script(c: emu.Scenario) -> list[Any]:
        primary = await with_table(c)
        client = c.cluster.operator.client(primary, c.cluster.instances[primary].spec.port)
        first = (await client.call("begin", timeout_s=5))["lease"]
        await client.call("commit", first, timeout_s=5)
        lease = (await c.call(primary, "begin"))["lease"]
        client.close()
        await c.sleep(0.5)
        await c.call(primary, "execute", lease, INSERT, [1, "x"])
        await c.call(primary, "commit", lease)
        return [await count(c, primary)]

    assert emu.run(script, group(), seed=1) == [1]


def test_what_chance_and_the_clock_gave_in_a_transaction_is_what_it_commits():
    async def script(c: emu.Scenario) -> list[Any]:
        primary = await with_table(c)
        roll = "INSERT INTO t VALUES (random() % 1000000, datetime('now', 'subsec')) RETURNING *"
        begun = []
        for _ in range(2):
            lease = (await c.call(primary, "begin"))["lease"]
            for _ in range(3):
                begun += (await c.call(primary, "execute", lease, roll, []))["rows"]
                await c.sleep(0.7)
            await c.call(primary, "commit", lease)
        kept = await c.call(primary, "query", "SELECT * FROM t ORDER BY id", [], {})
        return [sorted(begun), kept["rows"]]

    begun, kept = emu.run(script, group(), seed=1)
    assert begun == kept
    assert len({number for number, _ in kept}) == 6, "each throw is another"
    assert len({time for _, time in kept}) == 2, "the time is the transaction's"


def test_other_writers_wait_for_an_open_transaction_so_no_update_is_lost():
    async def script(c: emu.Scenario) -> list[Any]:
        primary = await with_table(c)
        await write(c, primary, INSERT, 1, "0")
        done: list[float] = []

        async def other() -> None:
            await write(c, primary, "UPDATE t SET text = text + 10 WHERE id = 1")
            done.append(c.now_s)

        lease = (await c.call(primary, "begin"))["lease"]
        seen = await c.call(primary, "execute", lease, "SELECT text FROM t WHERE id = 1", [])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await c.sleep(1)
            assert not done
            value = int(seen["rows"][0][0]) + 1
            await c.call(primary, "execute", lease, "UPDATE t SET text = ? WHERE id = 1", [value])
            await c.call(primary, "commit", lease)
        answer = await c.call(primary, "query", "SELECT text FROM t", [], {})
        return answer["rows"]

    assert emu.run(script, group(), seed=2) == [["11"]]


@pytest.mark.parametrize("time_s", [0.4, 1.0, 8.0])
@pytest.mark.parametrize("waits", ["write", "begin"])
def test_who_never_began_behind_an_open_transaction_hears_so_in_time(waits, time_s):
    async def script(c: emu.Scenario) -> list[Any]:
        primary = await with_table(c)
        operator = c.cluster.operator.client(primary, c.cluster.instances[primary].spec.port)
        asked: dict[str, list[Any]] = {
            "write": [[[INSERT, [2, "late"]]], {"request_id": "late"}],
            "begin": [{}],
        }
        lease = (await c.call(primary, "begin", {"timeout_ms": 60_000}))["lease"]
        await c.call(primary, "execute", lease, INSERT, [1, "x"])
        with pytest.raises(RpcError, match=r", for 5[0-9]\.[0-9] s more at most") as told:
            await operator.call(waits, *asked[waits], timeout_s=time_s)
        with pytest.raises(RpcError, match="another transaction is open"):
            await c.sql("db", "INSERT INTO t VALUES (3, 'by hand')")
        await c.call(primary, "commit", lease)
        await c.sleep(1)
        return [told.value.code, told.value.definite, await count(c, primary)]

    assert emu.run(script, group(), seed=1) == ["unavailable", True, 1]


def test_a_transaction_that_takes_too_long_is_over_and_leaves_nothing():
    async def script(c: emu.Scenario) -> list[Any]:
        primary = await with_table(c)
        lease = (await c.call(primary, "begin"))["lease"]
        await c.call(primary, "execute", lease, INSERT, [1, "x"])
        await c.sleep(1.5)
        late = await code_of(c, primary, "commit", lease)
        await write(c, primary, INSERT, 2, "y")
        return [late, await count(c, primary)]

    assert emu.run(script, group(more=", transaction_timeout: 1s"), seed=3) == ["refused", 1]


def test_a_transaction_of_an_earlier_life_does_not_get_into_another_ones():
    async def script(c: emu.Scenario) -> list[Any]:
        primary = await with_table(c)
        old = (await c.call(primary, "begin"))["lease"]
        await c.kill(primary)
        await c.start(primary)
        await c.sleep(0.5)
        new = (await c.call(primary, "begin"))["lease"]
        stray = await code_of(c, primary, "execute", old, INSERT, [1, "x"])
        await c.call(primary, "execute", new, INSERT, [2, "y"])
        await c.call(primary, "commit", new)
        return [stray, await count(c, primary)]

    assert emu.run(script, group(nodes=1), seed=1) == ["refused", 1]


def test_a_transaction_does_not_outlive_the_epoch_it_began_in():
    async def script(c: emu.Scenario) -> str:
        primary = await with_table(c)
        lease = (await c.call(primary, "begin"))["lease"]
        await c.call(primary, "execute", lease, INSERT, [1, "x"])
        for _ in range(2):  # away, and back again
            (now,) = await c.resolve("db primary")
            target = primary if now != primary else (await c.resolve("db replica"))[0]
            await c.call_admin(now, "promote", target)
            await c.until("promoted", timeout_s=5)
            await c.sleep(1)
        assert await c.resolve("db primary") == [primary]
        return await code_of(c, primary, "commit", lease)

    assert emu.run(script, group(more=", transaction_timeout: 60s"), seed=4) == "refused"


def test_a_replica_answers_with_what_the_token_names_or_says_that_it_cannot_yet():
    async def script(c: emu.Scenario) -> list[Any]:
        primary = await with_table(c)
        replica = (await c.resolve("db replica"))[0]
        token = await write(c, primary, INSERT, 1, "x")
        fresh = await count(c, replica, min_lsn=token)
        await c.partition(primary, replica)
        token = await write(c, primary, INSERT, 2, "y")
        stale = await count(c, replica)
        code = await code_of(c, replica, "query", "SELECT 1", [], {"min_lsn": token})
        return [fresh, stale, code]

    assert emu.run(script, group(), seed=5) == [1, 1, "unavailable"]


def test_a_replica_refuses_to_answer_with_what_is_older_than_the_caller_bears():
    async def script(c: emu.Scenario) -> list[str]:
        primary = await with_table(c)
        replica = (await c.resolve("db replica"))[0]
        ask = (replica, "query", "SELECT 1", [], {"max_lag_ms": 400})
        await c.sleep(2)
        codes = [await code_of(c, *ask)]
        await c.skew(replica, step_s=1000.0)  # wall clocks have no say in it
        codes.append(await code_of(c, *ask))
        await c.partition(primary, replica)
        await c.sleep(0.7)
        codes.append(await code_of(c, *ask))
        odd = (replica, "query", "SELECT 1", [], {"max_lag_ms": "soon"})
        return [*codes, await code_of(c, *odd)]

    assert emu.run(script, group(), seed=6) == ["ok", "ok", "unavailable", "bad_request"]


def test_a_planned_change_of_the_primary_loses_nothing_and_leaves_no_write_unknown():
    plan = loads("tiers:\n  db: {kind: database, nodes: 3}\n")

    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        codes: dict[str, int] = {}

        async def keep_writing(first: int) -> None:
            for number in range(first, first + 100):
                params = ([[INSERT, [number, "x"]]], {})
                code = await code_of(c, primary, "write", *params)
                codes[code] = codes.get(code, 0) + 1
                await c.sleep(0.005)

        async with trio.open_nursery() as nursery:
            for writer in range(8):
                nursery.start_soon(keep_writing, writer * 1000)
            await c.sleep(0.2)
            target = (await c.resolve("db replica"))[0]
            await c.call_admin(primary, "promote", target)
        await c.sleep(1)
        assert await c.resolve("db primary") == [target]
        return {"codes": sorted(codes), "kept": await count(c, target) == codes["ok"]}

    found = emu.run(script, plan, seed=7)
    assert found == {"codes": ["not_primary", "ok"], "kept": True}


@pytest.mark.parametrize("ack", ["remote_apply", "ANY 1", "FIRST 1", "remote_write", "off"])
def test_every_commit_level_acknowledges_and_survives_a_planned_change(ack):
    async def script(c: emu.Scenario) -> int:
        primary = await with_table(c)
        for number in range(5):
            await write(c, primary, INSERT, number, "x")
        await c.call_admin(primary, "promote", (await c.resolve("db replica"))[0])
        await c.until("promoted", timeout_s=5)
        await c.sleep(1)
        (now,) = await c.resolve("db primary")
        return await count(c, now)

    assert emu.run(script, group(more=f', ack: "{ack}"'), seed=8) == 5


def test_a_commit_waits_for_a_standby_that_is_named_and_away_while_reads_go_on():
    async def script(c: emu.Scenario) -> list[Any]:
        primary = await with_table(c)
        for replica in await c.resolve("db replica"):
            await c.pause(replica, for_s=0.5)
            break
        waited_from_s = c.now_s
        await write(c, primary, INSERT, 1, "x")
        return [round(c.now_s - waited_from_s, 1) >= 0.4, await count(c, primary)]

    assert emu.run(script, group(more=', ack: "ANY 2"'), seed=9) == [True, 1]


def test_a_client_may_ask_for_a_longer_transaction_up_to_a_limit():
    async def script(c: emu.Scenario) -> list[Any]:
        primary = await with_table(c)
        begun = await c.call(primary, "begin", {"timeout_ms": 20_000})
        await c.call(primary, "execute", begun["lease"], INSERT, [1, "x"])
        await c.sleep(19)
        await c.call(primary, "commit", begun["lease"])
        most = await c.call(primary, "begin", {"timeout_ms": 3_600_000})
        return [begun["expires_ms"], most["expires_ms"], await count(c, primary)]

    assert emu.run(script, group(), seed=7) == [20_000, 60_000, 1]
