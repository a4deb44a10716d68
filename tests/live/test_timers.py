"""Live time goes forward: what comes late is no stall of the host for ever after."""

from __future__ import annotations

import pytest
import trio

from emu.clock import MachineClock, NodeClock
from emu.live import timers as live
from emu.live.timers import LiveTimers
from tests.fakes import a_life


class Watch:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


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


def test_a_stall_that_a_clock_has_seen_is_discounted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was read in the stall goes on from there; what was due by it is due now."""
    watch = Watch()
    monkeypatch.setattr(live, "time", watch)
    timers = LiveTimers(precise=False)
    clock = NodeClock(MachineClock(timers), a_life())
    fired: list[float] = []
    for when_s in (1.0, 2.5):
        clock.call_at(when_s, lambda: fired.append(clock.monotonic_s()))
    watch.now_s += 5.0  # nobody ran
    assert clock.monotonic_s() == 5.0
    timers._fire()
    assert timers.now_s() == 1.0
    watch.now_s += 0.1
    timers._fire()
    assert fired == [5.0, 5.0]
    assert (timers.now_s(), timers.host_stalls_s) == (pytest.approx(1.1), 4.0)
