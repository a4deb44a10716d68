"""Rates that change: steps, days and flash crowds."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from nodes.parts.changing import Constant, Curve, Rate, Step, rate_of

STEPS = rate_of((Step(0.0, 50.0), Step(30.0, 400.0), Step(120.0, 50.0)))
DAY = Curve("diurnal", 20.0, 200.0, every_s=60.0)
CROWD = Curve("flash_crowd", 10.0, 400.0, at_s=30.0, rise_s=5.0, fall_s=20.0)


def arrivals(rate: Rate, until_s: float) -> list[float]:
    """When they come, evenly."""
    found, at_s = [], 0.0
    while (at_s := rate.after(at_s, 1.0)) < until_s:
        found.append(at_s)
    return found


def between(times: list[float], begin_s: float, end_s: float) -> int:
    return sum(begin_s <= each < end_s for each in times)


def test_a_constant_rate_is_one_number():
    assert rate_of(50.0) == Constant(50.0)
    assert len(arrivals(Constant(50.0), 10.0)) == pytest.approx(500, abs=1)


def test_each_step_holds_until_the_next():
    assert [STEPS.at(each) for each in (0.0, 29.9, 30.0, 119.0, 500.0)] == [50, 50, 400, 400, 50]
    times = arrivals(STEPS, 150.0)
    assert between(times, 0.0, 30.0) == pytest.approx(1500, abs=1)
    assert between(times, 30.0, 120.0) == pytest.approx(36000, abs=1)
    assert between(times, 120.0, 150.0) == pytest.approx(1500, abs=1)


def test_nobody_comes_before_the_first_step_nor_after_the_last_is_none():
    some = rate_of((Step(10.0, 1.0), Step(20.0, 0.0)))
    assert arrivals(some, inf) == [float(each) for each in range(11, 21)]


def test_a_step_is_met_in_the_middle_of_a_wait():
    assert rate_of((Step(0.0, 0.1), Step(5.0, 10.0))).after(0.0, 1.0) == pytest.approx(5.05)


def test_a_day_goes_up_and_down_and_comes_again():
    assert DAY.at(0.0) == pytest.approx(20.0)
    assert DAY.at(30.0) == pytest.approx(200.0)
    assert DAY.at(60.0) == pytest.approx(20.0)
    assert len(arrivals(DAY, 60.0)) == pytest.approx(60 * 110, rel=0.01)


def test_a_crowd_comes_quickly_and_goes_slowly():
    assert CROWD.at(29.0) == 10.0
    assert CROWD.at(35.0) == pytest.approx(400.0)
    assert CROWD.at(55.0) == pytest.approx(10.0 + 390.0 / 2.71828, rel=0.01)
    assert CROWD.at(300.0) == 10.0


def test_a_crowd_that_has_gone_home_ends_a_load_of_nobody_else():
    alone = Curve("flash_crowd", 0.0, 100.0, at_s=1.0, rise_s=1.0, fall_s=1.0)
    assert len(arrivals(alone, inf)) == pytest.approx(150, rel=0.02)


def test_a_poisson_process_follows_the_steps_too():
    rng, at_s, times = Random(1), 0.0, []
    while at_s < 60.0:
        at_s = STEPS.after(at_s, rng.expovariate(1.0))
        times.append(at_s)
    assert between(times, 0.0, 30.0) == pytest.approx(1500, rel=0.1)
    assert between(times, 30.0, 60.0) == pytest.approx(12000, rel=0.1)


def test_steps_follow_each_other():
    with pytest.raises(ValueError, match="follow each other"):
        rate_of((Step(30.0, 1.0), Step(0.0, 2.0)))
    with pytest.raises(ValueError, match="1 to 1000 steps"):
        rate_of(())


def test_a_curve_has_its_least_below_its_most():
    with pytest.raises(ValueError, match="`low`"):
        Curve("diurnal", 5.0, 4.0)
