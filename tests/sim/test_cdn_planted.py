"""Every planted bug of the edges is found by what `emu sim` runs: its load, faults and verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planting import Bug, Campaign, Room, among, each_of, hunt, look_again
from tests.sim.planted_cdn_bugs import BUGS

CAMPAIGN = Campaign(Path(__file__).parent / "planted" / "cdn.yaml", 6.0)
CONTROL_SEEDS = 300
SAMPLE = (
    "what Vary names is not looked at",
    "a shield is not told of a purge that missed it",
)
"""What CI looks for."""
MISSED: dict[str, str] = {}
"""Not found yet, and in how many seeds."""

ROOM = Room("cdn", among(BUGS, SAMPLE), lambda bug: [CAMPAIGN])


def test_the_bugs_are_many():
    assert len(BUGS) == len({each.sentence for each in BUGS}) >= 12
    assert {*SAMPLE, *MISSED} <= {each.sentence for each in BUGS}


@each_of(ROOM.bugs)
def test_a_planted_bug_is_found(bug: Bug):
    look_again(ROOM, bug)


def test_what_an_edge_had_that_was_scaled_away_is_not_asked_for_at_the_end():
    """Seed 53 asked a machine that was gone, and told it as a loss."""
    assert CAMPAIGN.anomaly(53) == ""


def test_a_purge_outlives_the_machine_that_was_told():
    """Seed 235 scaled it away, and back with an empty disk: its shield had not heard of it."""
    assert CAMPAIGN.anomaly(235) == ""


@pytest.mark.soak
@each_of(BUGS)
def test_a_planted_bug_is_found_within_200_seeds(bug: Bug):
    hunt(bug, CAMPAIGN.finds, MISSED)


@pytest.mark.soak
def test_the_true_code_gives_no_alarm():
    assert CAMPAIGN.alarms(CONTROL_SEEDS) == []
