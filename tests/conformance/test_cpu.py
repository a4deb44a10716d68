"""A machine's cpu, in every world."""

from __future__ import annotations

import pytest
import trio

from emu.machine.world import CpuSpec
from nodes.base import CpuBusy, CpuExpired, Fenced
from tests.conformance.conftest import Stopwatch, spec


async def test_one_core_of_1_ms_serves_1000_a_second(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        machine = world.machine(spec("web-1", cpu=CpuSpec(1, 0.001, 100)))
        _, ctx = machine.boot(1)
        watch = Stopwatch(world)

        async def worker() -> None:
            for _ in range(10):
                await ctx.cpu.run()

        async with trio.open_nursery() as workers:
            for _ in range(10):
                workers.start_soon(worker)
        watch.took(0.1)  # live, late timers are made good; a busy host is not
        nursery.cancel_scope.cancel()


async def test_two_cores_serve_at_once_and_more_can_be_had_while_it_runs(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        machine = world.machine(spec("web-1", cpu=CpuSpec(1, 0.02, 100)))
        _, ctx = machine.boot(1)
        watch = Stopwatch(world)
        for _ in range(4):
            nursery.start_soon(ctx.cpu.run)
        await trio.testing.wait_all_tasks_blocked()
        machine.cores = 4
        assert (machine.cores, ctx.cpu.cores) == (4, 4)
        await ctx.cpu.run()
        watch.took(0.04)


async def test_a_full_queue_refuses_and_late_work_expires(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        machine = world.machine(spec("web-1", cpu=CpuSpec(1, 0.1, 1)))
        _, ctx = machine.boot(1)
        nursery.start_soon(ctx.cpu.run)
        await trio.testing.wait_all_tasks_blocked()
        outcomes: list[type[Exception]] = []

        async def late() -> None:
            try:
                await ctx.cpu.run(expires_at_s=ctx.clock.monotonic_s() + 0.001)
            except CpuExpired:
                outcomes.append(CpuExpired)

        nursery.start_soon(late)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(CpuBusy):
            await ctx.cpu.run()
        await ctx.clock.sleep(0.15)
        assert outcomes == [CpuExpired]


async def test_the_queue_is_first_in_first_out(make_world):
    async with make_world() as world:
        _, ctx = world.machine(spec("web-1", cpu=CpuSpec(1, 0.002, 100))).boot(1)
        order: list[int] = []

        async def work(number: int) -> None:
            await ctx.cpu.run()
            order.append(number)

        async with trio.open_nursery() as workers:
            for number in range(8):
                workers.start_soon(work, number)
                await trio.testing.wait_all_tasks_blocked()
        if world.name == "live":
            order.sort()  # a late loop finishes several in one turn, and trio shuffles a turn
        assert order == list(range(8))


async def test_work_that_was_cancelled_or_has_expired_costs_nothing(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        _, ctx = world.machine(spec("web-1", cpu=CpuSpec(1, 0.1, 100))).boot(1)
        watch = Stopwatch(world)
        nursery.start_soon(ctx.cpu.run)
        await trio.testing.wait_all_tasks_blocked()

        async def gives_up() -> None:
            with trio.move_on_after(0.005):
                await ctx.cpu.run()

        async def expires() -> None:
            with pytest.raises(CpuExpired):
                await ctx.cpu.run(expires_at_s=ctx.clock.monotonic_s() + 0.005)

        for _ in range(5):
            nursery.start_soon(gives_up)
            nursery.start_soon(expires)
        await trio.testing.wait_all_tasks_blocked()
        await ctx.cpu.run()
        watch.took(0.2)


async def test_a_core_that_is_taken_away_finishes_what_it_has(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        machine = world.machine(spec("web-1", cpu=CpuSpec(4, 0.02, 100)))
        _, ctx = machine.boot(1)
        watch = Stopwatch(world)
        async with trio.open_nursery() as workers:
            for _ in range(4):
                workers.start_soon(ctx.cpu.run)
            await trio.testing.wait_all_tasks_blocked()
            machine.cores = 1
        watch.took(0.02)
        async with trio.open_nursery() as workers:
            for _ in range(2):
                workers.start_soon(ctx.cpu.run)
        watch.took(0.06)
        nursery.cancel_scope.cancel()


async def test_where_no_cpu_is_declared_nothing_is_charged(make_world):
    async with make_world() as world:
        _, ctx = world.machine(spec("web-1")).boot(1)
        watch = Stopwatch(world)
        for _ in range(100):
            await ctx.cpu.run(1.0)
        assert watch.took_s < 0.5


async def test_cores_stay_with_the_machine_and_its_queue_dies_with_the_process(make_world):
    async with make_world() as world, trio.open_nursery() as nursery:
        machine = world.machine(spec("web-1", cpu=CpuSpec(1, 5.0, 100)))
        life, old = machine.boot(1)
        machine.cores = 3

        async def generation() -> None:
            with life.scope:
                async with trio.open_nursery() as tasks:
                    for _ in range(50):
                        tasks.start_soon(old.cpu.run)

        nursery.start_soon(generation)
        await trio.testing.wait_all_tasks_blocked()
        life.end(crash=False)
        with pytest.raises(Fenced):
            await old.cpu.run()
        _, new = machine.boot(2)
        assert new.cpu.cores == 3
        begun_s = world.timers.now_s()
        await new.cpu.run(0.001)
        assert world.timers.now_s() - begun_s < 1.0
