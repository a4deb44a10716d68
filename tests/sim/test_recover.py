"""`emu recover`: what an old primary had alone is shown, and written again where it is chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import emu
from emu.topology.loading import loads
from protocols.errors import RpcError

SHIPPED = Path(__file__).parents[2] / "topologies"

ASYNC = """
name: recovering
tiers:
  db: {kind: database, nodes: 3, public: true, ack: async}
"""
# A short partition of the primary, then its death: what it wrote alone is lost (step 5).
ASYNC_TRY = """
tiers: {db: {kind: database, nodes: 3}}
faults:
  - {at: 0s, partition: [db primary, db], for: 5s}
  - {at: 500ms, kill: db primary, for: 10s}
"""


async def recovered(c: emu.Scenario, **options: Any) -> dict[str, Any]:
    return await (await c.recover("db", **options)).ended()


async def rows(c: emu.Scenario) -> list[Any]:
    found = await c.sql("db", "SELECT id, text FROM t ORDER BY id")
    return [tuple(row) for row in found["rows"]]


async def elected(c: emu.Scenario) -> None:
    for _ in range(100):
        if [each for each in c.events("promoted") if each["epoch"] > 1]:
            await c.sleep(0.5)
            return
        await c.sleep(0.1)
    raise AssertionError("nobody was elected")


async def saved(c: emu.Scenario, old: str) -> None:
    for _ in range(100):
        if c.events("divergent records saved", node=old):
            return
        await c.sleep(0.1)
    raise AssertionError("nothing was saved")


async def lose(c: emu.Scenario, *statements: str, comes_back: bool = True) -> str:
    """Statements that the primary acknowledges while nobody hears it; then it dies. Its name."""
    await c.sql("db", "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, text TEXT)")
    await c.sql("db", "INSERT INTO t VALUES (1, 'everybody has it')")
    await c.sleep(0.5)
    (old,) = await c.resolve("db primary")
    async with await c.partition("db primary", "db"):
        for statement in statements:
            await c.call(old, "write", [[statement]])
        await c.kill(old)
        await elected(c)
    if comes_back:
        await c.start(old)
        await saved(c, old)
    return old


LOST = ("INSERT INTO t VALUES (2, 'two')", "UPDATE t SET text = 'both' WHERE id IN (1, 2)")


def test_what_a_failover_lost_is_shown_and_written_again_once() -> None:
    async def script(c: emu.Scenario) -> Any:
        old = await lose(c, *LOST)
        shown = await recovered(c)
        before = await rows(c)
        made = await recovered(c, apply="all")
        again = await recovered(c, apply="all")
        return old, shown, before, made, again, await rows(c)

    old, shown, before, made, again, after = emu.run(script, loads(ASYNC), seed=2)
    assert before == [(1, "everybody has it")]
    assert [each["state"] for each in shown["records"]] == ["lost", "lost"]
    assert shown["records"][0]["text"] == "INSERT t: 2, two"
    assert {name for each in shown["records"] for name in each["members"]} == {old}
    assert (made["made"], again["made"]) == (2, 0)
    assert [each["state"] for each in again["records"]] == ["there", "there"]
    assert after == [(1, "both"), (2, "both")]


def test_only_those_that_are_chosen_are_written_again() -> None:
    async def script(c: emu.Scenario) -> Any:
        await lose(c, *(f"INSERT INTO t VALUES ({id}, '{id}')" for id in range(2, 7)))
        first = (await recovered(c))["records"][0]["lsn"]
        await recovered(c, apply=f"{first},{first + 2}-{first + 3}")
        with pytest.raises((RpcError, ValueError), match="no record with LSN 9999"):
            await recovered(c, apply="9999")
        with pytest.raises((RpcError, ValueError), match="LSNs such as"):
            await recovered(c, apply="some")
        return [id for id, _ in await rows(c)]

    assert emu.run(script, loads(ASYNC), seed=3) == [1, 2, 4, 5]


def test_nothing_that_was_written_since_is_overwritten() -> None:
    async def script(c: emu.Scenario) -> Any:
        await lose(c, *LOST, "DELETE FROM t WHERE id = 1")
        await c.sql("db", "INSERT INTO t VALUES (2, 'of another')")
        await c.sql("db", "UPDATE t SET text = 'changed since' WHERE id = 1")
        before = await rows(c)
        told = await recovered(c, apply="all")
        return before, told, await rows(c)

    before, told, after = emu.run(script, loads(ASYNC), seed=4)
    states = [(each["state"], each["why"]) for each in told["records"]]
    assert states[0] == ("conflicts", "UNIQUE constraint failed: t.id")
    assert [state for state, _ in states[1:]] == ["conflicts", "conflicts"]
    assert "is another by now" in states[1][1] and "a row was deleted" in states[2][1]
    assert after == before == [(1, "changed since"), (2, "of another")]


def test_a_request_that_its_client_has_sent_again_meanwhile_is_not_done_twice() -> None:
    statements = [["INSERT INTO t VALUES (2, 'two')"]]

    async def script(c: emu.Scenario) -> Any:
        await c.sql("db", "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, text TEXT)")
        await c.sleep(0.5)
        (old,) = await c.resolve("db primary")
        async with await c.partition("db primary", "db"):
            await c.call(old, "write", statements, {"request_id": "mine"})
            await c.kill(old)
            await elected(c)
        (new,) = await c.resolve("db primary")
        await c.call(new, "write", statements, {"request_id": "mine"})
        await c.sql("db", "DELETE FROM t")
        await c.start(old)
        await saved(c, old)
        told = await recovered(c, apply="all")
        return [each["state"] for each in told["records"]], await rows(c)

    assert emu.run(script, loads(ASYNC), seed=5) == (["there"], [])


def test_records_of_a_member_that_is_down_are_shown_too() -> None:
    async def script(c: emu.Scenario) -> Any:
        old = await lose(c, *LOST)
        await c.kill(old)
        return [each["members"] for each in (await recovered(c))["records"]], old

    found, old = emu.run(script, loads(ASYNC), seed=6)
    assert found == [[old], [old]]


@pytest.mark.soak
def test_step_5_with_async_loses_nothing_in_the_end_if_what_was_saved_is_written_again() -> None:
    text = (SHIPPED / "05-replication.yaml").read_text().replace("ack: quorum  ", "ack: async  ")

    async def script(c: emu.Scenario) -> Any:
        await c.sleep(4)
        c.start_playing(loads(ASYNC_TRY).faults)
        await c.sleep(12)
        made = (await recovered(c, apply="all"))["made"]
        return made, await c.finish()

    made, found = emu.run(script, loads(text), seed=1)
    assert made >= 3
    assert found["lost_acknowledged_writes"] == found["duplicated_writes"] == 0
    assert found["verdict"] == "passed"
