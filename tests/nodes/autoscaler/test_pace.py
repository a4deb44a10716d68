"""How fast a tier follows: windows, policies and limits."""

from __future__ import annotations

from nodes.autoscaler.config import Policy, ScaleDown, ScaleUp
from nodes.autoscaler.pace import Pace


def follow(pace: Pace, current: int, asked: list[tuple[float, int]], most: int = 100) -> list[int]:
    """The members at each time, where so many are asked for."""
    found = []
    for at_s, each in asked:
        nodes = pace.limit(current, each, 1, most, at_s).nodes
        pace.changed(current, nodes, at_s)
        current = nodes
        found.append(nodes)
    return found


def test_up_is_at_most_the_double_or_four_in_15_seconds():
    asked = [(15.0 * turn, 50) for turn in range(5)]
    assert follow(Pace(ScaleUp(), ScaleDown()), 1, asked) == [5, 10, 20, 40, 50]


def test_within_a_period_no_more_come_than_the_policy_allows():
    assert follow(Pace(ScaleUp(), ScaleDown()), 1, [(0.0, 50), (5.0, 50), (14.0, 50)]) == [5, 5, 5]


def test_down_waits_until_nothing_more_was_asked_for_in_five_minutes():
    asked = [(0.0, 8), (60.0, 2), (200.0, 3), (299.0, 2), (301.0, 2), (501.0, 2)]
    assert follow(Pace(ScaleUp(), ScaleDown()), 8, asked) == [8, 8, 8, 8, 3, 2]


def test_the_first_look_remembers_how_many_there_were():
    assert follow(Pace(ScaleUp(), ScaleDown()), 6, [(0.0, 2), (299.0, 2), (301.0, 2)]) == [6, 6, 2]


def test_a_window_on_the_way_up_takes_the_least():
    asked = [(0.0, 3), (15.0, 9), (35.0, 9), (51.0, 9)]
    assert follow(Pace(ScaleUp(window_s=30.0), ScaleDown()), 3, asked) == [3, 3, 7, 9]


def test_a_direction_can_be_forbidden():
    pace = Pace(ScaleUp(select="disabled"), ScaleDown(window_s=0.0))
    assert follow(pace, 4, [(0.0, 9), (15.0, 2)]) == [4, 2]


def test_the_policy_that_allows_least_can_be_chosen():
    pace = Pace(ScaleUp(select="min"), ScaleDown())
    assert follow(pace, 2, [(0.0, 50)]) == [4]


def test_down_by_policies_one_at_a_time():
    down = ScaleDown(window_s=0.0, policies=(Policy(nodes=1, period_s=30.0),))
    asked = [(0.0, 1), (15.0, 1), (31.0, 1), (62.0, 1)]
    assert follow(Pace(ScaleUp(), down), 5, asked) == [4, 4, 3, 2]


def test_no_policy_is_no_limit():
    pace = Pace(ScaleUp(policies=()), ScaleDown(window_s=0.0, policies=()))
    assert follow(pace, 1, [(0.0, 50), (1.0, 1)]) == [50, 1]


def test_limits_hold_and_are_told():
    pace = Pace(ScaleUp(), ScaleDown(window_s=0.0))
    assert pace.limit(3, 20, 2, 6, 0.0) == (6, "max_nodes")
    assert pace.limit(3, 1, 2, 6, 0.0) == (2, "min_nodes")
    assert pace.limit(3, 20, 2, 60, 0.0) == (7, "its policies")
    assert Pace(ScaleUp(), ScaleDown()).limit(9, 2, 1, 60, 0.0) == (9, "its window")
