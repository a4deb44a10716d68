"""The clock of a machine: wall and monotonic time under offset, drift and steps; sleeps in it."""

from __future__ import annotations

import math

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from emu.machine.clock import MachineClock, NodeClock
from nodes.base import Fenced
from tests.fakes import FakeTimers, a_life


def test_wall_time_has_the_offset_and_steps_without_moving_monotonic_time():
    timers = FakeTimers()
    clock = MachineClock(timers, offset_s=5.0, epoch_s=1000.0)
    timers.time_s = 2.0
    assert clock.wall_s() == 1007.0
    clock.step(-30.0)
    assert clock.wall_s() == 977.0
    assert clock.monotonic_s() == 2.0


def test_drift_changes_the_rate_without_a_jump():
    timers = FakeTimers()
    clock = MachineClock(timers, drift_ratio=0.5)
    timers.time_s = 10.0
    assert clock.monotonic_s() == 15.0
    clock.set_drift(-0.5)
    assert clock.monotonic_s() == 15.0
    timers.time_s = 12.0
    assert clock.monotonic_s() == 16.0


async def test_a_sleeper_wakes_by_its_own_clock(nursery):
    timers = FakeTimers()
    fast = NodeClock(MachineClock(timers, drift_ratio=1.0), a_life())
    woke = []

    async def sleeper() -> None:
        await fast.sleep(4.0)
        woke.append((timers.now_s(), fast.monotonic_s()))

    nursery.start_soon(sleeper)
    await timers.run_until(10.0)
    assert woke == [(2.0, 4.0)]


async def test_a_change_of_drift_moves_what_is_pending(nursery):
    timers = FakeTimers()
    machine = MachineClock(timers)
    clock = NodeClock(machine, a_life())
    fired = []
    for name in ("first", "second"):
        clock.call_at(10.0, lambda name=name: fired.append((name, timers.now_s())))
    await timers.run_until(4.0)
    machine.set_drift(1.0)
    await timers.run_until(6.9)
    assert fired == []
    await timers.run_until(7.0)
    assert fired == [("first", 7.0), ("second", 7.0)]
    assert timers.armed == 0


@given(
    start_s=st.floats(0, 1e6),
    drift=st.floats(-0.1, 0.1),
    wait_s=st.floats(1e-9, 1e4),
)
def test_a_timer_is_never_early_by_its_own_clock(start_s, drift, wait_s):
    timers = FakeTimers()
    machine = MachineClock(timers)
    timers.time_s = start_s
    machine.set_drift(drift)
    clock = NodeClock(machine, a_life())
    when_s = clock.monotonic_s() + wait_s
    clock.call_at(when_s, lambda: None)
    ((due_s, _, _),) = timers._heap
    timers.time_s = due_s
    assert clock.monotonic_s() >= when_s
    assert clock.monotonic_s() - when_s < 1e-6


async def test_a_paused_node_gets_its_callbacks_at_the_resume():
    timers = FakeTimers()
    life = a_life()
    clock = NodeClock(MachineClock(timers), life)
    fired = []
    clock.call_at(1.0, lambda: fired.append("kept"))
    cancelled = clock.call_at(1.0, lambda: fired.append("cancelled"))
    life.pause()
    await timers.run_until(5.0)
    assert fired == []
    cancelled.cancel()
    life.resume()
    assert fired == ["kept"]


async def test_the_dead_hear_no_timer_and_leave_none_behind():
    timers = FakeTimers()
    life = a_life()
    clock = NodeClock(MachineClock(timers), life)
    fired = []
    clock.call_at(1.0, lambda: fired.append("early"))
    life.end(crash=False)
    clock.call_at(1.0, lambda: fired.append("late"))
    assert timers.armed == 0
    await timers.run_until(5.0)
    assert fired == []
    with pytest.raises(Fenced):
        await clock.sleep(1.0)


async def test_a_cancelled_sleep_leaves_no_timer(nursery):
    timers = FakeTimers()
    clock = NodeClock(MachineClock(timers), a_life())
    with trio.CancelScope() as scope:
        nursery.start_soon(timers.run_until, 0.0)
        clock.call_at(0.0, scope.cancel)
        await clock.sleep(math.inf)
    assert scope.cancelled_caught
    with trio.CancelScope() as scope:
        nursery.start_soon(timers.run_until, 1.0)
        clock.call_at(1.0, scope.cancel)
        await clock.sleep(60.0)
    assert scope.cancelled_caught
    assert timers.armed == 0


def test_an_absurd_drift_is_refused():
    with pytest.raises(ValueError, match="drift"):
        MachineClock(FakeTimers(), drift_ratio=-1.0)
