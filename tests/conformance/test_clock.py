"""A machine's clock, in every world."""

from __future__ import annotations

import pytest
import trio

from emu.machine.world import ClockSpec
from emu.running.operator import WorldClock
from nodes.base import Fenced
from tests.conformance.conftest import Stopwatch, spec


async def test_offset_and_steps_move_the_wall_clock_alone(make_world):
    async with make_world() as world:
        plain = world.machine(spec("web-1"))
        ahead = world.machine(spec("web-2", clock=ClockSpec(offset_s=100.0)))
        _, one = plain.boot(1)
        _, two = ahead.boot(1)
        assert two.clock.wall_s() - one.clock.wall_s() == pytest.approx(100.0, abs=0.01)
        before_s = two.clock.monotonic_s()
        ahead.clock.step(-150.0)
        assert two.clock.wall_s() - one.clock.wall_s() == pytest.approx(-50.0, abs=0.01)
        assert two.clock.monotonic_s() >= before_s


async def test_emu_itself_has_the_date_that_its_machines_have(make_world):
    async with make_world() as world:
        _, ctx = world.machine(spec("web-1")).boot(1)
        ours = WorldClock(world)
        assert ours.wall_s() - ctx.clock.wall_s() == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("drift_ratio", [1.0, 0.0, -0.5])
async def test_sleep_follows_the_nodes_own_rate(make_world, drift_ratio):
    async with make_world() as world:
        machine = world.machine(spec("web-1", clock=ClockSpec(drift_ratio=drift_ratio)))
        _, ctx = machine.boot(1)
        watch, own_s = Stopwatch(world), ctx.clock.monotonic_s()
        await ctx.clock.sleep(0.02)
        assert ctx.clock.monotonic_s() - own_s >= 0.02
        watch.took(0.02 / (1 + drift_ratio))


async def test_a_rate_that_changes_in_the_middle_of_a_sleep_counts_from_then_on(make_world):
    async with make_world() as world:
        machine = world.machine(spec("web-1"))
        _, ctx = machine.boot(1)
        world.timers.call_at(world.timers.now_s() + 0.02, lambda: machine.clock.set_drift(1.0))
        watch = Stopwatch(world)
        await ctx.clock.sleep(0.06)
        assert watch.took_s == pytest.approx(0.04, abs=1e-9 if world.name == "sim" else 0.02)


async def test_monotonic_time_never_goes_back_whatever_the_clock_is_told(make_world):
    async with make_world() as world:
        machine = world.machine(spec("web-1"))
        _, ctx = machine.boot(1)
        seen = [ctx.clock.monotonic_s()]
        for drift_ratio in (5.0, -0.9, 0.5, 0.0):
            machine.clock.set_drift(drift_ratio)
            seen.append(ctx.clock.monotonic_s())
            machine.clock.step(-1000.0)
            seen.append(ctx.clock.monotonic_s())
            await trio.sleep(0.002)
            seen.append(ctx.clock.monotonic_s())
        assert seen == sorted(seen)


async def test_skewed_nodes_disagree_by_what_their_clocks_gained(make_world):
    async with make_world() as world:
        _, true = world.machine(spec("web-1")).boot(1)
        _, fast = world.machine(spec("web-2", clock=ClockSpec(drift_ratio=0.1))).boot(1)
        apart_s = fast.clock.wall_s() - true.clock.wall_s()
        watch = Stopwatch(world)
        await trio.sleep(0.05)
        gained_s = fast.clock.wall_s() - true.clock.wall_s() - apart_s
        assert gained_s == pytest.approx(0.1 * watch.took_s, abs=0.002)


async def test_timers_run_in_order_and_not_once_cancelled(make_world):
    async with make_world() as world:
        _, ctx = world.machine(spec("web-1")).boot(1)
        now_s = ctx.clock.monotonic_s()
        fired: list[str] = []
        ctx.clock.call_at(now_s + 0.004, lambda: fired.append("last"))
        for name in ("first", "second"):
            ctx.clock.call_at(now_s + 0.002, lambda name=name: fired.append(name))
        ctx.clock.call_at(now_s + 0.003, lambda: fired.append("cancelled")).cancel()
        await ctx.clock.sleep(0.01)
        assert fired == ["first", "second", "last"]


async def test_the_dead_neither_sleep_nor_hear_their_timers(make_world):
    async with make_world() as world:
        machine = world.machine(spec("web-1"))
        life, old = machine.boot(1)
        fired: list[str] = []
        old.clock.call_at(old.clock.monotonic_s() + 0.001, lambda: fired.append("old"))
        life.end(crash=False)
        with pytest.raises(Fenced):
            await old.clock.sleep(0.001)
        _, new = machine.boot(2)
        await new.clock.sleep(0.005)
        assert fired == []


async def test_monotonic_time_goes_on_over_a_restart(make_world):
    async with make_world() as world:
        machine = world.machine(spec("web-1"))
        life, old = machine.boot(1)
        await old.clock.sleep(0.002)
        before_s = old.clock.monotonic_s()
        life.end(crash=True)
        _, new = machine.boot(2)
        assert new.clock.monotonic_s() >= before_s
