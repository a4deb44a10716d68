"""Live time goes forward: what comes late is no stall of the host for ever after."""

from __future__ import annotations

import pytest
import trio

from emu.live import timers as live
from emu.live.timers import STALL_S, LiveTimers
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


async def test_a_timer_that_is_set_in_the_past_fires_at_once_and_is_no_stall() -> None:
    timers = LiveTimers()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        before_s, fired = timers.now_s(), trio.Event()
        timers.call_at(before_s - 1000.0, fired.set)
        with trio.fail_after(10):
            await fired.wait()
        assert timers.host_stalls_s == 0.0
        assert timers.now_s() >= before_s
        nursery.cancel_scope.cancel()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(live, "time", watch)
    return watch


def test_a_stall_of_the_host_is_discounted_and_no_clock_goes_back(watch: Watch) -> None:
    """Whoever reads the clock before the timer that was due sees it stand still."""
    timers = LiveTimers(precise=False)
    clock = NodeClock(MachineClock(timers), a_life())
    fired: list[float] = []
    for when_s in (1.0, 2.5):
        clock.call_at(when_s, lambda: fired.append(clock.monotonic_s()))
    watch.now_s += 5.0  # nobody ran
    assert clock.monotonic_s() == timers.now_s() == 1.0 + STALL_S
    timers._fire()
    assert timers.now_s() == 1.0 + STALL_S
    assert timers.host_stalls_s == pytest.approx(4.0 - STALL_S)
    watch.now_s += 1.5
    timers._fire()
    assert fired == [1.0 + STALL_S, pytest.approx(2.5 + STALL_S)]
    assert timers.host_stalls_s == pytest.approx(4.0 - STALL_S)


def test_a_stall_while_timers_fire_is_discounted_too(watch: Watch) -> None:
    timers = LiveTimers(precise=False)

    def stall() -> None:
        watch.now_s += 5.0
        timers.call_at(timers.now_s() + 0.05, lambda: None)

    timers.call_at(1.0, stall)
    watch.now_s += 1.0
    timers._fire()
    timers._fire()
    assert 1.0 < timers.now_s() < 1.0 + 2 * STALL_S
    assert timers.host_stalls_s > 4.5


def test_a_loop_that_was_busy_itself_is_late_and_nothing_is_discounted(watch: Watch) -> None:
    timers = LiveTimers(precise=False)
    timers.call_at(1.0, lambda: None)
    watch.now_s += 2.0
    watch.ran_s += 1.5
    timers._fire()
    assert (timers.now_s(), timers.host_stalls_s) == (2.0, 0.0)
    assert timers.worst_late_s == 1.0


def test_a_short_stall_is_time_that_passes(watch: Watch) -> None:
    timers = LiveTimers(precise=False)
    timers.call_at(1.0, lambda: None)
    watch.now_s += 1.0 + STALL_S * 0.9
    timers._fire()
    assert timers.now_s() == pytest.approx(1.0 + STALL_S * 0.9)
    assert timers.host_stalls_s == 0.0
