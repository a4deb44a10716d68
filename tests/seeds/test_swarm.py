"""What the swarm draws: the same for the same seed, bounded, and undone by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emu.model import faults
from emu.seeds import chances, planned, swarm
from emu.topology.loading import load, loads
from emu.topology.writing import with_timeline

FOUR = load("topologies/04-load-balancer.yaml")
REPLICATED = loads(
    """
tiers:
  db: {kind: database, nodes: 5}
  web: {kind: web, public: true, nodes: 4, uses: db, cpu: {cores: 2, service_time: 1ms}}
users:
  local: {rate: 5/s, visits: web}
"""
)
SEEDS = range(150)


def test_the_same_seed_draws_the_same_and_others_draw_otherwise():
    drawn = [swarm.draw(FOUR, seed, 60.0) for seed in SEEDS]
    assert drawn == [swarm.draw(FOUR, seed, 60.0) for seed in SEEDS]
    assert len(set(drawn)) > 0.9 * len(SEEDS)


def test_whole_regions_end_where_every_group_has_its_majority_elsewhere():
    text = """
regions: [us, eu, ap]
tiers:
  db: {kind: database, nodes: {us: 2, eu: 2, ap: 1}}
  web: {kind: web, public: true, regions: [us, eu], per_region: 1, uses: db}
"""
    regions = {"region us", "region eu", "region ap", "us", "eu", "ap"}

    def hit(text: str) -> dict[str, set[str]]:
        drawn = [each.fault for seed in SEEDS for each in swarm.draw(loads(text), seed, 40.0)]
        found: dict[str, set[str]] = {}
        for fault in drawn:
            (words, *_) = fault.between if isinstance(fault, faults.Partition) else (
                getattr(fault, "target", ""),)  # fmt: skip
            if words in regions:
                found.setdefault(fault.verb, set()).add(words)
        return found

    found = hit(text)
    assert found["kill"] == found["crash"] == found["pause"] == {
        "region us", "region eu", "region ap"}  # fmt: skip
    assert {"us", "eu", "ap"} <= found["partition"]
    assert "region us" not in hit(text.replace("{us: 2, eu: 2, ap: 1}", "{us: 3, eu: 2}"))["kill"]


def test_all_kinds_of_faults_come_up():
    verbs = {item.fault.verb for seed in SEEDS for item in swarm.draw(REPLICATED, seed, 60.0)}
    assert verbs == {
        "kill", "crash", "pause", "restart", "partition", "slow", "loss", "throttle", "disk",
        "skew", "scale", "cpu", "promote", "late", "wipe",
    }  # fmt: skip


@pytest.mark.parametrize("topology", [FOUR, REPLICATED], ids=["04", "replicated"])
def test_only_so_many_faults_are_active_at_once_and_each_ends_within_the_run(topology):
    for seed in SEEDS:
        timed = [item for item in swarm.draw(topology, seed, 60.0) if not item.on]
        for item in timed:
            assert item.for_s is not None or item.fault.verb in ("restart", "promote", "reshard")
            assert item.at_s + (item.for_s or 0.0) < 60.0
            active = [
                each for each in timed if each.at_s <= item.at_s < each.at_s + (each.for_s or 0.0)
            ]
            assert len(active) <= max(chances.MOST_AT_ONCE)


def test_a_tier_never_loses_half_of_its_members_to_timed_faults():
    for seed in SEEDS:
        timed = [item for item in swarm.draw(REPLICATED, seed, 60.0) if not item.on]
        lost = [
            (item.at_s, item.at_s + item.for_s, item.fault.target.split(",")[0].split("-")[0])
            for item in timed
            if isinstance(item.fault, faults.Kill | faults.Crash | faults.Pause)
        ]
        for at_s, _, tier in lost:
            together = [each for each in lost if each[0] <= at_s < each[1] and each[2] == tier]
            assert len(together) <= 2  # of five


def test_faults_follow_a_promotion_only_where_somebody_can_be_promoted():
    def followed(topology):
        items = [item for seed in SEEDS for item in swarm.draw(topology, seed, 60.0)]
        return sum(item.on == "promoted" for item in items)

    assert followed(REPLICATED) > len(SEEDS) / 4
    assert followed(FOUR) == 0


def test_nothing_is_damaged_unless_asked_for():
    def flips(damage):
        items = [i for seed in SEEDS for i in swarm.draw(REPLICATED, seed, 60.0, damage=damage)]
        return [item for item in items if getattr(item.fault, "flip_bit", "")]

    assert not flips(None)
    assert flips(chances.Damage(flip_bits=True))


def test_what_is_drawn_can_be_written_down_and_read_back():
    path = Path(FOUR.path)
    for seed in range(20):
        drawn = swarm.draw(FOUR, seed, 60.0)
        read = loads(with_timeline(path, drawn), path=path).faults
        assert tuple(replace(item, line=0) for item in read) == drawn


def test_power_also_fails_in_the_middle_of_writes_of_those_who_keep_something():
    items = [item for seed in SEEDS for item in swarm.draw(REPLICATED, seed, 60.0)]
    cuts = [item.fault for item in items if isinstance(item.fault, faults.Crash)]
    in_write = [each for each in cuts if each.in_write]
    assert len(in_write) > len(SEEDS) / 2
    assert all(each.target.startswith("db") for each in in_write)


def test_what_operators_do_touches_only_tiers_that_can_spare_a_member_one_at_a_time():
    for seed in SEEDS:
        items = planned.draw(REPLICATED, seed, 60.0)
        assert items == planned.draw(REPLICATED, seed, 60.0)
        assert {item.fault.verb for item in items} <= {"restart", "scale", "promote"}
        ends = [item.at_s + (item.for_s or 0.0) for item in items]
        assert all(end < after.at_s for end, after in zip(ends, items[1:], strict=False))
        assert all("web" not in repr(item.fault) for item in items)  # public: nobody chooses
    touched = {item.fault.target for seed in SEEDS for item in planned.draw(FOUR, seed, 60.0)
               if isinstance(item.fault, faults.Restart)}  # fmt: skip
    assert touched == {"web-1", "web-2", "web-3"}
