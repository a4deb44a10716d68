"""A record that does not apply: that replica stops, says why, and takes a peer's state."""

from __future__ import annotations

from typing import Any

import pytest

import emu
from nodes.sql.changes import Misfit
from nodes.sql.state import SqlState
from protocols.errors import RpcError
from tests.sim.test_database_disks import INSERT, count, group, with_table, write

POISON = "poison"


def poisoned(monkeypatch: pytest.MonkeyPatch, victims: list[str]) -> None:
    """The states of these nodes cannot repeat a record with that word."""
    sound = SqlState._repeat

    def repeat(self: SqlState, sql: str, changes: bytes) -> None:
        if POISON.encode() in changes and any(f"-{each}-" in self._vfs_name for each in victims):
            raise Misfit("t: 0 rows changed, not 1")
        sound(self, sql, changes)

    monkeypatch.setattr(SqlState, "_repeat", repeat)


@pytest.mark.parametrize("how_many", [1, 2])
def test_replicas_that_cannot_apply_a_record_are_refilled_and_the_group_goes_on(
    monkeypatch, how_many
):
    victims: list[str] = []
    poisoned(monkeypatch, victims)

    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        victims.extend((await c.resolve("db replica"))[:how_many])
        for number in range(30):
            await write(c, primary, INSERT, number, POISON if number == 10 else "x")
        stopped = await c.until("state stopped", node=victims[0], timeout_s=5)
        refusal = ""
        try:
            await count(c, victims[0])
        except RpcError as error:
            refusal = str(error)
        while len(c.events("state refilled")) < how_many and c.now_s < 60:
            await c.sleep(0.5)
        await c.sleep(5)
        for victim in victims:  # what it took is its own now: another life does not meet the record
            await c.kill(victim, for_s=1)
            await c.sleep(5)
        last = await write(c, primary, INSERT, 99, "x")
        counts = [await count(c, name, min_lsn=last) for name in await c.resolve("db")]
        digests = await c.call_admin("db", "state_digest")
        return {
            "why": stopped["why"],
            "refusal": refusal,
            "counts": counts,
            "equal": len({str(each) for each in digests.values()}),
            "failed": len(c.events("node failed")),
            "stops": len(c.events("state stopped")),
        }

    found = emu.run(script, group(), seed=3)
    assert "does not apply" in found["refusal"]
    assert found == {
        "why": "t: 0 rows changed, not 1",
        "refusal": found["refusal"],
        "counts": [31, 31, 31],
        "equal": 1,
        "failed": 0,
        "stops": how_many,
    }


def test_a_lone_database_that_cannot_apply_its_log_says_so_and_stays():
    async def script(c: emu.Scenario) -> list[Any]:
        primary = await with_table(c)
        await write(c, primary, INSERT, 1, POISON)
        with pytest.MonkeyPatch.context() as patch:
            poisoned(patch, [primary])
            await c.kill(primary, for_s=1)
            await c.until("state stopped", node=primary, timeout_s=10)
            refusals = []
            for ask in (count(c, primary), write(c, primary, INSERT, 2, "x")):
                with pytest.raises(RpcError) as caught:
                    await ask
                refusals.append(caught.value.code)
        await c.kill(primary, for_s=1)
        await c.sleep(5)
        return [refusals, await count(c, primary)]

    assert emu.run(script, group(nodes=1), seed=3) == [["unavailable", "unavailable"], 1]
