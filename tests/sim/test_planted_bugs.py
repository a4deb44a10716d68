"""Every planted bug is found by what `emu sim` runs: ordinary load, drawn faults, its own verdict.

No bug has a check of its own. CI looks again where each was found; `make soak` from seed 1 on, and
runs the true code under a thousand seeds of each topology.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from emu.seeds.run import FaultSource
from tests.planting import Campaign, Room, each_of, hunt, look_again
from tests.sim.planted_bugs import BUGS, PlantedBug
from tests.sim.planted_groups import GROUP_BUGS
from tests.sim.planted_stores import STORE_BUGS

FOLDER = Path(__file__).parent / "planted"
SHIPPED = Path(__file__).parents[2] / "topologies"
FOR_S = 12.0
CONTROL_SEEDS = 1000
ALL = (*BUGS, *GROUP_BUGS, *STORE_BUGS)
CAMPAIGNS = tuple(dict.fromkeys((each.topology, each.faults) for each in ALL))


def campaign(topology: str, faults: FaultSource) -> Campaign:
    own = FOLDER / f"{topology}.yaml"
    return Campaign(own if own.exists() else SHIPPED / f"{topology}.yaml", FOR_S, faults)


def finds(bug: PlantedBug, seeds: Iterable[int]) -> int | None:
    return campaign(bug.topology, bug.faults).finds(bug, seeds)


ROOM = Room("database", ALL, lambda bug: [campaign(bug.topology, bug.faults)])


def test_the_bugs_are_many_and_spread_over_database_wire_and_balancer():
    assert len(BUGS) >= 14
    places = {each.sentence: each.topology for each in BUGS}
    assert len(places) == len(BUGS)
    assert set(places.values()) == {"single", "replicated", "site", "maintenance"}


@each_of(ALL)
def test_a_planted_bug_is_found(bug: PlantedBug):
    look_again(ROOM, bug)


@pytest.mark.soak
@each_of(ALL)
def test_a_planted_bug_is_found_within_200_seeds(bug: PlantedBug):
    hunt(bug, finds)


@pytest.mark.soak
@pytest.mark.parametrize(("topology", "faults"), CAMPAIGNS)
def test_the_true_code_gives_no_alarm_in_1000_seeds(topology: str, faults: FaultSource):
    assert campaign(topology, faults).alarms(CONTROL_SEEDS) == []
