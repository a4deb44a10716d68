"""Every planted bug of DNS and the regions is found by what `emu sim --faults timeline` runs; that
of a primary in a region that is cut off, by the ordinary swarm.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planting import Bug, Campaign, Room, among, each_of, hunt, look_again
from tests.sim.planted_region_bugs import BUGS

PLANTED = Path(__file__).parent / "planted"
CAMPAIGN = Campaign(PLANTED / "regions.yaml", 56.0, "timeline")
SWARM = Campaign(PLANTED / "distance.yaml", 12.0)
BY_SWARM = ("a primary that is cut off serves until it hears of another",)
CONTROL_SEEDS = 100
SAMPLE = ("addresses are given whatever the checks say",)
"""What CI looks for, beside those of the swarm: a run takes seconds."""


def campaigns(bug: Bug) -> list[Campaign]:
    return [SWARM if bug.sentence in BY_SWARM else CAMPAIGN]


ROOM = Room("regions", among(BUGS, (*SAMPLE, *BY_SWARM)), campaigns)


def test_the_bugs_are_many():
    assert len(BUGS) == len({each.sentence for each in BUGS}) >= 10
    assert {*SAMPLE, *BY_SWARM} <= {each.sentence for each in BUGS}


@each_of(ROOM.bugs)
def test_a_planted_bug_is_found(bug: Bug):
    look_again(ROOM, bug)


@pytest.mark.soak
@each_of(BUGS)
def test_a_planted_bug_is_found_within_200_seeds(bug: Bug):
    hunt(bug, campaigns(bug)[0].finds)


@pytest.mark.soak
def test_the_true_code_gives_no_alarm():
    assert CAMPAIGN.alarms(CONTROL_SEEDS) == []
