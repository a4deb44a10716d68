"""A machine's disk over its generations, in every world."""

from __future__ import annotations

import errno
from functools import partial

import pytest
import trio

from emu.machine.world import DiskSpec
from nodes.base import Fenced
from tests.conformance.conftest import LATE_S, Stopwatch, spec, start
from tests.conformance.test_receive_each import until


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


async def test_a_sync_covers_what_was_there_as_it_began_however_late_it_is_waited_for(make_world):
    async with make_world() as world:
        machine = world.machine(spec("db-1", disk=DiskSpec(sync_latency_s=0.02)))
        life, ctx = machine.boot(1)
        ctx.disk.append("log", b"a" * 600)
        soon, late = ctx.disk.begin_sync("log"), ctx.disk.begin_sync("log")
        began_s = ctx.clock.monotonic_s()
        await soon.wait()
        assert ctx.clock.monotonic_s() - began_s >= 0.02
        await ctx.clock.sleep(0.03)
        await late.wait()
        machine.disk.fail_writes = True
        failing = ctx.disk.begin_sync("log")
        machine.disk.fail_writes = False
        with pytest.raises(OSError):
            await failing.wait()
        life.end(crash=True)
        with pytest.raises(Fenced):
            ctx.disk.begin_sync("log")
        _, ctx = machine.boot(2)
        assert await ctx.disk.read("log") == b"a" * 600


async def test_what_follows_a_sync_is_done_once_and_not_while_the_node_is_paused_or_dead(
    make_world,
):
    async with make_world() as world, trio.open_nursery() as nursery:
        disk = DiskSpec(sync_mode="real", sync_latency_s=0.005)
        machine = world.machine(spec("db-1", disk=disk))
        life, ctx = machine.boot(1)
        said: list[str] = []

        async def write() -> None:
            for word in ("first", "second", "third"):
                ctx.disk.append("log", b"abc")
                syncing = ctx.disk.begin_sync("log")
                if word != "first":
                    life.pause()
                await syncing.wait(partial(said.append, word))
                said.append("returned")

        await start(nursery, life, write)
        await until(lambda: life.paused)
        await trio.sleep(0.02)
        assert said == ["first", "returned"]
        life.resume()
        await until(lambda: life.paused)
        assert said[2:] == ["second", "returned"]
        life.end(crash=False)
        await trio.sleep(0.02)
        assert len(said) == 4


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


async def test_a_peek_shows_at_once_what_a_read_would_show(make_world):
    async with make_world() as world:
        machine = world.machine(spec("db-1"))
        life, ctx = machine.boot(1)
        ctx.disk.append("log", b"abcdef")
        assert ctx.disk.peek("log", 2, 3) == b"cde" == await ctx.disk.read("log", 2, 3)
        assert ctx.disk.peek("log", 4, 9) == b"ef"
        with pytest.raises(FileNotFoundError):
            ctx.disk.peek("none", 0, 1)
        machine.disk.fail_reads = True
        with pytest.raises(OSError) as caught:
            ctx.disk.peek("log", 0, 1)
        assert caught.value.errno == errno.EIO
        life.end(crash=False)
        with pytest.raises(Fenced):
            ctx.disk.peek("log", 0, 1)


DEVICE = DiskSpec(
    sync_latency_s=0.004, read_latency_s=0.002, bandwidth_bytes_per_s=1e6, capacity_bytes=1 << 20
)


async def test_calls_take_the_devices_latency_and_bandwidth(make_world):
    async with make_world() as world:
        _, ctx = world.machine(spec("db-1", disk=DEVICE)).boot(1)
        watch = Stopwatch(world)
        ctx.disk.append("log", b"x" * 10_000)
        watch.took(0.0)
        await ctx.disk.sync("log")
        watch.took(0.004 + 0.01)
        await ctx.disk.sync("log")
        watch.took(0.018, late_s=0.3)
        await ctx.disk.read("log", 0, 5_000)
        watch.took(0.018 + 0.002 + 0.005, late_s=0.4)


