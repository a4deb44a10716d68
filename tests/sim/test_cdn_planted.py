"""Every planted bug of the edges is found by what `emu sim` runs: its load, faults and verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planting import Campaign, SeededBug, each_of, hunt
from tests.sim.planted_cdn_bugs import BUGS

CAMPAIGN = Campaign(Path(__file__).parent / "planted" / "cdn.yaml", 6.0)
SAMPLE_SEEDS = 20
CONTROL_SEEDS = 300
SAMPLE = (
    "what Vary names is not looked at",
    "a shield is not told of a purge that missed it",
)
"""What CI looks for: each shows in the first seeds."""
MISSED: dict[str, str] = {}
"""Not found yet, and in how many seeds."""


def test_the_bugs_are_many():
    assert len(BUGS) == len({each.sentence for each in BUGS}) >= 12
    assert {*SAMPLE, *MISSED} <= {each.sentence for each in BUGS}


@pytest.mark.slow
@each_of(BUGS, SAMPLE)
def test_a_planted_bug_is_found(bug: SeededBug):
    assert CAMPAIGN.finds(bug, range(bug.seed, bug.seed + SAMPLE_SEEDS)) is not None


@pytest.mark.soak
@each_of(BUGS)
def test_a_planted_bug_is_found_within_200_seeds(bug: SeededBug):
    hunt(bug, CAMPAIGN.finds, MISSED)


@pytest.mark.soak
def test_the_true_code_gives_no_alarm():
    assert CAMPAIGN.alarms(CONTROL_SEEDS) == []
