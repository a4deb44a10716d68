"""Every planted bug of DNS and the regions is found by what `emu sim --faults timeline` runs; that
of a primary in a region that is cut off, by the ordinary swarm.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planting import Bug, Campaign, each_of, hunt
from tests.sim.planted_region_bugs import BUGS

PLANTED = Path(__file__).parent / "planted"
CAMPAIGN = Campaign(PLANTED / "regions.yaml", 56.0, "timeline")
SWARM = Campaign(PLANTED / "distance.yaml", 12.0)
BY_SWARM = {"a primary that is cut off serves until it hears of another": 44}
"""And the first seed that finds it."""
CONTROL_SEEDS = 100
SAMPLE = ("where no member is healthy, there is no answer",)
"""What CI looks for: a run takes seconds."""


def test_the_bugs_are_many():
    assert len(BUGS) == len({each.sentence for each in BUGS}) >= 10
    assert {*SAMPLE, *BY_SWARM} <= {each.sentence for each in BUGS}


@pytest.mark.slow
@each_of(BUGS, SAMPLE)
def test_a_planted_bug_is_found(bug: Bug):
    assert CAMPAIGN.finds(bug, range(1, 4)) is not None


@pytest.mark.slow
@each_of(BUGS, BY_SWARM)
def test_the_swarm_cuts_a_region_off_with_its_people_and_finds_it(bug: Bug):
    assert SWARM.finds(bug, [BY_SWARM[bug.sentence]]) is not None


@pytest.mark.soak
@each_of(BUGS)
def test_a_planted_bug_is_found_within_200_seeds(bug: Bug):
    hunt(bug, (SWARM if bug.sentence in BY_SWARM else CAMPAIGN).finds)


@pytest.mark.soak
def test_the_true_code_gives_no_alarm():
    assert CAMPAIGN.alarms(CONTROL_SEEDS) == []
