"""Stories that some seeds tell on purpose: each where a Kind says that it can bear it."""

from __future__ import annotations

from collections import Counter

import pytest

from emu.model import faults
from emu.model.topology import Topology
from emu.seeds import swarm, themes
from emu.seeds.variation import varied
from emu.topology.loading import loads

GROUP = """
tiers:
  db: {kind: database, nodes: %d, detection_timeout: 1s}
  readers: {kind: clients, asks: db, workload: register, reads: replicas}
  writers: {kind: clients, asks: db, workload: register}
"""
SEEDS = range(150)


def drawn(nodes: int):
    topology = loads(GROUP % nodes)
    return [swarm.draw(topology, seed, 60.0) for seed in SEEDS]


def cuts_of(topology: Topology) -> list[dict[float | None, tuple[str, ...]]]:
    """Of each seed: all cuts that begin at one time, as pairs of groups."""
    found = []
    for seed in SEEDS:
        begun: dict[float | None, tuple[str, ...]] = {}
        for each in swarm.draw(topology, seed, 60.0):
            if isinstance(each.fault, faults.Partition) and not each.on:
                begun[each.at_s] = (*begun.get(each.at_s, ()), " | ".join(each.fault.between))
        found.append(begun)
    return found


def test_a_leader_is_cut_off_with_some_of_its_clients_and_the_others_turn_away():
    together = {pair for begun in cuts_of(loads(GROUP % 3)) for pair in begun.values()}
    assert ("db primary,readers-1 | db", "db primary | writers-1") in together
    assert ("db primary,writers-1 | db", "db primary | readers-1") in together


STORE = """
tiers:
  kv: {kind: kv, public: true, shards: 1, replicas: 1, coordinators: 3}
  writers: {kind: clients, asks: kv, workload: register}
"""


def test_a_leader_is_cut_off_from_its_witness_in_another_tier_or_from_its_own_members_alone():
    far = {pair.split(" | ")[1] for begun in cuts_of(loads(STORE)) for pairs in begun.values()
           for pair in pairs if pair.startswith("kv-shard-1 primary")}  # fmt: skip
    assert {"kv-shard-1,kv-coordinator", "kv-shard-1"} <= far


def test_too_few_members_of_a_large_group_stay_with_a_leader_that_is_cut_off():
    def near(nodes: int) -> set[int]:
        pairs = [pair for begun in cuts_of(loads(GROUP % nodes)) for each in begun.values()
                 for pair in each]  # fmt: skip
        sides = [pair.split(" | ")[0].split(",") for pair in pairs if pair.endswith(" | db")]
        return {sum(name.startswith("db-") for name in each) for each in sides
                if "db primary" in each}  # fmt: skip

    assert near(3) == {0}
    assert near(5) == {0, 1}


def test_a_group_is_restarted_after_one_of_it_was_filled_up():
    found = [each for seed in drawn(3) for each in seed if each.on == "snapshot installed"]
    assert {each.fault for each in found} == {faults.Restart("db")}
    assert 0.2 * len(SEEDS) < len(found) < 0.8 * len(SEEDS)


def test_members_who_only_read_stay_with_a_leader_that_who_writes_does_not_reach():
    """What one wants to write there holds up what others are answered: it would hide an old
    leader."""
    topology = varied_to(GROUP % 3, {"readers": 2, "writers": 2})
    together = {pair for begun in cuts_of(topology) for pair in begun.values()}
    others = "db primary | readers-1,readers-2,writers-1"
    assert ("db primary,writers-2 | db", others) in together


def varied_to(text: str, sizes: dict[str, int]) -> Topology:
    """As a seed has it that gives these tiers so many members."""
    topology = loads(text)
    return next(
        each
        for each in (varied(topology, seed) for seed in range(1000))
        if all(len(each.tier(name).members) == size for name, size in sizes.items())
    )


FAR = """
regions: [us, eu, ap]
tiers:
  db: {kind: database, nodes: {us: 2, eu: 2, ap: 1}, detection_timeout: 1s}
  writers: {kind: clients, regions: [us, eu], per_region: 1, asks: db, workload: register}
"""


def test_a_region_is_cut_off_with_its_people_or_without_for_as_long_as_an_election_takes():
    topology = loads(FAR)
    cuts = [
        each for seed in SEEDS for each in swarm.draw(topology, seed, 60.0)
        if isinstance(each.fault, faults.Partition) and each.fault.between[1] == "all"
    ]  # fmt: skip
    alone = [each for each in cuts if each.fault.between[0] == "region us,writers-1"]
    assert alone and all(1.8 <= each.for_s <= 3.5 for each in alone)
    by_chance = {each.fault.between[0] for each in cuts}
    assert {"us", "us,writers-1", "eu", "eu,writers-2"} <= by_chance


def test_clients_of_one_tier_are_on_both_sides_of_a_cut():
    together = {pair for begun in cuts_of(loads(FAR)) for pair in begun.values()}
    assert ("db primary,writers-1 | db", "db primary | writers-2") in together


