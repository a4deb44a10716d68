"""A valid file becomes the machines, links and faults that it says; two files become a plan."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest

from emu.machine.links import PLAIN, Links, Shape
from emu.model.faults import Cpu, Kill, Partition, Scale, Slow
from emu.model.problems import TopologyError
from emu.model.shaping import ACCESS_LINES
from emu.model.topology import Topology, diff
from emu.topology.loading import loads
from tests.topology.kinds import KINDS


def read(text: str) -> Topology:
    return loads(text, path="folder/My File.yaml", kinds=KINDS)


def shapes(topology: Topology, *pairs: tuple[str, str]) -> list[Shape]:
    where = {each.spec.name: (each.spec.tier, each.spec.region) for each in topology.placements()}
    shaper = topology.links.shaper(where, topology.outside)
    return [shaper(source, target)[0] for source, target in pairs]


def test_what_is_left_out_has_its_default() -> None:
    topology = read("tiers: {web: {kind: site}}")
    assert (topology.name, topology.seed, topology.regions) == ("my-file", 0, ("local",))
    (placement,) = topology.placements()
    assert (placement.spec.name, placement.spec.public, placement.restart) == ("web-1", False, "no")
    assert placement.spec.cpu.cores == 0, "nothing is charged"
    assert placement.config.buffer_bytes == 65536
    assert not (topology.faults or topology.expect or topology.accepts)


def test_units_reach_the_config_in_seconds_and_bytes() -> None:
    topology = read(
        "tiers: {web: {kind: site, buffer: 1MiB, line: 8Mbit, share: 25%, limits: {rate: 30/m}},"
        " lb: {kind: front, balances: web, check_interval: 500ms}}"
    )
    web, lb = topology.tier("web").config, topology.tier("lb").config
    assert (web.buffer_bytes, web.line_bytes_per_s, web.share_ratio) == (1 << 20, 1e6, 0.25)
    assert (web.limits.rate_per_s, web.limits.most_bytes) == (0.5, 1000)
    assert lb.check_interval_s == 0.5


@pytest.mark.parametrize(
    ("count", "regions"),
    [
        ("", ["us"]),
        ("nodes: 3", ["us", "eu", "us"]),
        ("per_region: 2", ["us", "eu", "us", "eu"]),
        ("nodes: {eu: 2, us: 1}", ["us", "eu", "eu"]),
        ("nodes: 2, regions: [eu]", ["eu", "eu"]),
        ("nodes: 0", []),
    ],
)
def test_members_are_spread_over_regions_in_turn(count: str, regions: list[str]) -> None:
    topology = read(f"regions: [us, eu]\ntiers: {{web: {{kind: site, {count}}}}}")
    assert [each.spec.region for each in topology.placements()] == regions


def test_scaling_keeps_names_and_fills_the_emptiest_region() -> None:
    topology = read("regions: [us, eu]\ntiers: {web: {kind: site, nodes: 3}, a: {kind: site}}")
    grown = topology.scaled("web", 5)
    assert grown.tier("web").members == ("us", "eu", "us", "eu", "us")
    assert topology.scaled("web", 1).tier("web").node_names == ["web-1"]
    assert grown.tier("a") == topology.tier("a")
    with pytest.raises(KeyError):
        topology.scaled("nope", 2)


def test_a_tier_may_dial_what_its_edges_name_and_its_peers() -> None:
    topology = read(
        "tiers: {lb: {kind: front, balances: web}, web: {kind: site, uses: [db, kv]},"
        " db: {kind: store}, kv: {kind: sharded}}"
    )
    dials = {tier.name: tier.dials for tier in topology.tiers}
    assert dials["lb"] == ("web",)
    assert dials["web"] == ("db", "kv-shard-1", "kv-shard-2", "kv-coordinator")
    assert dials["db"] == ("db",)


def test_a_kind_that_expands_becomes_a_group_of_tiers() -> None:
    topology = read("tiers: {kv: {kind: sharded, shards: 3}}")
    assert [tier.name for tier in topology.tiers] == [
        "kv-shard-1", "kv-shard-2", "kv-shard-3", "kv-coordinator"]  # fmt: skip
    assert {tier.group for tier in topology.tiers} == {"kv"}
    assert len(topology.placements()) == 9


def test_the_special_link_overrides_the_general_and_inherits_what_it_leaves_out() -> None:
    topology = read("""
regions: [us, eu]
tiers: {web: {kind: site, per_region: 2}, db: {kind: site, per_region: 1}}
links:
  defaults: {within: 1ms, between: 40ms, jitter: 2ms, bandwidth: 8Mbit}
  us -> eu: 38ms
  web <-> db: {loss: 1%}
  web-1 -> db-2: {latency: 70ms, bandwidth: 0}
