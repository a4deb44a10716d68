"""Which worker a node runs in: regions together, tiers spread evenly."""

from __future__ import annotations

from collections import Counter

from emu.processes.spread import Spread


def test_a_tiers_members_are_spread_evenly_and_so_are_all_nodes():
    spread = Spread(2, ["here"] * 9)
    tiers = ["lb", "web", "web", "web", "db", "db", "db", "dns", "users"]
    found = [(tier, spread.place(tier, "here")) for tier in tiers]
    by_tier = Counter(found)
    for tier in ("web", "db"):
        assert {by_tier[tier, 1], by_tier[tier, 2]} == {1, 2}
    assert sorted(Counter(worker for _, worker in found).values()) == [4, 5]


def test_a_place_that_was_given_up_is_taken_first():
    spread = Spread(2, ["here"] * 3)
    workers = [spread.place("web", "here") for _ in range(4)]
    assert workers == [1, 2, 1, 2]
    spread.take_away(2, "web", "here")
    assert spread.place("web", "here") == 2


def test_a_region_is_together_where_there_are_as_many_regions_as_workers_or_more():
    regions = ["us"] * 6 + ["eu"] * 3 + ["ap"] * 2
    spread = Spread(2, regions)
    workers = {region: {spread.place("web", region) for _ in range(4)} for region in regions}
    assert workers == {"us": {1}, "eu": {2}, "ap": {2}}, "the largest ones first"


def test_regions_share_out_more_workers_than_there_are_regions():
    spread = Spread(5, ["us"] * 3 + ["eu"] * 2)
    assert {spread.place("web", "us") for _ in range(6)} == {1, 3, 5}
    assert {spread.place("web", "eu") for _ in range(6)} == {2, 4}
    assert spread.place("web", "a new one") in range(1, 6)
