"""Every planted bug of DNS and the regions is found by what `emu sim --faults timeline` runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planting import Bug, Campaign, each_of, hunt
from tests.sim.planted_region_bugs import BUGS

CAMPAIGN = Campaign(Path(__file__).parent / "planted" / "regions.yaml", 56.0, "timeline")
CONTROL_SEEDS = 100
SAMPLE = ("where no member is healthy, there is no answer",)
"""What CI looks for: a run takes seconds."""
MISSED = {
    "a primary that is cut off serves until it hears of another": "not found in 4 seeds: clients "
    "of one node move together; groups.yaml's own swarm finds such leases",
}
"""Not found yet, and in how many seeds."""


def test_the_bugs_are_many():
    assert len(BUGS) == len({each.sentence for each in BUGS}) >= 10
    assert {*SAMPLE, *MISSED} <= {each.sentence for each in BUGS}


@pytest.mark.slow
@each_of(BUGS, SAMPLE)
def test_a_planted_bug_is_found(bug: Bug):
    assert CAMPAIGN.finds(bug, range(1, 4)) is not None


@pytest.mark.soak
@each_of(BUGS)
def test_a_planted_bug_is_found_within_200_seeds(bug: Bug):
    hunt(bug, CAMPAIGN.finds, MISSED)


@pytest.mark.soak
def test_the_true_code_gives_no_alarm():
    assert CAMPAIGN.alarms(CONTROL_SEEDS) == []
