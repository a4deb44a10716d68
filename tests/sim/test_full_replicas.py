"""Replicas whose disks are full: the primary knows, says so, and takes only what can be durable."""

from __future__ import annotations

from typing import Any

import pytest

import emu
from protocols.errors import RpcError
from tests.sim.test_database_disks import INSERT, count, group, with_table, write


async def outcome(c: emu.Scenario, primary: str, number: int) -> str:
    """`ok`, or the code of the refusal."""
    try:
        await write(c, primary, INSERT, number, "x")
    except RpcError as error:
        return error.code
    return "ok"


async def lacks_room(c: emu.Scenario, primary: str, replica: str) -> float:
    """By the primary's metrics, as they are scraped."""
    await c.call_admin(primary, "metrics")
    return c.metrics(primary, "emu_replica_lacks_room", replica=replica)


def test_one_full_replica_of_three_is_told_and_commits_go_on():
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        first, other = await c.resolve("db replica")
        full = await c.disk(first, full=True)
        outcomes = {await outcome(c, primary, number) for number in range(5)}
        await c.sleep(1)
        facts = (await c.call_admin(primary, "describe"))[primary]
        rows = {row["name"]: row.get("disk") for row in await c.ps("db")}
        told = [event["replica"] for event in c.events("out of room", node=primary)]
        seen = [await lacks_room(c, primary, each) for each in (first, other)]
        await full.undo()
        await c.sleep(1)
        return {
            "outcomes": outcomes,
            "told": told == [first] and facts["without_room"] == [first],
            "seen": seen,
            "rows": rows == {primary: None, first: "full", other: None},
            "after": await lacks_room(c, primary, first),
        }

    found = emu.run(script, group(), seed=1)
    assert found == {"outcomes": {"ok"}, "told": True, "seen": [1, 0], "rows": True, "after": 0}


@pytest.mark.parametrize("ack", ["quorum", "ANY 1", "remote_apply"])
def test_where_too_few_have_room_writes_are_refused_with_who_has_none(ack):
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        replicas = await c.resolve("db replica")
        full = [await c.disk(each, full=True) for each in replicas]
        first = await outcome(c, primary, 1)  # nobody knew
        await c.sleep(1)
        refused = [await outcome(c, primary, number) for number in (2, 3)]
        with pytest.raises(RpcError) as told:
            await write(c, primary, INSERT, 4, "x")
        for each in full:
            await each.undo()
        await c.sleep(1)
        after = await outcome(c, primary, 5)
        rows = (await c.call(primary, "query", "SELECT id FROM t ORDER BY id"))["rows"]
        named = all(each in str(told.value) for each in replicas)
        return {"first": first, "refused": refused, "named": named, "after": after, "rows": rows}

    assert emu.run(script, group(more=f', ack: "{ack}"'), seed=1) == {
        "first": "timeout",  # of unknown outcome, and it happened when there was room
        "refused": ["no_space", "no_space"],
        "named": True,
        "after": "ok",
        "rows": [[1], [5]],
    }


def test_with_a_witness_one_full_replica_is_left_behind_and_commits_go_on():
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        (replica,) = await c.resolve("db replica")
        await c.disk(replica, full=True)
        await outcome(c, primary, 0)
        await c.sleep(2)
        outcomes = {await outcome(c, primary, number) for number in range(1, 5)}
        return {"outcomes": outcomes, "rows": await count(c, primary)}

    assert emu.run(script, group(more=", witnesses: 1"), seed=1) == {
        "outcomes": {"ok"},
        "rows": 5,
    }