""")
    inside, cross, back, both, node = shapes(
        topology, ("web-1", "web-3"), ("web-1", "web-2"), ("web-2", "web-1"), ("web-3", "db-1"),
        ("web-1", "db-2"))  # fmt: skip
    assert inside == Shape(0.001, 0.002, 0.0, 1e6)
    assert (cross.latency_s, back.latency_s) == (0.038, 0.04)
    assert both == Shape(0.001, 0.002, 0.01, 1e6)
    assert node == Shape(0.07, 0.002, 0.01, 0)


def test_outside_crosses_its_access_line_both_ways() -> None:
    topology = read("""
regions: [us, eu]
tiers: {web: {kind: site, per_region: 1}}
links: {defaults: {within: 1ms, between: 40ms}}
outside: {region: us, link: {latency: 5ms, bandwidth: 8Mbit}}
""")
    near, far, back = shapes(
        topology, ("outside", "web-1"), ("outside", "web-2"), ("web-2", "outside")
    )
    assert near == Shape(0.005, 0, 0, 1e6)
    assert far.latency_s == back.latency_s == 0.045
    assert shapes(read("tiers: {web: {kind: site}}"), ("outside", "web-1")) == [PLAIN]


def test_an_access_line_comes_on_top_of_every_link_and_is_each_nodes_own() -> None:
    topology = read("""
regions: [us, eu]
tiers:
  web: {kind: site, per_region: 1}
  phones: {kind: site, nodes: 2, access: 4g}
links: {defaults: {within: 1ms, between: 40ms, bandwidth: 1Gbit}}
outside: {region: us, link: {latency: 5ms}}
""")
    where = {each.spec.name: (each.spec.tier, each.spec.region) for each in topology.placements()}
    access = dict.fromkeys(("phones-1", "phones-2"), ACCESS_LINES["4g"])
    shaper = topology.links.shaper(where, topology.outside, access)
    near, line = shaper("phones-1", "web-1")
    assert astuple(near) == pytest.approx((0.051, 0, 0.001, 2.5e6))
    assert astuple(shaper("web-2", "phones-1")[0]) == pytest.approx((0.09, 0, 0.001, 2.5e6))
    assert len({line, shaper("phones-2", "web-1")[1], shaper("web-1", "phones-1")[1]}) == 3
    assert shaper("outside", "phones-1")[0].latency_s == pytest.approx(0.055)
    links = Links("1")
    topology.arm(links)
    assert links.link("phones-1", "web-1").latency_s == pytest.approx(0.051)


def test_faults_are_read_in_both_of_their_spellings() -> None:
    topology = read("""
tiers: {web: {kind: site, nodes: 3}}
faults:
  - {at: 10s, kill: one web}
  - {at: 1m, partition: [web-1, "web-2,web-3"], mode: reject, for: 5s}
  - {on: promoted, after: 500ms, slow: {target: web, latency: 40ms}}
  - {at: 0, scale: web, nodes: 5}
  - {at: 1s, cpu: web, cores: 2}
""")
    kill, cut, slow, scale, cpu = topology.faults
    assert (kill.fault, kill.at_s) == (Kill("one web"), 10.0)
    assert (cut.fault, cut.at_s, cut.for_s) == (
        Partition(("web-1", "web-2,web-3"), mode="reject"), 60.0, 5.0)  # fmt: skip
    assert (slow.fault, slow.on, slow.at_s) == (Slow("web", latency_s=0.04), "promoted", 0.5)
    assert (scale.fault, cpu.fault) == (Scale("web", 5), Cpu("web", 2))


def test_a_plan_says_what_a_changed_file_does_to_each_node() -> None:
    old = read("tiers: {web: {kind: site, nodes: 3}, db: {kind: store}, a: {kind: site}}")
    new = read("""
tiers: {web: {kind: site, nodes: 4}, db: {kind: store, detection: 2s}, b: {kind: site}}
links: {defaults: {within: 1ms}}
""")
    plan = diff(old, new)
    assert plan.added == ("web-4", "b-1")
    assert plan.removed == ("a-1",)
    assert plan.restarted == ("db-1",)
    assert plan.reconfigured == ("links",)
    assert plan.lines() == ["add: web-4, b-1", "remove: a-1", "restart: db-1",
                            "change in place: links"]  # fmt: skip


def test_moving_a_fault_in_the_file_is_no_change() -> None:
    text = "tiers: {web: {kind: site}}\nfaults: [{at: 1s, kill: web}]\n"
    plan = diff(read(text), read("# a comment\n" + text))
    assert not plan and plan.lines() == ["no change"]


def test_a_kind_that_runs_where_nothing_is_known_of_is_a_problem_at_its_tier() -> None:
    text = "tiers:\n  web: {kind: site}\n  far: {kind: away}\n"
    kinds = {**KINDS, "away": replace(KINDS["site"], runner="procces")}
    with pytest.raises(TopologyError) as caught:
        loads(text, kinds=kinds, runners=["process"])
    assert str(caught.value) == (
        "topology.yaml:3:3: kind `away` runs in `procces`, of which nothing is known here; "
        "did you mean `process`?"
    )
    assert loads(text, kinds=kinds, runners=["procces"]).tier("far").kind.runner == "procces"