async def test_a_slow_disk_is_slow_for_everything(make_world):
    async with make_world() as world:
        machine = world.machine(spec("db-1", disk=DEVICE))
        _, ctx = machine.boot(1)
        ctx.disk.append("log", b"x" * 1000)
        machine.disk.slow_factor = 5.0
        for wait, expected_s in (
            (lambda: ctx.disk.sync("log"), 0.02 + 0.005),
            (lambda: ctx.disk.read("log"), 0.01 + 0.005),
            (lambda: ctx.disk.rename("log", "other"), 0.02),
            (lambda: ctx.disk.remove("other"), 0.02),
        ):
            watch = Stopwatch(world)
            await wait()
            watch.took(expected_s)


async def test_two_files_share_the_devices_bandwidth(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        _, ctx = world.machine(spec("db-1", disk=DEVICE)).boot(1)
        watch = Stopwatch(world)
        for name in ("a", "b"):
            ctx.disk.append(name, b"x" * 10_000)
            nursery.start_soon(ctx.disk.sync, name)
        await trio.testing.wait_all_tasks_blocked()
        await ctx.disk.sync("a")
        await ctx.disk.sync("b")
        assert watch.took_s >= 0.024 - 1e-9


async def test_who_comes_during_a_sync_shares_the_next_one(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        _, ctx = world.machine(spec("db-1", disk=DiskSpec(sync_latency_s=0.02))).boot(1)
        watch = Stopwatch(world)
        ctx.disk.append("log", b"first")
        nursery.start_soon(ctx.disk.sync, "log")
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as followers:
            for _ in range(10):
                ctx.disk.append("log", b"more")
                followers.start_soon(ctx.disk.sync, "log")
        assert 0.04 <= watch.took_s + 1e-5 < 0.06 + LATE_S


async def test_a_failed_sync_leaves_what_it_covered_unsynced(make_world):
    async with make_world() as world:
        machine = world.machine(spec("db-1", disk=DiskSpec(sync_latency_s=0.005)))
        life, ctx = machine.boot(1)
        ctx.disk.append("log", b"good")
        await ctx.disk.sync("log")
        ctx.disk.append("log", b"bad!" * 1000)
        now_s = world.timers.now_s()
        world.timers.call_at(now_s + 0.001, lambda: setattr(machine.disk, "fail_writes", True))
        with pytest.raises(OSError) as caught:
            await ctx.disk.sync("log")
        assert caught.value.errno == errno.EIO
        with pytest.raises(OSError):
            ctx.disk.append("log", b"refused")
        machine.disk.fail_writes = False
        assert ctx.disk.size_bytes("log") == 4004
        life.end(crash=True)
        _, ctx = machine.boot(2)
        data = await ctx.disk.read("log")
        assert data[:4] == b"good"
        assert set(data[4:]) <= {0, *b"bad!"}


async def test_a_full_switch_refuses_until_it_is_off(make_world):
    async with make_world() as world:
        machine = world.machine(spec("db-1"))
        _, ctx = machine.boot(1)
        machine.disk.full = True
        with pytest.raises(OSError) as caught:
            ctx.disk.append("log", b"x")
        assert caught.value.errno == errno.ENOSPC
        assert ctx.disk.names() == []
        machine.disk.full = False
        ctx.disk.append("log", b"x")


async def test_what_is_not_there_and_what_cannot_be_is_an_error(make_world):
    async with make_world() as world:
        _, ctx = world.machine(spec("db-1")).boot(1)
        for wait in (
            ctx.disk.read("log"),
            ctx.disk.sync("log"),
            ctx.disk.rename("log", "other"),
            ctx.disk.truncate("log", 0),
            ctx.disk.remove("log"),
        ):
            with pytest.raises(FileNotFoundError):
                await wait
        for name in ("../escape", "", "a/b", ".."):
            with pytest.raises(ValueError, match="file name"):
                ctx.disk.append(name, b"x")
        ctx.disk.append("log", b"abc")
        with pytest.raises(ValueError, match="truncate"):
            await ctx.disk.truncate("log", 4)


async def test_machines_do_not_see_each_others_files(make_world):
    async with make_world() as world:
        _, one = world.machine(spec("db-1")).boot(1)
        _, two = world.machine(spec("db-2")).boot(1)
        one.disk.append("log", b"mine")
        assert two.disk.names() == []


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
