"""Every planted bug of the cache is found by what `emu sim` runs: its own load, faults, verdict."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from emu.seeds.run import FaultSource
from tests.planting import Campaign, Room, among, each_of, first_found, hunt, look_again
from tests.sim.planted_cache_bugs import BUGS, LEASES, LOG, CacheBug

FOLDER = Path(__file__).parent / "planted"
FOR_S = 8.0
CONTROL_SEEDS = 200
SAMPLE = ("a delete does not void the token of who fetches the key",)
"""What CI looks for."""


def campaign(topology: str, faults: FaultSource = "swarm") -> Campaign:
    return Campaign(FOLDER / f"{topology}.yaml", FOR_S, faults)


def finds(bug: CacheBug, seeds: Iterable[int]) -> int | None:
    """Under the file's own faults, or those that a swarm draws."""
    own, drawn = campaign(bug.topology, "timeline"), campaign(bug.topology)
    return first_found(bug.plant, lambda seed: own.anomaly(seed) or drawn.anomaly(seed), seeds)


ROOM = Room(
    "cache",
    among(BUGS, SAMPLE),
    lambda bug: [campaign(bug.topology, "timeline"), campaign(bug.topology)],
)


def test_the_bugs_are_many() -> None:
    assert len(BUGS) == len({each.sentence for each in BUGS}) >= 19
    assert {*SAMPLE} <= {each.sentence for each in BUGS}


@each_of(ROOM.bugs)
def test_a_planted_bug_is_found(bug: CacheBug) -> None:
    look_again(ROOM, bug)


@pytest.mark.soak
@each_of(BUGS)
def test_a_planted_bug_is_found_within_200_seeds(bug: CacheBug) -> None:
    hunt(bug, finds)


@pytest.mark.soak
@pytest.mark.parametrize("topology", [LEASES, LOG])
def test_the_true_code_raises_no_alarm(topology: str) -> None:
    assert campaign(topology).alarms(CONTROL_SEEDS) == []
    assert campaign(topology, "timeline").alarms(CONTROL_SEEDS) == []
