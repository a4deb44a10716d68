"""Live time stands still while the computer does not let the loop run, and never goes back."""

from __future__ import annotations

import os
import time
from itertools import pairwise

import pytest

from emu.live import clock as live
from emu.live.clock import LATE_S, LEAST_S, SLOWED, STEP_S, LiveClock, Waits
from nodes.metrics import Counter


class Computer:
    """Stands in for the module `time`, and for the kernel's account of waits."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.ran_s = 7.0
        self.waited_s = 3.0
        self.tells = True

    def monotonic(self) -> float:
        return self.now_s

    def thread_time(self) -> float:
        return self.ran_s

    def total_s(self) -> float:
        return self.waited_s if self.tells else 0.0

    def close(self) -> None:
        pass

    def compute(self, seconds: float) -> None:
        self.now_s += seconds
        self.ran_s += seconds

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def withhold(self, seconds: float) -> None:
        self.now_s += seconds
        self.waited_s += seconds


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    computer = Computer()
    monkeypatch.setattr(live, "time", computer)
    monkeypatch.setattr(live, "Waits", lambda: computer)
    return computer


def test_time_passes_while_the_loop_computes_and_while_it_wants_to_sleep(computer):
    clock = LiveClock()
    computer.compute(0.2)
    assert clock.now_s() == pytest.approx(0.2)
    clock.idle_until_s = 1.2
    computer.sleep(1.0)
    assert clock.now_s() == pytest.approx(1.2)
    assert clock.withheld_s == 0.0


def test_starvation_in_small_slices_stretches_time(computer):
    """3 ms of computing in each 150, as beside a hundred programs that spin."""
    withheld = Counter()
    clock = LiveClock(withheld)
    for _ in range(100):
        computer.withhold(0.147)
        clock.now_s()
        computer.compute(0.003)
        clock.now_s()
    assert clock.now_s() == pytest.approx(0.3)
    assert withheld.value == pytest.approx(14.7)
    assert clock.longest_s == pytest.approx(0.147)
    assert clock.measured_s == pytest.approx(15.0)


def test_a_wait_after_bytes_have_come_does_not_count_though_no_timer_is_due(computer):
    clock = LiveClock()
    clock.idle_until_s = 1.0
    computer.sleep(0.1)
    computer.withhold(0.4)
    assert clock.now_s() == pytest.approx(0.1)


@pytest.mark.parametrize("tells", [True, False])
def test_a_process_that_was_stopped_is_as_late_as_its_timer(computer, tells):
    computer.tells = tells
    clock = LiveClock()
    clock.idle_until_s = 0.05
    computer.sleep(3.0)
    assert clock.now_s() == pytest.approx(0.05)
    assert clock.withheld_s == pytest.approx(2.95)
    assert clock.behind_s == pytest.approx(2.95)


def test_where_nobody_tells_of_waits_lateness_does(computer):
    computer.tells = False
    clock = LiveClock()
    for _ in range(100):
        clock.idle_until_s = clock.now_s() + 0.002
        computer.sleep(0.002)
        computer.withhold(0.030)
        clock.now_s()
        computer.compute(0.003)
    assert clock.now_s() == pytest.approx(0.5)


def test_what_computes_is_late_and_nothing_is_taken_out(computer):
    """Overload is no starvation: many short steps, each of which reads the clock."""
    clock = LiveClock()
    clock.idle_until_s = 0.01
    for _ in range(100):
        computer.compute(0.02)
        clock.now_s()
    assert clock.now_s() == pytest.approx(2.0)
    assert clock.withheld_s == 0.0


def test_the_price_of_waking_up_passes_as_time(computer):
    clock = LiveClock()
    for _ in range(100):
        clock.idle_until_s = clock.now_s() + 0.01
        computer.sleep(0.01 + 0.9 * LATE_S)
        computer.withhold(0.9 * LEAST_S)
        clock.now_s()
    assert clock.now_s() == pytest.approx(100 * (0.01 + 0.9 * LATE_S + 0.9 * LEAST_S))
    assert clock.withheld_s == 0.0


def test_what_was_told_is_never_taken_back(computer):
    clock = LiveClock()
    told = []
    for tick in range(2000):
        if tick % 5 == 0:
            computer.withhold(0.0008)
        computer.compute(0.0001)
        told.append(clock.now_s())
    assert all(later >= earlier for earlier, later in pairwise(told))
    assert told[-1] >= 0.2 - 1e-9, "what this thread computed is time"


def test_a_step_that_computes_for_long_holds_up_nobody_else_for_long(computer):
    """All nodes stood still for it, and the one that held them should not cost them their leases;
    but time goes on, or a step that waits for it would never end."""
    clock = LiveClock()
    began_s = computer.now_s
    clock.step_began_s = lambda: began_s
    computer.compute(4.0)
    assert clock.now_s() == pytest.approx(STEP_S + (4.0 - STEP_S) * SLOWED)
    computer.compute(16.0)
    assert clock.now_s() == pytest.approx(STEP_S + (20.0 - STEP_S) * SLOWED)
    assert clock.withheld_s == 0.0, "nobody withheld that"
    began_s = computer.now_s
    before_s = clock.now_s()
    computer.compute(0.2)
    assert clock.now_s() == pytest.approx(before_s + 0.2)


def test_a_step_is_not_blamed_for_what_it_was_not_let_run(computer):
    clock = LiveClock()
    began_s = computer.now_s
    clock.step_began_s = lambda: began_s
    computer.compute(0.01)
    computer.withhold(0.5)
    clock.now_s()
    computer.withhold(0.25)
    assert clock.step_waited_s() == pytest.approx(0.75)
    began_s = computer.now_s
    assert clock.step_waited_s() == 0.0


def test_how_far_time_is_behind_is_not_forgotten_when_measuring_begins(computer):
    clock = LiveClock()
    computer.withhold(0.4)
    clock.now_s()
    clock.measure()
    assert (clock.withheld_s, clock.behind_s) == (0.0, pytest.approx(0.4))


def test_measuring_begins_anew_when_boot_is_over(computer):
    clock = LiveClock()
    computer.withhold(2.0)
    clock.now_s()
    clock.measure()
    assert (clock.withheld_s, clock.longest_s, clock.measured_s) == (0.0, 0.0, 0.0)
    computer.withhold(1.0)
    clock.now_s()
    assert clock.withheld_s == pytest.approx(1.0)


def test_the_kernels_account_of_waits_is_this_threads():
    waits = Waits()
    try:
        first_s = waits.total_s()
        until_s = time.thread_time() + 0.02
        while time.thread_time() < until_s:
            pass
        assert 0.0 <= first_s <= waits.total_s() <= time.monotonic()
    finally:
        waits.close()
    assert waits.total_s() == 0.0


def test_where_the_kernel_keeps_no_account_nothing_is_said(monkeypatch):
    def refuse(*args: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(os, "open", refuse)
    assert Waits().total_s() == 0.0
