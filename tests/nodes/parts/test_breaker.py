"""A circuit breaker: when it opens, whom it lets try, and that it never stays half-open."""

from __future__ import annotations

from nodes.parts.breaker import Breaker, State


def opened() -> Breaker:
    """At 0 s, for 1 s."""
    breaker = Breaker(failures=3, open_s=1.0, trial_timeout_s=5.0)
    for _ in range(3):
        assert breaker.allow(0.0)
        breaker.failure(0.0)
    return breaker


def test_failures_in_a_row_open_it():
    breaker = Breaker(failures=3)
    for failed in (True, True, False, True, True):
        breaker.failure(0.0) if failed else breaker.success()
    assert breaker.state is State.CLOSED
    breaker.failure(0.0)
    assert breaker.state is State.OPEN and breaker.opened == 1


def test_while_it_is_open_nobody_asks():
    assert not opened().allow(0.9)


def test_then_one_at_a_time_may_try():
    breaker = opened()
    assert breaker.allow(1.0)
    assert not breaker.allow(1.1)
    breaker.success()
    assert breaker.state is State.CLOSED and breaker.allow(1.2)


def test_a_trial_that_fails_opens_it_again():
    breaker = opened()
    assert breaker.allow(1.0)
    breaker.failure(2.0)
    assert not breaker.allow(2.9)
    assert breaker.allow(3.0)


def test_a_trial_of_which_nothing_is_heard_makes_room_for_another():
    breaker = opened()
    assert breaker.allow(1.0)
    assert not breaker.allow(5.9)
    assert breaker.allow(6.0), "else it would be half-open for ever"
    assert not breaker.allow(6.1)


def test_a_trial_that_was_called_off_makes_room_at_once():
    breaker = opened()
    assert breaker.allow(1.0)
    breaker.ended()
    assert breaker.allow(1.1)
