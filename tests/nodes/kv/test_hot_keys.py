"""Space-Saving: what it names is hot, and by how much it may be wrong it says itself."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from nodes.kv.hot_keys import HotKeys, SpaceSaving


@given(st.lists(st.integers(0, 30), max_size=300), st.integers(1, 12))
def test_a_count_is_never_too_low_and_its_error_bounds_how_much_it_is_too_high(
    stream: list[int], counters: int
) -> None:
    sketch, true = SpaceSaving(counters), Counter(map(str, stream))
    for item in stream:
        sketch.add(str(item))
    assert sketch.total == len(stream)
    for item in sketch.top(counters):
        count, error = sketch.count(item)
        assert count - error <= true[item] <= count
        assert error <= len(stream) / counters
    for item, times in true.items():
        if times > len(stream) / counters:
            assert item in sketch.top(counters), "who has more than one part in n is always kept"


def shown(hot: HotKeys, keys: list[str], now_s: float = 0.0) -> None:
    until = 1
    for key in keys:
        until -= 1
        if until == 0:
            until = hot.sample(key)
    hot.turn(now_s)


def test_a_key_with_half_of_the_requests_is_first_with_about_its_share() -> None:
    rng = random.Random(1)
    hot = HotKeys(random.Random(2))
    shown(hot, ["hot" if rng.random() < 0.5 else f"k{rng.randrange(5000)}" for _ in range(20_000)])
    assert hot.top(1)[0].key == "hot"
    assert 0.4 < hot.ratio < 0.6


def test_a_pattern_as_long_as_the_sampling_distance_does_not_hide_a_key() -> None:
    hot = HotKeys(random.Random(3))
    for window in range(4):
        shown(hot, [f"k{number % 16}" for number in range(20_000)], now_s=2.0 * window)
    assert len(hot.top(16)) == 16
    assert hot.ratio < 0.12


def test_a_load_that_grows_at_once_is_soon_counted_less_often() -> None:
    """Within one window, before any time has passed."""
    hot, counted, until = HotKeys(random.Random(5)), 0, 1
    for number in range(200_000):
        until -= 1
        if until == 0:
            counted += 1
            until = hot.sample("hot" if number % 2 else f"k{number % 5000}")
    assert counted < 16_000
    assert hot.top(1)[0].key == "hot"
    assert 0.45 < hot.ratio < 0.55


def test_what_was_hot_long_ago_is_forgotten_and_a_few_requests_name_nobody() -> None:
    hot = HotKeys(random.Random(4), window_s=2.0)
    shown(hot, ["hot"] * 1000, now_s=0.0)
    assert hot.ratio == 1.0
    hot.turn(2.0)
    hot.turn(6.5)
    assert hot.ratio == 0.0
    shown(hot, ["hot"] * 20)
    assert hot.top() == []
