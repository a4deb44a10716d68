"""How planted bugs are looked for again: where they were found, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import known_seeds, planting
from tests.planting import Bug, Known, Room, Script, look_again

TRUE = {"adds": lambda one, other: one + other}


def _plant(swap: pytest.MonkeyPatch) -> None:
    swap.setitem(TRUE, "adds", lambda one, other: one)


class Hunted:
    """A room with one bug, which shows under every third seed; it notes what was looked at."""

    def __init__(self) -> None:
        self.looked: list[int] = []
        self.bug = Bug("the second is not added", _plant)
        self.room = Room("sums", [self.bug], lambda bug: [Script(self.anomaly)])

    def anomaly(self, seed: int) -> str:
        self.looked.append(seed)
        found = TRUE["adds"](seed, 1) if seed % 3 == 0 else seed + 1
        return "" if found == seed + 1 else f"{seed} + 1 is {found}"


@pytest.fixture
def hunted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hunted]:
    monkeypatch.setattr(planting, "KNOWN", tmp_path / "known.json")
    monkeypatch.setattr(known_seeds, "KNOWN", tmp_path / "known.json")
    yield Hunted()


def knows(hunted: Hunted, *seeds: int) -> None:
    known_seeds.write({"sums": {hunted.bug.sentence: [Known(each) for each in seeds]}})


def test_a_known_seed_that_still_finds_the_bug_is_the_only_one_that_runs(hunted: Hunted):
    knows(hunted, 6, 3)
    look_again(hunted.room, hunted.bug)
    assert hunted.looked == [6]


def test_the_next_known_seed_is_tried_where_one_has_become_stale(hunted: Hunted):
    knows(hunted, 4, 9)
    look_again(hunted.room, hunted.bug)
    assert hunted.looked == [4, 9]


def test_a_bug_whose_known_seeds_are_all_stale_is_said_to_be_lost_and_none_is_searched(
    hunted: Hunted,
):
    knows(hunted, 4, 5)
    with pytest.raises(AssertionError, match=r"seeds 4, 5 no longer find it: `python -m tests"):
        look_again(hunted.room, hunted.bug)
    assert hunted.looked == [4, 5]


def test_a_bug_that_nobody_has_looked_for_fails_and_says_how_to_look(hunted: Hunted):
    known_seeds.write({"sums": {}})
    with pytest.raises(AssertionError, match=r"python -m tests\.known_seeds sums"):
        look_again(hunted.room, hunted.bug)


def test_renewing_keeps_what_still_finds_it_and_looks_for_the_rest(hunted: Hunted):
    knows(hunted, 4, 9)
    found = known_seeds.renewed(hunted.room, hunted.bug, wanted=3, seeds=50)
    assert sorted(each.seed for each in found) == [3, 6, 9]


def test_a_run_that_finds_something_in_the_true_code_too_proves_nothing(hunted: Hunted):
    knows(hunted)
    seeds_at_fault = Script(lambda seed: hunted.anomaly(seed) or ("always" if seed < 9 else ""))
    room = hunted.room._replace(hunts=lambda bug: [seeds_at_fault])
    found = known_seeds.renewed(room, hunted.bug, wanted=1, seeds=50)
    assert [each.seed for each in found] == [9]


def test_every_bug_of_every_room_has_a_line_in_the_table_and_no_line_is_of_none():
    table: dict[str, Any] = json.loads(planting.KNOWN.read_text())
    rooms = {room.name: {bug.sentence for bug in room.bugs} for room in known_seeds.rooms()}
    assert {name: set(bugs) for name, bugs in table.items()} == rooms
