"""Every planted bug of scaling and of overload is found by what `emu sim` runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planting import Campaign, SeededBug, each_of, hunt
from tests.sim.planted_scaling_bugs import BUGS

CAMPAIGN = Campaign(Path(__file__).parent / "planted" / "scaled.yaml", 11.0)
SAMPLE_SEEDS = 20
CONTROL_SEEDS = 500


def test_the_bugs_are_many():
    assert len(BUGS) == len({each.sentence for each in BUGS}) >= 10


@pytest.mark.slow
@each_of(BUGS[:1])
def test_a_planted_bug_is_found(bug: SeededBug):
    assert CAMPAIGN.finds(bug, range(bug.seed, bug.seed + SAMPLE_SEEDS)) is not None


@pytest.mark.soak
@each_of(BUGS)
def test_a_planted_bug_is_found_within_200_seeds(bug: SeededBug):
    hunt(bug, CAMPAIGN.finds)


@pytest.mark.soak
def test_the_true_code_gives_no_alarm_in_500_seeds():
    assert CAMPAIGN.alarms(CONTROL_SEEDS) == []
