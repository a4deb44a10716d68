"""How many members one metric asks for: what is near enough, unready, missing, and turns round."""

from __future__ import annotations

import pytest

from nodes.autoscaler.replicas import (
    NoReading,
    Rules,
    Sample,
    Seen,
    by_average,
    by_total,
    by_utilization,
)

NOW_S = 1000.0
RULES = Rules()


def member(name: str, busy: int | None, **facts: object) -> Seen:
    """A member of one core, so busy in percent, that has long been ready."""
    sample = None if busy is None else Sample(busy * 10, NOW_S, 15.0)
    made = Seen(name, sample, has=1000, started_s=0.0, turned_s=1.0)
    return made._replace(**facts)


def asked(*members: Seen, target: int = 50) -> int:
    return by_utilization(len(members), target, members, RULES, NOW_S).nodes


def test_twice_the_target_is_twice_the_members():
    assert asked(member("a", 100), member("b", 100)) == 4


def test_half_the_target_is_half_the_members():
    assert asked(*(member(each, 25) for each in "abcd")) == 2


@pytest.mark.parametrize("busy", [46, 50, 54])
def test_what_is_within_the_tolerance_changes_nothing(busy: int):
    assert asked(member("a", busy), member("b", busy)) == 2


def test_a_member_that_does_not_answer_counts_as_idle_on_the_way_up():
    assert asked(member("a", 100), member("b", 100), member("c", None)) == 4


def test_a_member_that_does_not_answer_counts_as_full_on_the_way_down():
    assert asked(*(member(each, 10) for each in "abcd"), member("e", None)) == 3


def test_a_correction_that_turns_the_direction_changes_nothing():
    assert asked(member("a", 60), member("b", None), member("c", None)) == 3
    assert asked(member("a", 30), member("b", None), member("c", None)) == 3


def test_a_member_that_starts_counts_as_idle_on_the_way_up():
    starting = member("c", None, pending=True, ready=False)
    assert asked(member("a", 100), member("b", 100), starting) == 4


def test_a_member_that_starts_does_not_count_on_the_way_down():
    starting = member("c", None, pending=True, ready=False)
    assert asked(member("a", 20), member("b", 20), starting) == 1


def test_one_that_is_just_ready_is_not_believed_before_a_whole_window():
    young = member("b", 100, started_s=NOW_S - 20.0, turned_s=NOW_S - 10.0)
    assert asked(member("a", 60), young) == 2
    of_its_own = young._replace(turned_s=NOW_S - 15.0)
    assert asked(member("a", 60), of_its_own) == 4


def test_demand_of_who_became_unready_later_counts():
    """Overload makes servers unready: were that no demand, nothing would ever come to help."""
    overloaded = [member(each, 100, ready=False, turned_s=900.0) for each in "ab"]
    assert asked(*overloaded) == 4


def test_one_that_was_never_ready_is_no_demand():
    stuck = member("b", 100, ready=False, turned_s=20.0)
    assert asked(member("a", 50), stuck) == 2


def test_who_leaves_is_of_no_account():
    assert asked(member("a", 100), member("b", 0, leaving=True)) == 2


def test_nothing_is_decided_by_nothing():
    with pytest.raises(NoReading):
        asked(member("a", None))
    with pytest.raises(NoReading):
        asked()


def test_an_average_counts_members_that_do_not_answer_at_their_target_on_the_way_down():
    idle = [Seen(each, Sample(5_000)) for each in "abcd"]
    assert by_average(4, 20_000, idle, RULES, NOW_S).nodes == 1
    assert by_average(5, 20_000, [*idle, Seen("e")], RULES, NOW_S).nodes == 2


def test_a_total_is_shared_out():
    assert by_total(4, 10_000, 95_000, RULES).nodes == 10
    assert by_total(4, 10_000, 42_000, RULES).nodes == 4
    assert by_total(0, 10_000, 1_000, RULES).nodes == 1
    assert by_total(0, 10_000, 0, RULES).nodes == 0


def test_the_arithmetic_is_told():
    told = by_utilization(2, 50, [member("a", 100), member("b", 100)], RULES, NOW_S)
    assert told.why == "100% of 50%: ceil(2 * 2) = 4"