def test_one_way_and_then_the_other_is_cut_within_the_length_of_a_lease():
    stages = 0
    for items in drawn(3):
        cuts = [each for each in items if isinstance(each.fault, faults.Partition) and not each.on]
        for one in cuts:
            stages += any(
                other.fault.between == one.fault.between[::-1]
                and one.fault.one_way
                and other.fault.one_way
                and 0.3 <= other.at_s - one.at_s <= 1.2
                for other in cuts
            )
    assert stages > len(SEEDS) / 20


@pytest.mark.parametrize(("nodes", "most"), [(1, 0), (2, 0), (3, 1), (5, 2)])
def test_so_many_disks_are_lost_as_the_others_make_up_for(nodes, most):
    wiped = [sum(each.fault.verb == "wipe" for each in items) for items in drawn(nodes)]
    assert max(wiped) == most


def test_power_fails_in_writes_of_files_that_are_written_seldom():
    aimed = {
        each.fault.file for items in drawn(1) for each in items
        if isinstance(each.fault, faults.Crash) and each.fault.in_write
    }  # fmt: skip
    assert aimed == {"", "log", "snapshot"}


def test_fresh_members_join_a_group_and_leave_it_again():
    scaled = [each for items in drawn(3) for each in items if isinstance(each.fault, faults.Scale)]
    assert scaled and all(each.fault.nodes == 4 and each.for_s for each in scaled)


def test_some_clients_ask_in_bursts_and_none_thinks_longer_than_its_file_says():
    topology = loads(GROUP % 3)
    configs = [varied(topology, seed).tier("writers").config for seed in SEEDS]
    assert {each.burst for each in configs} == {0, 4, 16}
    declared_s = topology.tier("writers").config.think_time_s
    assert all(each.think_time_s <= declared_s for each in configs)


def test_what_fills_copies_comes_late_and_who_keeps_them_goes_twice():
    cached = loads(
        """
tiers:
  cache: {kind: cache, nodes: 2, fills_from: db}
  db: {kind: database, nodes: 3}
  readers: {kind: clients, asks: cache, uses: db, workload: lookaside}
"""
    )
    late, twice = Counter[str](), 0
    for seed in range(50):
        drawn = swarm.draw(cached, seed, 20.0)
        late.update(
            each.fault.to.partition("-")[0]
            for each in drawn
            if isinstance(each.fault, faults.Slow) and each.fault.target == "db"
        )
        kills = [each for each in drawn if isinstance(each.fault, faults.Kill)]
        for one in kills:
            begun_s, lasts_s = one.at_s or 0.0, one.for_s or 0.0
            twice += any(
                other.fault == one.fault and 0.2 <= (other.at_s or 0.0) - begun_s - lasts_s <= 0.6
                for other in kills
            )
    assert late["cache"] > 4 and late["readers"] > 4 and twice > 1, (late, twice)


def test_a_topology_without_copies_is_drawn_as_if_there_were_none_anywhere():
    """Themes of one family shift no other family's seeds."""
    plain = loads("tiers: {db: {kind: database, nodes: 3}}")
    for seed in range(30):
        before = swarm.draw(plain, seed, 20.0)
        with pytest.MonkeyPatch.context() as swap:
            swap.setattr(swarm, "THEMES", [each for each in themes.THEMES if each != themes.copies])
            assert swarm.draw(plain, seed, 20.0) == before


def test_a_group_is_larger_in_some_seeds_and_who_is_alone_stays_alone():
    def sizes(nodes: int) -> set[int]:
        topology = loads(GROUP % nodes)
        return {len(varied(topology, seed).tier("db").members) for seed in SEEDS}

    assert (sizes(3), sizes(1), sizes(7)) == ({3, 5}, {1}, {7})


def test_of_clients_that_a_seed_makes_more_the_new_ones_only_read():
    topology = loads(GROUP % 3)
    tiers = [varied(topology, seed).tier("writers") for seed in SEEDS]
    assert {(len(each.members), each.config.writers) for each in tiers} == {(1, 0), (2, 1)}


def test_all_of_a_group_loses_power_at_once_where_its_disks_keep_what_it_promised():
    def outages(text: str) -> int:
        topology = loads(text)
        drawn = [each.fault for seed in SEEDS for each in swarm.draw(topology, seed, 30.0)]
        return sum(isinstance(each, faults.Crash) and each.target == "db" for each in drawn)

    assert outages(GROUP % 3)
    assert not outages((GROUP % 3).replace("nodes: 3", "nodes: 3, ack: async"))


def test_answers_come_late_to_whoever_leads_and_not_the_other_way():
    slowed = [
        each.fault for items in drawn(3) for each in items
        if isinstance(each.fault, faults.Slow) and each.fault.to == "db primary"
    ]  # fmt: skip
    assert {each.one_way for each in slowed} == {True, False}
    assert all(0.15 <= each.latency_s <= 0.85 for each in slowed)
