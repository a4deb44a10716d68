"""KEDA's formula: what counts as lag, and how many members it asks for."""

from __future__ import annotations

import pytest

from nodes.autoscaler.lag import Lag, Standing, by_lag, lag_of
from nodes.autoscaler.replicas import Rules


def asked(current: int, records: int, partitions: int = 64, *, allow_idle: bool = False) -> int:
    lag = Lag(records, partitions)
    return by_lag(current, 10.0, lag, Rules(), allow_idle=allow_idle).nodes


@pytest.mark.parametrize(
    ("standing", "lag"),
    [
        (Standing(start=0, committed=40, end=100), 60),
        (Standing(start=70, committed=40, end=100), 30),  # what was trimmed is no work
        (Standing(start=0, committed=102, end=100), 0),  # never below 0
        (Standing(start=5, committed=0, end=5), 0),
    ],
)
def test_lag_is_what_is_there_and_not_read(standing: Standing, lag: int):
    assert standing.lag == lag


def test_the_lag_of_a_topic_is_that_of_its_partitions():
    rows = [Standing(0, 4, 10), Standing(0, 12, 10), Standing(8, 0, 10)]
    assert lag_of(rows) == Lag(records=8, partitions=3)


def test_one_member_for_each_ten_records():
    assert [asked(1, lag) for lag in (5, 10, 11, 95)] == [1, 1, 1, 10]


def test_no_more_members_than_partitions():
    assert asked(4, 10_000) == 64
    assert asked(4, 10_000, allow_idle=True) == 1000


def test_the_cap_is_reached_though_it_is_within_the_tolerance():
    """A lag cut to 64 * 10 is 64/63 of what 63 members should have: near enough, for ever."""
    assert asked(63, 10_000) == 64
    assert asked(60, 640) == 64


def test_no_lag_asks_for_nobody():
    assert asked(8, 0) == 0
    assert asked(0, 0) == 0
    assert asked(0, 1) == 1
