"""A replica's timer: late or early, and what has arrived comes before what is decided."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nodes.replica.alarm import Alarm
from protocols.replication.replica import NEVER


class Bell:
    """A clock whose timers a test rings, as late as it likes."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def monotonic_s(self) -> float:
        return self.now_s

    def call_at(self, monotonic_s: float, callback: Callable[[], object]) -> Bell:
        self.timers.append((monotonic_s, callback))
        return self

    def cancel(self) -> None:
        self.timers.pop()

    def ring(self, late_s: float = 0.0) -> None:
        at_s, callback = self.timers.pop()
        self.now_s = at_s + late_s
        callback()


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def alarm(bell: Bell, told: list[str]) -> Alarm:
    def stalled(late_s: float) -> None:
        told.append(f"stalled {late_s:.1f}")

    return Alarm(bell, 0.2, lambda: told.append("due"), stalled)


def test_a_timer_in_time_is_due_at_once(bell: Bell, alarm: Alarm, told: list[str]) -> None:
    alarm.set(101.0)
    bell.ring(0.1)
    assert told == ["due"]


def test_after_a_stall_nothing_is_decided_before_what_arrived_is_taken_in(
    bell: Bell, alarm: Alarm, told: list[str]
) -> None:
    alarm.set(101.0)
    bell.ring(0.5)
    assert told == ["stalled 0.5"]
    alarm.set(100.9)  # what arrives sets it again, even to what is over
    bell.ring()
    assert told == ["stalled 0.5", "due"]


def test_a_process_that_stalls_again_and_again_acts_every_second_time(
    bell: Bell, alarm: Alarm, told: list[str]
) -> None:
    for _ in range(3):
        alarm.set(bell.now_s + 1.0)
        bell.ring(0.5)
        bell.ring(0.5)
    assert told == ["stalled 0.5", "due"] * 3


def test_a_deadline_that_is_put_off_leaves_the_timer_and_an_earlier_one_does_not(
    bell: Bell, alarm: Alarm
) -> None:
    alarm.set(101.0)
    alarm.set(105.0)
    assert [at_s for at_s, _ in bell.timers] == [101.0]
    alarm.set(100.5)
    assert [at_s for at_s, _ in bell.timers] == [100.5]
    alarm.set(NEVER)
    assert bell.timers == []
