"""A machine's disk over its generations, in every world."""

from __future__ import annotations

import errno

import pytest
import trio

from emu.world import DiskSpec
from nodes.base import Fenced
from tests.conformance.conftest import spec


async def test_what_was_synced_survives_a_crash_and_the_rest_is_no_surprise(make_world):
    async with make_world() as world:
        machine = world.machine(spec("db-1"))
        life, ctx = machine.boot(1)
        ctx.disk.append("log", b"a" * 700)
        await ctx.disk.sync("log")
        ctx.disk.append("log", b"b" * 700)
        life.end(crash=True)
        _, ctx = machine.boot(2)
        data = await ctx.disk.read("log")
        assert data[:700] == b"a" * 700
        assert set(data[700:]) <= {0, ord("b")}
        assert ctx.disk.size_bytes("log") == len(data)


async def test_a_kill_keeps_what_was_written_and_fences_the_old_generation(make_world):
    async with make_world() as world:
        machine = world.machine(spec("db-1"))
        life, old = machine.boot(1)
        old.disk.append("log", b"abc")
        life.end(crash=False)
        _, new = machine.boot(2)
        assert await new.disk.read("log", 1) == b"bc"
        for call in (old.disk.names, lambda: old.disk.append("log", b"x")):
            with pytest.raises(Fenced):
                call()
        for wait in (old.disk.sync("log"), old.disk.read("log"), old.disk.remove("log")):
            with pytest.raises(Fenced):
                await wait
        assert await new.disk.read("log") == b"abc"


async def test_a_crash_in_the_middle_of_a_sync_never_says_it_was_done(make_world):
    slow = DiskSpec(sync_latency_s=0.02)
    async with make_world() as world, trio.open_nursery() as nursery:
        machine = world.machine(spec("db-1", disk=slow))
        life, ctx = machine.boot(1)
        said: list[str] = []

        async def write() -> None:
            with life.scope:
                ctx.disk.append("log", b"abc")
                await ctx.disk.sync("log")
                said.append("synced")

        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        life.end(crash=True)
        _, ctx = machine.boot(2)
        await ctx.clock.sleep(0.03)
        assert said == []


async def test_renames_replace_and_are_durable(make_world):
    async with make_world() as world:
        machine = world.machine(spec("db-1"))
        life, ctx = machine.boot(1)
        ctx.disk.append("state", b"old")
        await ctx.disk.sync("state")
        ctx.disk.append("state.new", b"new")
        await ctx.disk.sync("state.new")
        await ctx.disk.rename("state.new", "state")
        life.end(crash=True)
        _, ctx = machine.boot(2)
        assert ctx.disk.names() == ["state"]
        assert await ctx.disk.read("state") == b"new"
        await ctx.disk.truncate("state", 1)
        assert await ctx.disk.read("state") == b"n"
        await ctx.disk.remove("state")
        assert ctx.disk.names() == []


async def test_a_full_disk_and_a_failing_one_recover(make_world):
    async with make_world() as world:
        machine = world.machine(spec("db-1", disk=DiskSpec(capacity_bytes=100)))
        _, ctx = machine.boot(1)
        ctx.disk.append("log", b"x" * 90)
        with pytest.raises(OSError) as caught:
            ctx.disk.append("log", b"x" * 11)
        assert caught.value.errno == errno.ENOSPC
        await ctx.disk.truncate("log", 0)
        ctx.disk.append("log", b"abc")
        machine.disk.fail_writes = machine.disk.fail_reads = True
        for wait in (ctx.disk.sync("log"), ctx.disk.read("log")):
            with pytest.raises(OSError) as caught:
                await wait
            assert caught.value.errno == errno.EIO
        machine.disk.fail_writes = machine.disk.fail_reads = False
        await ctx.disk.sync("log")
        machine.disk.flip_bit("log", -1, 0)
        assert await ctx.disk.read("log") == b"abb"
        machine.disk.wipe()
        assert ctx.disk.names() == []


async def test_a_slow_disk_is_slow_for_everything(make_world):
    async with make_world() as world:
        machine = world.machine(spec("db-1", disk=DiskSpec(sync_latency_s=0.002)))
        _, ctx = machine.boot(1)
        ctx.disk.append("log", b"x")
        machine.disk.slow_factor = 10.0
        begun_s = world.timers.now_s()
        await ctx.disk.sync("log")
        assert world.timers.now_s() - begun_s >= 0.02


async def test_the_disk_shows_in_the_metrics(make_world):
    async with make_world() as world:
        _, ctx = world.machine(spec("db-1")).boot(1)
        ctx.disk.append("log", b"abc")
        await ctx.disk.sync("log")
        page = ctx.metrics.render().decode()
        labels = '{node="db-1",region="here",tier="db"}'
        assert f"emu_disk_written_bytes_total{labels} 3\n" in page
        assert f"emu_disk_used_bytes{labels} 3\n" in page
        assert f"emu_disk_sync_seconds_count{labels} 1\n" in page
