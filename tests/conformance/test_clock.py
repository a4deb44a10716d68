"""A machine's clock, in every world."""

from __future__ import annotations

import pytest

from emu.world import ClockSpec
from nodes.base import Fenced
from tests.conformance.conftest import spec


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


async def test_a_fast_clock_sleeps_short(make_world):
    async with make_world() as world:
        machine = world.machine(spec("web-1", clock=ClockSpec(drift_ratio=1.0)))
        _, ctx = machine.boot(1)
        begun_s, own_s = world.timers.now_s(), ctx.clock.monotonic_s()
        await ctx.clock.sleep(0.02)
        assert ctx.clock.monotonic_s() - own_s >= 0.02
        took_s = world.timers.now_s() - begun_s
        assert took_s >= 0.00999
        machine.clock.set_drift(0.0)
        begun_s = world.timers.now_s()
        await ctx.clock.sleep(0.02)
        assert world.timers.now_s() - begun_s >= 0.01999


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
