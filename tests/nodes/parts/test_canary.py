"""When a new version is worse than the old one: of 200 draws of a bad and of a good one each."""

from __future__ import annotations

import random

from nodes.metrics import LATENCY_EDGES_S
from nodes.parts.canary import LEAST_REQUESTS, Served, enough, worse


def drawn(rng: random.Random, requests: int, error_ratio: float, mean_s: float = 0.01) -> Served:
    """So many answers of a version that fails so often."""
    errors = sum(rng.random() < error_ratio for _ in range(requests))
    times = [0] * (len(LATENCY_EDGES_S) + 1)
    for _ in range(requests):
        took_s = rng.expovariate(1 / mean_s)
        times[next(n for n, edge in enumerate(LATENCY_EDGES_S) if edge >= took_s)] += 1
    return Served(requests, errors, tuple(times))


def judged(seed: int, ratio: float, mean_s: float = 0.01, old_ratio: float = 0.0) -> str:
    rng = random.Random(seed)
    return worse(drawn(rng, 900, old_ratio), drawn(rng, 300, ratio, mean_s))


def test_a_version_with_5_percent_errors_is_found_worse_and_a_good_one_is_not():
    bad = sum(bool(judged(seed, 0.05)) for seed in range(200))
    good = sum(bool(judged(seed, 0.0)) for seed in range(200))
    assert (bad, good) == (200, 0)


def test_errors_that_both_have_are_nobodys_fault():
    assert sum(bool(judged(seed, 0.02, old_ratio=0.02)) for seed in range(200)) <= 2


def test_a_version_that_takes_five_times_as_long_is_found_worse():
    assert all("p90" in judged(seed, 0.0, mean_s=0.05) for seed in range(20))


def test_it_says_what_is_worse():
    text = worse(Served(900, 0, ()), Served(100, 8, ()))
    assert text == "8.0% of its answers failed, 0.0% of the old ones'"


def test_a_few_requests_are_too_few_to_tell():
    assert not enough(Served(LEAST_REQUESTS - 1))
    assert not worse(Served(900, 0, ()), Served(40, 2, ()))


def test_what_was_counted_before_is_not_counted():
    before, after = Served(10, 1, (1, 2)), Served(30, 4, (2, 5))
    assert after.since(before) == Served(20, 3, (1, 3))
    assert after.since(Served()) == after
