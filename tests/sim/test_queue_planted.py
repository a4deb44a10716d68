"""Every planted bug of the queue is found by what `emu sim` runs: its own load, faults, verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planting import Bug, Campaign, Room, among, each_of, hunt, look_again
from tests.sim.planted_queue_bugs import BUGS

CAMPAIGN = Campaign(Path(__file__).parent / "planted" / "queue.yaml", 10.0)
CONTROL_SEEDS = 500
SAMPLE = (
    "an answer leaves when its record is proposed",
    "a partition is given to a member while another still reads it",
    "the floor of a work queue passes records that are not done",
)
"""What CI looks for."""
ROOM = Room("queue", among(BUGS, SAMPLE), lambda bug: [CAMPAIGN])


def test_the_bugs_are_many():
    assert len(BUGS) == len({each.sentence for each in BUGS}) >= 20
    assert {*SAMPLE} <= {each.sentence for each in BUGS}


@each_of(ROOM.bugs)
def test_a_planted_bug_is_found(bug: Bug):
    look_again(ROOM, bug)


@pytest.mark.soak
@each_of(BUGS)
def test_a_planted_bug_is_found_within_200_seeds(bug: Bug):
    hunt(bug, CAMPAIGN.finds)


@pytest.mark.soak
def test_the_true_code_gives_no_alarm():
    assert CAMPAIGN.alarms(CONTROL_SEEDS) == []
