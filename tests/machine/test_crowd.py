"""A crowd of which a sample is there: it waits as long as if all were there."""

from __future__ import annotations

import math
from heapq import heapreplace
from itertools import pairwise
from random import Random
from statistics import fmean

import pytest

from emu.machine.crowd import BLOCK, MOST_BLOCKS, Crowd, Pace

COST_S = 0.01


def all_there(cores: int, share: float, arrivals: int, seed: int) -> list[float]:
    """The waits of a queue in which everybody is simulated, one by one."""
    rng, free_s, now_s, waits = Random(seed), [0.0] * cores, 0.0, []
    for _ in range(arrivals):
        now_s += rng.expovariate(share * cores / COST_S)
        start_s = max(now_s, free_s[0])
        heapreplace(free_s, start_s + COST_S)
        waits.append(start_s - now_s)
    return waits


def sampled(
    cores: int, share: float, arrivals: int, stands_for: float
) -> tuple[list[float], Crowd]:
    """The waits of the sample alone, with the crowd around it."""
    rng, now_s, waits = Random(7), 0.0, []
    crowd = Crowd(cores, stands_for, 10**6, Random(8), 0.0)
    for _ in range(arrivals):
        now_s += rng.expovariate(share * cores / COST_S / stands_for)
        start_s = crowd.starts_s(now_s, COST_S, math.inf)
        crowd.take(start_s, COST_S)
        waits.append(start_s - now_s)
    return waits[arrivals // 3 :], crowd


@pytest.mark.parametrize(("cores", "share"), [(1, 0.5), (1, 0.8), (2, 0.8), (8, 0.9)])
def test_a_sample_waits_as_the_whole_does(cores, share):
    whole = fmean(all_there(cores, share, 150_000, seed=1))
    waits, crowd = sampled(cores, share, 15_000, stands_for=20)
    assert fmean(waits) == pytest.approx(whole, rel=0.15)
    assert crowd.worked == pytest.approx(19 * 15_000, rel=0.05)
    assert crowd.busy_s == pytest.approx(crowd.worked * COST_S)


def test_beyond_the_ceiling_the_queue_is_full_for_most():
    crowd = Crowd(1, 10, 5, Random(1), 0.0)
    times = [number / 100 for number in range(1, 2000)]  # ten times 100/s: a core does 100/s
    starts = [crowd.starts_s(at_s, COST_S, math.inf) for at_s in times]
    refused = sum(start is None for start in starts)
    for start_s, at_s in zip(starts, times, strict=True):
        assert start_s is None or start_s - at_s <= 5 * COST_S
    assert refused > 300 and crowd.turned_away > 12_000
    assert crowd.busy_s == pytest.approx(20.0, rel=0.05)


def test_where_the_sample_comes_twice_as_often_the_crowd_soon_does_too():
    crowd, rng, now_s, before = Crowd(64, 11, 10**6, Random(2), 0.0), Random(4), 0.0, 0
    for per_s in (10, 20):
        for number in range(3000):
            now_s += rng.expovariate(per_s)
            crowd.take(crowd.starts_s(now_s, COST_S, math.inf), COST_S)
            if number == 200:
                before, since_s = crowd.worked, now_s
        assert (crowd.worked - before) / (now_s - since_s) == pytest.approx(10 * per_s, rel=0.06)


def came_of(gaps_s: list[float], seed: int) -> list[int]:
    """How many of a crowd of nine to each came with each of the sample."""
    crowd, now_s, worked = Crowd(64, 10, 10**6, Random(seed), 0.0), 0.0, [0]
    for gap_s in gaps_s:
        now_s += gap_s
        crowd.starts_s(now_s, 1e-9, math.inf)
        worked.append(crowd.worked)
    return [after - before for before, after in pairwise(worked)]


def test_where_the_first_arrivals_trickle_the_crowd_is_there_soon_after():
    found = []
    for seed in range(10):
        rng = Random(seed)
        slow, fast = (
            [rng.expovariate(per_s) for _ in range(n)] for per_s, n in ((4, 20), (50, 250))
        )
        found.append(fmean(came_of(slow + fast, seed)[-200:]))
    assert fmean(found) == pytest.approx(9, rel=0.1)


@pytest.mark.parametrize("longer", [1, 3, 8])
def test_as_many_of_the_crowd_come_for_each_of_the_sample_however_bursty_that_is(longer):
    rng, means = Random(1), []
    for seed in range(10):
        gaps = [rng.expovariate(50 / (longer if rng.random() < 0.5 else 1)) for _ in range(2000)]
        means.append(fmean(came_of(gaps, seed)[200:]))
    assert fmean(means) == pytest.approx(9, rel=0.03)


def test_a_pace_that_stays_is_not_forgotten():
    paces = [Pace() for _ in range(50)]
    for number, pace in enumerate(paces):
        rng = Random(number)
        for _ in range(2000):
            pace.learn(rng.expovariate(50))
    assert [pace.came for pace in paces] == [2000] * len(paces)
    pace = paces[0]
    for _ in range(10_000):
        pace.learn(1 / 50)
    assert pace.came == BLOCK * MOST_BLOCKS


def test_the_time_before_the_first_is_no_gap_between_two():
    crowd, now_s = Crowd(1, 11, 10**6, Random(2), 0.0), 100.0
    for _ in range(100):
        now_s += 1.0
        crowd.take(crowd.starts_s(now_s, COST_S, math.inf), COST_S)
    assert crowd.worked == pytest.approx(10 * 90, rel=0.1), "of the first ten nobody knew"


def test_who_was_cut_off_meets_no_crowd_that_never_came():
    crowd = Crowd(1, 50, 10**6, Random(2), 0.0)
    for number in range(1, 200):
        crowd.take(crowd.starts_s(float(number), COST_S, math.inf), COST_S)
    worked = crowd.worked
    crowd.starts_s(10_000.0, COST_S, math.inf)
    assert crowd.worked - worked < 49 * 20


def test_nobody_waits_longer_than_the_sample_may():
    crowd = Crowd(1, 100, 10**6, Random(1), 0.0)
    for number in range(1, 300):
        start_s = crowd.starts_s(number / 10, COST_S, 0.5)
        assert start_s - number / 10 <= 0.5 + COST_S


def test_more_cores_are_free_at_once_and_fewer_keep_their_work():
    crowd = Crowd(1, 2, 10**6, Random(3), 0.0)
    crowd.take(0.0, 5.0)
    assert crowd.starts_s(1.0, COST_S, math.inf) >= 5.0
    crowd.resize(2, 1.0)
    assert crowd.starts_s(1.0, COST_S, math.inf) < 1.1
    crowd.resize(0, 2.0)
    assert crowd.starts_s(2.0, COST_S, math.inf) == 2.0


def test_the_queue_is_that_of_all_not_of_the_sample():
    crowd, now_s = Crowd(2, 50, 10**6, Random(3), 0.0), 0.0
    for _ in range(200):
        now_s += 50 * COST_S / 2
        crowd.take(crowd.starts_s(now_s, COST_S, math.inf), COST_S)
    queue = crowd.waiting(now_s)
    start_s = crowd.starts_s(now_s, COST_S, math.inf)
    assert queue >= 5, "as many as come, two cores can just do"
    assert start_s - now_s == pytest.approx(queue / 2 * COST_S, abs=COST_S)
    assert crowd.waiting(now_s + 1000.0) == 0
