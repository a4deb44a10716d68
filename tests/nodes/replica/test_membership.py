"""Who a group takes in, promotes and lets go next."""

from __future__ import annotations

import pytest

from nodes.replica.membership import Change, Peer, founders_of, next_change
from protocols.replication.replica import LEARNER, VOTER, WITNESS

WELL, DEAD = Peer(0.1, True), Peer(20.0, True)
THREE = {"a": VOTER, "b": VOTER, "c": VOTER}


def change(members, listed="abc", peers=None, *, spares=0) -> Change | None:
    known = {name: WELL for name in members if name != "a"} | (peers or {})
    return next_change("a", members, list(listed), known, spares=spares, replace_after_s=10.0)


def test_a_group_whose_members_are_well_is_left_alone():
    assert change(THREE) is None
    assert change({**THREE, "d": LEARNER}, "abcd", spares=1) is None


def test_a_newcomer_learns_first_and_votes_once_it_has_caught_up():
    assert change(THREE, "abcd")[:2] == ("d", LEARNER)
    learning = {**THREE, "d": LEARNER}
    assert change(learning, "abcd", {"d": Peer(0.1, False)}) is None
    assert change(learning, "abcd")[:2] == ("d", VOTER)


def test_a_spare_votes_before_the_dead_voter_is_let_go():
    group = {**THREE, "d": LEARNER}
    assert change(group, "abcd", {"c": DEAD}, spares=1)[:2] == ("d", VOTER)
    group["d"] = VOTER
    assert change(group, "abcd", {"c": DEAD}, spares=1)[:2] == ("c", None)
    del group["c"]
    assert change(group, "abcd", spares=1)[:2] == ("c", LEARNER)  # as the next spare, if it returns


def test_without_a_spare_a_dead_voter_stays_a_member():
    assert change(THREE, "abc", {"c": DEAD}) is None


def test_whoever_is_silent_and_not_expected_back_is_let_go():
    assert change(THREE, "ab", {"c": DEAD})[:2] == ("c", None)
    assert change(THREE, "ab") is None  # it is only about to go, or to come


def test_the_last_nodes_are_spares_and_those_before_them_witnesses():
    assert founders_of("abcd", witnesses=1, spares=1) == (
        ("a", VOTER), ("b", VOTER), ("c", WITNESS),
    )  # fmt: skip
    with pytest.raises(ValueError, match="leave none for data"):
        founders_of("ab", witnesses=1, spares=1)
