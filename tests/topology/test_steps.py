"""The story in steps, told from the shipped files."""

from __future__ import annotations

from emu.topology import steps


def test_each_numbered_topology_has_a_title_and_says_what_it_teaches():
    found = steps.steps()
    assert [each.number for each in found] == sorted(each.number for each in found)
    assert len(found) >= 7
    for each in found:
        assert each.title and each.teaches and each.adds, each.name


def test_a_step_says_what_it_adds_to_the_one_before():
    two, four = (each for each in steps.steps() if each.number in ("02", "04"))
    assert two.adds == ("+ database `db`", "web.uses: db")
    assert "+ balancer `lb`" in four.adds
    assert "`web`: 1 → 3" in four.adds


def test_members_of_regions_are_counted_in_words():
    before = {"web": {"kind": "web", "nodes": 4}, "db": {"kind": "database", "nodes": 3}}
    after = {"web": {"kind": "web", "per_region": 6},
             "db": {"kind": "database", "nodes": {"us": 2, "eu": 1}}}  # fmt: skip
    told = ["`web`: 4 → 6 in each region", "`db`: 3 → us 2, eu 1"]
    assert list(steps._differences(before, after)) == told


def test_tiers_that_go_or_turn_into_others_are_named():
    before = {"web": {"kind": "web"}, "store": {"kind": "database"}, "old": {"kind": "dns"}}
    after = {"web": {"kind": "web", "sticky": True}, "store": {"kind": "kv"}}
    assert list(steps._differences(before, after)) == [
        "- `old`", "web.sticky: true", "`store` is a kv, not a database",
    ]  # fmt: skip
