"""A database whose disks are full, fail, forget or lie: what each costs, and that it heals."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import emu
from emu.topology.loading import loads
from nodes.replica.segments import segment_name
from protocols.errors import RpcError

INSERT = "INSERT INTO t VALUES (?, ?)"
SEGMENT = segment_name(1)
"""All of a short log."""


def group(nodes: int = 3, more: str = ""):
    return loads(f"tiers:\n  db: {{kind: database, nodes: {nodes}, restart: on-failure{more}}}\n")


async def with_table(c: emu.Scenario) -> str:
    """Wait for a primary that has the table `t`; its name."""
    while True:
        try:
            (primary,) = await c.resolve("db primary")
            await write(c, primary, "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
            return primary
        except (RpcError, ValueError):
            await c.sleep(0.1)


async def write(c: emu.Scenario, name: str, sql: str, *params: Any) -> int:
    answer = await c.call(name, "write", [[sql, list(params)]], {})
    return int(answer["lsn"])


async def count(c: emu.Scenario, name: str, **options: Any) -> int:
    answer = await c.call(name, "query", "SELECT count(*) FROM t", [], options)
    return int(answer["rows"][0][0])


def test_a_full_disk_of_the_primary_refuses_writes_serves_reads_and_recovers_with_space():
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        for number in range(5):
            await write(c, primary, INSERT, number, "x")
        full = await c.disk(primary, full=True)
        with pytest.raises(RpcError) as refused:
            await write(c, primary, INSERT, 100, "x")
        read = [await count(c, primary)]
        await c.sleep(5)  # longer than any lease: heartbeats need no room
        read.append(await count(c, primary))
        await full.undo()
        await c.sleep(0.5)
        await write(c, primary, INSERT, 101, "x")
        return {
            "code": refused.value.code,
            "read": [*read, await count(c, primary)],
            "same": (await c.resolve("db primary")) == [primary],
            "failed": len(c.events("node failed")),
        }

    assert emu.run(script, group(), seed=1) == {
        "code": "no_space",
        "read": [5, 5, 6],
        "same": True,
        "failed": 0,
    }


def test_records_that_find_a_replicas_disk_full_are_written_when_it_has_room_again():
    async def script(c: emu.Scenario) -> tuple[int, int, int]:
        primary = await with_table(c)
        replica = (await c.resolve("db replica"))[0]
        full = await c.disk(replica, full=True)
        for number in range(20):
            last = await write(c, primary, INSERT, number, "x")
        await c.sleep(2)
        behind = c.metrics(replica, "emu_last_flushed_lsn")
        await full.undo()
        await c.sleep(2)
        caught_up = await count(c, replica, min_lsn=last)
        return int(behind < last), caught_up, len(c.events("node failed"))

    assert emu.run(script, group(), seed=2) == (1, 20, 0)


def test_a_failed_sync_ends_the_node_and_what_the_quorum_had_is_kept():
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        for number in range(10):
            await write(c, primary, INSERT, number, "x")
        await c.disk(primary, slow_factor=500.0)
        await write(c, primary, INSERT, 100, "x")  # two replicas have it; our own sync goes on
        failing = await c.disk(primary, fail="writes")
        await c.until("node failed", timeout_s=1)
        await c.until("promoted", timeout_s=10)
        await failing.undo()
        await c.sleep(15)
        (now,) = await c.resolve("db primary")
        last = await write(c, now, INSERT, 200, "x")
        counts = [await count(c, name, min_lsn=last) for name in await c.resolve("db")]
        return {"counts": counts, "moved": now != primary}

    assert emu.run(script, group(), seed=3) == {"counts": [12, 12, 12], "moved": True}


def test_a_bit_that_flipped_inside_the_log_is_found_and_healed_from_a_peer():
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        for number in range(50):
            last = await write(c, primary, INSERT, number, "x" * 50)
        replica = (await c.resolve("db replica"))[0]
        await c.kill(replica)
        c.cluster.instances[replica].handle.disk.flip_bit("log", 2000, 3)
        await c.start(replica)
        (damaged,) = c.events("log damaged")
        await c.sleep(3)
        disk = c.cluster.instances[replica].handle.disk
        return {
            "where": damaged["where"].startswith(f"file {SEGMENT}, byte "),
            "rows": await count(c, replica, min_lsn=last),
            "admitted": len(c.events("admitted", node=replica)),
            "set_aside": [name for name in disk.files.names() if "damaged" in name],
        }

    found = emu.run(script, group(), seed=4)
    assert found == {
        "where": True,
        "rows": 50,
        "admitted": 1,
        "set_aside": [f"{SEGMENT}.damaged-2"],
    }


@pytest.mark.parametrize("name", ["snapshot", "state"])
def test_a_damaged_snapshot_or_state_is_healed_too(name):
    async def script(c: emu.Scenario) -> tuple[int, int]:
        primary = await with_table(c)
        for number in range(40):
            last = await write(c, primary, INSERT, number, "x" * 2000)
        await c.sleep(3)
        replica = (await c.resolve("db replica"))[0]
        await c.kill(replica)
        c.cluster.instances[replica].handle.disk.flip_bit(name, -3, 3)
        await c.start(replica)
        await c.sleep(3)
        rows = await count(c, replica, min_lsn=last)
        return rows, len(c.events("log damaged"))

    assert emu.run(script, group(more=", snapshot_every: 20kB"), seed=5) == (40, 1)


def test_where_nobody_has_a_copy_a_damaged_log_is_refused_with_file_and_offset():
    async def script(c: emu.Scenario) -> str:
        primary = await with_table(c)
        for number in range(50):
            await write(c, primary, INSERT, number, "x" * 50)
        await c.kill(primary)
        c.cluster.instances[primary].handle.disk.flip_bit("log", 2000, 3)
        await c.start(primary)
        return c.cluster.instances[primary].error

    error = emu.run(script, loads("tiers:\n  db: {kind: database}\n"), seed=6)
    assert f"CorruptLog: file {SEGMENT}, byte " in error and "no peer has a copy" in error


def test_a_slow_disk_shows_as_lag_and_never_as_a_wrong_answer():
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        replica = (await c.resolve("db replica"))[0]
        await c.disk(replica, slow_factor=2000.0)
        for number in range(200):
            last = await write(c, primary, INSERT, number, "x")
        behind = last - c.metrics(replica, "emu_last_flushed_lsn")
        rows = await count(c, replica, min_lsn=last)
        return {"behind": behind > 0, "rows": rows}

    assert emu.run(script, group(), seed=7) == {"behind": True, "rows": 200}


def test_a_replica_that_was_away_longer_than_the_log_is_kept_gets_a_snapshot_then_the_log():
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        replica = (await c.resolve("db replica"))[0]
        await c.kill(replica)
        for number in range(60):
            last = await write(c, primary, INSERT, number, "x" * 2000)
            await c.sleep(0.1)
        await c.sleep(2)
        await c.start(replica)
        await c.sleep(2)
        rows = await count(c, replica, min_lsn=last)
        return {"rows": rows, "installed": len(c.events("snapshot installed", node=replica))}

    plan = group(more=", snapshot_every: 20kB, retained: 10kB")
    assert emu.run(script, plan, seed=8) == {"rows": 60, "installed": 1}


BLOBS = "INSERT OR REPLACE INTO t VALUES (?, ?)"


async def fill(c: emu.Scenario, primary: str, megabytes: int) -> int:
    """So much state, and twice as much log; the last LSN."""
    for number in range(20 * megabytes):
        row = [number % (10 * megabytes), f"{number:08}" * 12_500]
        last = await write(c, primary, BLOBS, *row)
        await c.sleep(0.02)
    return last


def test_a_replica_that_installs_a_large_snapshot_on_a_slow_disk_keeps_its_primary_in_office():
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        away, other = await c.resolve("db replica")
        await c.kill(away)
        last = await fill(c, primary, 3)
        await c.sleep(2)
        await c.disk(away, slow_factor=500.0)
        await c.start(away)
        await c.kill(other)  # from now on the lease rests on the one that installs
        began_s = c.now_s
        installed = await c.until("snapshot installed", node=away, timeout_s=60)
        took_s = installed["time_s"] - began_s
        rows = await count(c, away, min_lsn=last)
        deposed = c.events("role changed", node=primary, role="follower")
        return {"slow": took_s > 2, "rows": rows, "deposed": len(deposed)}

    plan = group(more=", snapshot_every: 1MB, retained: 100kB")
    assert emu.run(script, plan, seed=9) == {"slow": True, "rows": 30, "deposed": 0}


def test_a_snapshot_that_finds_the_disk_full_halfway_leaves_its_room_to_the_log():
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        await fill(c, primary, 2)
        await c.sleep(3)
        told = len(c.events("no snapshot: the disk is full", node=primary))
        await write(c, primary, BLOBS, 1000, "x" * 100_000)
        names = c.cluster.instances[primary].handle.disk.files.names()
        return {"told": told > 0, "names": names}

    plan = group(nodes=1, more=", snapshot_every: 3MB, disk: {capacity: 5.2MB}")
    found = emu.run(script, plan, seed=10)
    assert found["told"] and SEGMENT in found["names"]
    assert [name for name in found["names"] if not name.startswith("log-")] == ["state"]


def test_power_that_fails_in_the_middle_of_writes_leaves_torn_tails_and_loses_nothing():
    async def script(c: emu.Scenario) -> tuple[bool, bool]:
        primary = await with_table(c)
        acknowledged: list[int] = []

        async def write_on() -> None:
            number = 0
            while True:
                number += 1
                try:
                    await write(c, primary, INSERT, number, "x" * 300)
                    acknowledged.append(number)
                except RpcError:
                    await c.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_on)
            for _ in range(20):
                await c.crash(primary, in_write=True)
                await c.start(primary)
                await c.sleep(0.02)
            nursery.cancel_scope.cancel()
        rows = await count(c, primary)
        return rows >= len(acknowledged) > 0, len(c.events("torn log tail cut")) > 2

    assert emu.run(script, group(nodes=1), seed=1) == (True, True)


@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("size", [300, 40_000, 200_000])
def test_what_a_disk_without_room_refuses_never_happens_and_reads_go_on(nodes, size):
    async def script(c: emu.Scenario) -> dict[str, Any]:
        primary = await with_table(c)
        outcomes = {}
        for number in range(2_200_000 // size if size > 1000 else 200):
            blob = "x" * (size if number > 5 else 250_000)
            outcomes[number] = await code_of(c, primary, INSERT, number, blob)
        rows = await c.call(primary, "query", "SELECT id FROM t ORDER BY id", [], {})
        return {
            "codes": sorted(set(outcomes.values())),
            "same": [row[0] for row in rows["rows"]]
            == [number for number, code in outcomes.items() if code == "ok"],
        }

    plan = group(nodes=nodes, more=", disk: {capacity: 1600kB}")
    found = emu.run(script, plan, seed=10)
    assert found["same"]
    assert found["codes"] == ["no_space", "ok"]


async def code_of(c: emu.Scenario, name: str, sql: str, *params: Any) -> str:
    try:
        await write(c, name, sql, *params)
    except RpcError as error:
        return error.code
    return "ok"
