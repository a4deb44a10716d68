"""Every planted bug of the queue is found by what `emu sim` runs: its own load, faults, verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planting import Campaign, SeededBug, each_of, hunt
from tests.sim.planted_queue_bugs import BUGS

CAMPAIGN = Campaign(Path(__file__).parent / "planted" / "queue.yaml", 10.0)
SAMPLE_SEEDS = 100
CONTROL_SEEDS = 500
SAMPLE = (
    "an answer leaves when its record is proposed",
    "a partition is given to a member while another still reads it",
    "the floor of a work queue passes records that are not done",
)
"""What CI looks for: each shows in the first seeds."""
MISSED = {
    "a snapshot forgets how far publishers are": "a retry that meets a restart is rare: 15 seeds",
}
"""Not found yet, and in how many seeds."""


def test_the_bugs_are_many():
    assert len(BUGS) == len({each.sentence for each in BUGS}) >= 20
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
