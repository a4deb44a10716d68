"""Every planted bug of scaling and of overload is found by what `emu sim` runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planting import Bug, Campaign, Room, each_of, hunt, look_again
from tests.sim.planted_scaling_bugs import BUGS

CAMPAIGN = Campaign(Path(__file__).parent / "planted" / "scaled.yaml", 11.0)
CONTROL_SEEDS = 500

ROOM = Room("scaling", BUGS[:1], lambda bug: [CAMPAIGN])


def test_the_bugs_are_many():
    assert len(BUGS) == len({each.sentence for each in BUGS}) >= 10


@each_of(ROOM.bugs)
def test_a_planted_bug_is_found(bug: Bug):
    look_again(ROOM, bug)


@pytest.mark.soak
@each_of(BUGS)
def test_a_planted_bug_is_found_within_200_seeds(bug: Bug):
    hunt(bug, CAMPAIGN.finds)


@pytest.mark.soak
def test_the_true_code_gives_no_alarm_in_500_seeds():
    assert CAMPAIGN.alarms(CONTROL_SEEDS) == []
