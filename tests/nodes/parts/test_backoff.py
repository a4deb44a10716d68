"""When to try again: the window, its jitter and its cap, and the budget."""

from __future__ import annotations

from random import Random

import pytest

from nodes.parts.backoff import Backoff, RetryBudget


def test_the_window_doubles_up_to_its_cap():
    waits = [Backoff(0.1, 1.0, jitter=False).wait_s(each, Random(1)) for each in range(6)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_jitter_is_full_and_comes_after_the_cap():
    """Were the cap last, most of those who have waited long would come at the same time."""
    rng, backoff = Random(1), Backoff(0.1, 1.0)
    waits = [backoff.wait_s(10, rng) for _ in range(1000)]
    assert sum(waits) / 1000 == pytest.approx(0.5, abs=0.05)
    assert sum(each > 0.95 for each in waits) < 100


def test_a_retry_is_charged_when_it_is_decided():
    budget = RetryBudget(0.2, reserve=3.0)
    assert [budget.take() for _ in range(5)] == [True, True, True, False, False]
    assert budget.refused == 2


def test_only_success_refills_the_budget():
    budget = RetryBudget(0.25, reserve=0.0)
    assert not budget.take()
    for _ in range(4):
        budget.success()
    assert budget.take()
    assert not budget.take()


def test_what_is_saved_up_has_an_end():
    budget = RetryBudget(0.2, reserve=2.0)
    for _ in range(10_000):
        budget.success()
    assert sum(budget.take() for _ in range(100)) == 20


def test_what_is_earned_in_fractions_is_earned_whole():
    budget = RetryBudget(0.2, reserve=10.0)
    for _ in range(200):  # fifths, in floating point, sum up to more in one place than in another
        for _ in range(5):
            budget.success()
        assert budget.take()
        budget.made()
    assert budget.tokens == 10.0


def test_at_one_there_is_no_budget():
    budget = RetryBudget(1.0, reserve=0.0)
    assert all(budget.take() for _ in range(1000))
