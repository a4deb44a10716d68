"""Transactions that arrive together share a record, and nobody notices but the log."""

from __future__ import annotations

from typing import Any

import trio

import emu
from protocols.errors import RpcError
from tests.sim.test_database_disks import INSERT, count, group, with_table, write


async def at_once(c: emu.Scenario, name: str, batches: list[Any]) -> list[Any]:
    """What each of these transactions is answered: its LSN, or the code of its refusal."""
    answers: list[Any] = [None] * len(batches)

    async def one(place: int, batch: Any) -> None:
        try:
            answers[place] = (await c.call(name, "write", batch, {}))["lsn"]
        except RpcError as error:
            answers[place] = error.code

    async with trio.open_nursery() as nursery:
        for place, batch in enumerate(batches):
            nursery.start_soon(one, place, batch)
    return answers


def inserts(count: int, first: int = 0) -> list[Any]:
    return [[[INSERT, [number, "x"]]] for number in range(first, first + count)]


def test_writes_that_arrive_together_share_a_record_and_a_refused_one_has_no_part_in_it():
    async def script(c: emu.Scenario) -> Any:
        primary = await with_table(c)
        answers = await at_once(c, primary, [*inserts(10), [[INSERT, [3, "again"]]]])
        lsns = {each for each in answers if each != "refused"}
        replica = (await c.resolve("db replica"))[0]
        seen = await count(c, replica, min_lsn=max(lsns))
        return len(lsns) < 5, answers.count("refused"), seen, await count(c, primary)

    assert emu.run(script, group(), seed=1) == (True, 1, 10, 10)


def test_a_transaction_that_begins_comes_after_what_had_arrived_before_it():
    async def script(c: emu.Scenario) -> Any:
        primary = await with_table(c)
        seen: list[Any] = []

        async def transact() -> None:
            lease = (await c.call(primary, "begin"))["lease"]
            for _ in range(2):
                found = await c.call(primary, "execute", lease, "SELECT count(*) FROM t", [])
                seen.append(found["rows"][0][0])
            await c.call(primary, "execute", lease, INSERT, [100, "mine"])
            await c.call(primary, "commit", lease)

        async with trio.open_nursery() as nursery:
            for batch in inserts(20):
                nursery.start_soon(c.call, primary, "write", batch, {})
                if batch[0][1][0] == 10:
                    nursery.start_soon(transact)
        return seen[0] == seen[1], await count(c, primary)

    for seed in range(2, 6):
        assert emu.run(script, group(), seed=seed) == (True, 21)


def test_a_group_is_not_held_up_by_the_primarys_own_slow_disk():
    async def script(c: emu.Scenario) -> float:
        primary = await with_table(c)
        await c.disk(primary, slow_factor=1000.0)
        began_s = c.now_s
        for first in range(0, 50, 10):
            await at_once(c, primary, inserts(10, first))
        return c.now_s - began_s

    assert emu.run(script, group(), seed=6) < 0.1


def test_reads_of_a_replica_find_what_has_gathered_there():
    async def script(c: emu.Scenario) -> list[int]:
        primary = await with_table(c)
        replica = (await c.resolve("db replica"))[0]
        found = []
        for number in range(5):
            token = await write(c, primary, INSERT, number, "x")
            found.append(await count(c, replica, min_lsn=token))
        await write(c, primary, INSERT, 5, "x")
        await c.sleep(0.05)
        return [*found, await count(c, replica)]

    assert emu.run(script, group(), seed=7) == [1, 2, 3, 4, 5, 6]


def test_groups_that_are_written_in_one_go_are_all_synced():
    """A sync covers what was written as it began: what came right after it needs one more."""

    async def script(c: emu.Scenario) -> int:
        primary, written = await with_table(c), 0

        async def insert_one(batch: Any) -> None:
            nonlocal written
            await c.call(primary, "write", batch, {})
            written += 1

        async with trio.open_nursery() as nursery:
            for batch in inserts(150):
                nursery.start_soon(insert_one, batch)
            nursery.start_soon(c.call, primary, "begin")
            await c.sleep(1.0)  # nobody else writes
            nursery.cancel_scope.cancel()
        return written

    assert emu.run(script, group(nodes=1), seed=8) == 150
