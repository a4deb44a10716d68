"""A limit that finds itself: it grows while nobody waits, and shrinks when all do."""

from __future__ import annotations

from nodes.parts.limit import GradientLimit


def served(limit: GradientLimit, seconds: float, times: int) -> int:
    """So many that each took so long, with all that is let in at hand."""
    for _ in range(times):
        limit.done(seconds, limit.limit)
    return limit.limit


def test_it_grows_while_nothing_takes_longer():
    limit = GradientLimit(least=2, most=100)
    assert limit.limit == 2
    assert served(limit, 0.01, 50) > 20
    assert served(limit, 0.01, 500) == 100


def test_it_shrinks_when_all_takes_longer_and_comes_back():
    limit = GradientLimit(least=2, most=100)
    served(limit, 0.01, 100)
    before = limit.limit
    assert served(limit, 0.1, 20) < before / 3
    assert served(limit, 0.01, 500) > before / 2


def test_an_outage_is_soon_no_measure_of_what_is_usual():
    limit = GradientLimit(least=2, most=100)
    served(limit, 0.01, 100)
    served(limit, 10.0, 50)
    served(limit, 0.01, 200)
    assert served(limit, 0.2, 40) < 20


def test_what_was_not_full_says_nothing_of_the_limit():
    limit = GradientLimit(least=8, most=100)
    for _ in range(50):
        limit.done(0.01, 1)
    assert limit.limit == 8
