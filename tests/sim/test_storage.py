"""A larger or faster disk while it runs: what a full one refused goes on, and syncs take less."""

from __future__ import annotations

from typing import Any

import pytest

import emu
from emu.model.faults import Storage
from emu.topology.loading import loads
from protocols.errors import RpcError

DATABASE = """
name: storage
tiers:
  db: {kind: database, public: true, disk: {capacity: 300KB, bandwidth: 1MB/s}}
accepts: {single-point: test}
"""
TEXT = "x" * 8000


async def filled(c: emu.Scenario, most: int) -> int:
    """How many rows fit."""
    for number in range(most):
        try:
            await c.sql("db", f"INSERT INTO t VALUES (NULL, '{TEXT}')")
        except RpcError as error:
            assert error.code == "no_space"
            return number
    return most


def test_a_database_whose_disk_was_full_goes_on_with_a_larger_one() -> None:
    async def script(c: emu.Scenario) -> Any:
        await c.sql("db", "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
        before = await filled(c, 200)
        await c.storage("db", capacity_bytes=2_000_000)
        await c.sleep(1)
        return before, await filled(c, 50), c.metrics("db", "disk_free_bytes")

    before, after, free_bytes = emu.run(script, loads(DATABASE), seed=1)
    assert 5 < before < 100
    assert after == 50
    assert 500_000 < free_bytes < 2_000_000


def test_commits_take_less_on_a_faster_disk_and_as_long_again_when_it_is_undone() -> None:
    async def seconds(c: emu.Scenario) -> float:
        began_s = c.now_s
        await c.sql("db", f"INSERT INTO t VALUES (NULL, '{TEXT}')")
        return c.now_s - began_s

    async def script(c: emu.Scenario) -> list[float]:
        await c.sql("db", "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
        found = [await seconds(c)]
        async with await c.storage("db", bandwidth_bytes_per_s=100e6):
            found.append(await seconds(c))
        return [*found, await seconds(c)]

    slow, fast, again = emu.run(script, loads(DATABASE), seed=1)
    assert slow > 0.008 > 0.004 > fast
    assert again > 0.008


def test_who_keeps_nothing_on_the_disk_is_named() -> None:
    shop = "tiers: {web: {kind: web, uses: db, public: true}, db: {kind: database}}"

    async def script(c: emu.Scenario) -> list[Any]:
        await c.storage("web,db", capacity_bytes=10_000_000)
        await c.storage("db", capacity_bytes=20_000_000)
        return [
            each["nodes"] for each in c.cluster.events if each["event"] == "nothing on these disks"
        ]

    assert emu.run(script, loads(shop), seed=1) == [["web-1"]]


def test_a_disk_of_nothing_is_refused() -> None:
    async def script(c: emu.Scenario) -> None:
        with pytest.raises(ValueError, match="say what disk they get"):
            await c.storage("db")

    emu.run(script, loads(DATABASE), seed=1)
    with pytest.raises(ValueError, match="`capacity` are above 0"):
        Storage("db", capacity_bytes=-1)
