"""Every planted bug of workers is found by what `emu sim` runs: its own load, faults, verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planting import Bug, Campaign, Room, among, each_of, hunt, look_again
from tests.sim.planted_worker_bugs import BUGS

CAMPAIGN = Campaign(Path(__file__).parent / "planted" / "workers.yaml", 10.0)
CONTROL_SEEDS = 300
SAMPLE = ("a key's next job does not wait for the one before it",)
"""What CI looks for."""

ROOM = Room("worker", among(BUGS, SAMPLE), lambda bug: [CAMPAIGN])


@each_of(ROOM.bugs)
def test_a_planted_bug_of_workers_is_found(bug: Bug) -> None:
    look_again(ROOM, bug)


@pytest.mark.soak
@each_of(BUGS)
def test_a_planted_bug_of_workers_is_found_within_200_seeds(bug: Bug) -> None:
    hunt(bug, CAMPAIGN.finds)


@pytest.mark.soak
def test_the_true_workers_give_no_alarm() -> None:
    assert CAMPAIGN.alarms(CONTROL_SEEDS) == []
