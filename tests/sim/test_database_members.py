"""A database whose members come and go: spares, newcomers, those that leave, and a witness."""

from __future__ import annotations

from typing import Any

import emu
from protocols.errors import RpcError
from tests.sim.test_database_disks import INSERT, count, group, with_table, write


async def members(c: emu.Scenario) -> dict[str, str]:
    (primary,) = await c.resolve("db primary")
    answers = await c.call_admin(primary, "describe")
    return dict(answers[primary]["members"])


def test_a_spare_takes_the_place_of_a_replica_that_stays_away_and_that_becomes_the_spare():
    async def script(c: emu.Scenario) -> list[dict[str, str]]:
        primary = await with_table(c)
        await write(c, primary, INSERT, 1, "x")
        await c.sleep(3)
        seen = [await members(c)]
        gone = next(name for name in ("db-2", "db-3") if name != primary)
        await c.kill(gone)
        await c.sleep(6)
        seen.append(await members(c))
        last = await write(c, primary, INSERT, 2, "y")
        assert await count(c, "db-4", min_lsn=last) == 2
        await c.start(gone)
        await c.sleep(4)
        assert await count(c, gone, min_lsn=last) == 2
        roles = await members(c)
        return [*seen, {"voters": sorted(roles.values()).count("voter"), "spare": roles[gone]}]

    plan = group(4, more=", spares: 1, replace_after: 3s")
    first, second, third = emu.run(script, plan, seed=1)
    assert sorted(first.values()) == ["learner", "voter", "voter", "voter"]
    assert first["db-4"] == "learner" and second["db-4"] == "voter"
    assert third == {"voters": 3, "spare": "learner"}


def test_the_spare_takes_the_place_of_a_dead_primary_too():
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        await c.sleep(3)
        await c.crash(primary)
        await c.until("promoted", timeout_s=5)
        await c.sleep(8)
        roles = await members(c)
        return {"out": roles.get(primary) != "voter", "new": roles["db-4"]}

    plan = group(4, more=", spares: 1, replace_after: 3s")
    assert emu.run(script, plan, seed=2) == {"out": True, "new": "voter"}


def test_a_group_grows_and_shrinks_under_load_without_losing_its_majority():
    async def script(c: emu.Scenario) -> list[Any]:
        primary = await with_table(c)
        sizes = []
        for nodes in (5, 1, 3):
            await c.scale("db", nodes)
            await c.sleep(5)
            (primary,) = await c.resolve("db primary")
            last = await write(c, primary, INSERT, nodes, "x")
            sizes.append(len(await members(c)))
            for name in await c.resolve("db"):
                assert await count(c, name, min_lsn=last) == len(sizes)
        return sizes

    assert emu.run(script, group(3), seed=3) == [5, 1, 3]


def test_who_was_never_admitted_leaves_at_once():
    async def script(c: emu.Scenario) -> tuple[float, dict[str, str]]:
        primary = await with_table(c)
        await c.scale("db", 6)
        began_s = c.now_s
        await c.scale("db", 3)
        took_s = c.now_s - began_s
        await write(c, primary, INSERT, 1, "x")
        await c.sleep(2)
        return took_s, await members(c)

    for seed in range(3):
        took_s, left = emu.run(script, group(), seed=seed)
        assert took_s < 3 and left == dict.fromkeys(("db-1", "db-2", "db-3"), "voter")


def test_two_copies_and_a_witness_fail_over_and_the_witness_answers_nothing():
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        await write(c, primary, INSERT, 1, "x")
        await c.sleep(2)
        await c.kill(primary)
        await c.until("promoted", timeout_s=5)
        await c.sleep(1)
        (now,) = await c.resolve("db primary")
        await write(c, now, INSERT, 2, "y")  # the witness stands in for the other copy
        try:
            await c.call("db-3", "query", "SELECT 1", [], {})
        except RpcError as error:
            code = error.code
        await c.start(primary)
        await c.sleep(2)
        return {"code": code, "rows": await count(c, now), "roles": await members(c)}

    found = emu.run(script, group(3, more=", witnesses: 1"), seed=4)
    assert found["code"] == "not_primary" and found["rows"] == 2
    assert found["roles"] == {"db-1": "voter", "db-2": "voter", "db-3": "witness"}


def test_a_group_of_one_that_grew_is_not_founded_again_by_a_lost_disk():
    async def script(c: emu.Scenario) -> list[int]:
        primary = await with_table(c)
        await c.scale("db", 3)
        await c.sleep(5)
        last = await write(c, primary, INSERT, 1, "x")
        await c.kill(primary)
        c.cluster.instances[primary].handle.disk.wipe()
        await c.start(primary)
        await c.sleep(5)
        (now,) = await c.resolve("db primary")
        return [await count(c, name, min_lsn=last) for name in (now, primary)]

    assert emu.run(script, group(1), seed=5) == [1, 1]
