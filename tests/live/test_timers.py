"""Timers of the live world: fired when they are due, though the clock stood still meanwhile."""

from __future__ import annotations

import pytest
import trio

from emu.live import clock as live
from emu.live.timers import LiveTimers
from emu.machine.clock import MachineClock, NodeClock
from tests.fakes import a_life


class Watch:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.ran_s = 7.0

    def monotonic(self) -> float:
        return self.now_s

    def thread_time(self) -> float:
        return self.ran_s


async def test_a_timer_that_is_set_in_the_past_fires_at_once_and_nothing_was_withheld() -> None:
    timers = LiveTimers()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        before_s, fired = timers.now_s(), trio.Event()
        timers.call_at(before_s - 1000.0, fired.set)
        with trio.fail_after(10):
            await fired.wait()
        assert timers.worst_late_s < 10.0
        assert timers.now_s() >= before_s
        nursery.cancel_scope.cancel()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(live, "time", watch)
    monkeypatch.setattr(live.Waits, "total_s", lambda self: 0.0)
    return watch


def test_a_stall_of_the_host_moves_all_timers_and_no_clock_goes_back(watch: Watch) -> None:
    timers = LiveTimers(precise=False)
    clock = NodeClock(MachineClock(timers), a_life())
    fired: list[float] = []
    for when_s in (1.0, 2.5):
        clock.call_at(when_s, lambda: fired.append(clock.monotonic_s()))
    watch.now_s += 5.0  # nobody ran
    assert clock.monotonic_s() == timers.now_s() == 1.0
    timers._fire()
    assert timers.now_s() == 1.0
    assert timers.clock.withheld_s == pytest.approx(4.0)
    watch.now_s += 1.5
    timers._fire()
    assert fired == [1.0, pytest.approx(2.5)]
    assert timers.clock.withheld_s == pytest.approx(4.0)


def test_a_stall_while_timers_fire_moves_what_they_set(watch: Watch) -> None:
    timers = LiveTimers(precise=False)
    fired: list[float] = []

    def stall() -> None:
        watch.now_s += 5.0
        timers.call_at(timers.now_s() + 0.25, lambda: fired.append(timers.now_s()))

    timers.call_at(1.0, stall)
    watch.now_s += 1.0
    timers._fire()
    assert timers.now_s() == 1.0
    assert timers.clock.withheld_s == pytest.approx(5.0)
    watch.now_s += 0.25
    timers._fire()
    assert fired == [1.25]


def test_a_timer_that_comes_too_early_for_the_clock_is_set_again(watch: Watch) -> None:
    """Time was withheld after it was set, which its descriptor does not know."""
    timers = LiveTimers(precise=False)
    fired: list[float] = []
    timers.call_at(1.0, lambda: fired.append(timers.now_s()))
    timers.call_at(0.5, lambda: None)
    watch.now_s += 0.75
    timers._fire()
    watch.now_s += 0.25
    timers._fire()
    assert fired == []
    watch.now_s += 0.25
    timers._fire()
    assert fired == [1.0]


def test_a_loop_that_was_busy_itself_is_late_and_nothing_is_taken_out(watch: Watch) -> None:
    timers = LiveTimers(precise=False)
    timers.call_at(1.0, lambda: None)
    watch.now_s += 2.0
    watch.ran_s += 1.5
    timers._fire()
    assert (timers.now_s(), timers.clock.withheld_s) == (2.0, 0.0)
    assert timers.worst_late_s == 1.0
