"""Warnings about valid topologies: each one appears where it should, and `accepts:` explains it."""

from __future__ import annotations

import pytest

from emu.model.problems import TopologyError
from emu.topology.lint import codes, lint, unaccepted
from emu.topology.loading import loads
from nodes.kinds import KINDS

BASE = """
tiers:
  dns: {kind: dns, public: true, zone: example.test, answers: lb, nodes: 2}
  lb: {kind: balancer, public: true, balances: web, nodes: 2}
  web: {kind: web, nodes: 2, uses: db}
  db: {kind: database, nodes: 3}
users: {local: {rate: 10/s, visits: lb, resolver: dns}}
"""

SERVED = BASE.replace("balances: web, nodes: 2", "balances: web, nodes: {local: 2}")
FAR = f"""
regions: [local, far]
links: {{defaults: {{between: 9ms}}}}
{SERVED.replace("users: {local", "users: {far")}"""


def warned(text: str) -> list[str]:
    return [f"{each.code} {each.tier}".strip() for each in lint(loads(text))]


def test_a_sound_topology_has_no_warning() -> None:
    assert warned(BASE) == []


@pytest.mark.parametrize(
    ("change", "to", "found", "message"),
    [
        ("answers: lb, nodes: 2", "answers: lb", ["single-point dns"],
         "`dns` is a single point of failure; give it `nodes: 2` or more"),
        ("nodes: 2, uses: db", "nodes: 0, uses: db", ["single-point web"],
         "`web` has no nodes; give it `nodes: 1`, or scale it later"),
        ("nodes: 2, uses: db", "nodes: 2", ["unused-tier db"],
         "nothing uses `db`: it is private and no other tier names it"),
        ("{kind: database", "{kind: database, public: true", ["public-private db"],
         "`db` keeps data and is public; remove `public: true`"),
        ("web: {kind: web", "web: {kind: web, public: true", ["public-private web"],
         "`web` is public, so clients can go around `lb`"),
        ("answers: lb", "answers: web", ["public-private dns"],
         "`dns` answers with `web`, which is private; give `web` `public: true`"),
        ("nodes: 2, uses", "nodes: 2, cpu: {cores: 1, service_time: 1s}, uses",
         ["impossible-rate web"], "users ask 10/s of `web`, whose cpus can do 2/s: overload"),
        ("nodes: 2, uses", "nodes: 2, cpu: {cores: 64, service_time: 1ms}, uses",
         ["beyond-laptop web"], "`web` can do 128000/s, one process on a laptop about 5000/s"),
        ("nodes: 3", "nodes: 2", ["no-failover db"],
         "`db` is a group of two: no automatic failover"),
        ("nodes: 3", "nodes: 2, witnesses: 1", ["no-failover db"], "give it another node"),
        ("nodes: 3", "nodes: 4, spares: 2", ["no-failover db"],
         "`db` has two votes: no automatic failover (one alone is no majority)"),
        ("tiers:", "regions: [local, far]\ntiers:", ["plain-regions"],
         "several regions and no latency between them; add `links:"),
    ],
)  # fmt: skip
def test_a_surprise_is_warned_of(change: str, to: str, found: list[str], message: str) -> None:
    text = BASE.replace(change, to, 1)
    assert warned(text) == found
    assert message in str(lint(loads(text))[0])


@pytest.mark.parametrize(
    ("to", "found"),
    [
        ("nodes: 3, witnesses: 3", "6:45: `db` has 3 nodes: 3 witnesses and 0 spares leave none "
         "for data; give it `nodes: 4` or more, or fewer of those"),
        ("nodes: 3, spares: 5", "give it `nodes: 6` or more"),
        ("nodes: 3, spares: 2", "no spare can take its place; give it `nodes: 5`, or no spares"),
        ("nodes: 4, witnesses: 2, spares: 1", "give it `nodes: 5`, or no spares"),
        ("nodes: 3, witnesses: 1, spares: 2", "1 witnesses and 2 spares leave none for data"),
    ],
)  # fmt: skip
def test_a_group_without_a_node_for_its_data_is_a_mistake(to: str, found: str) -> None:
    with pytest.raises(TopologyError) as refusal:
        loads(BASE.replace("nodes: 3", to, 1))
    assert found in str(refusal.value)


def test_rates_beyond_the_laptop_are_warned_of_along_the_way_they_take() -> None:
    text = BASE.replace("rate: 10/s", "rate: 6000/s")
    assert warned(text) == ["beyond-laptop lb", "beyond-laptop web"]
    assert "`lb` is asked for 6000/s" in str(lint(loads(text))[0])


def test_a_topology_without_a_public_tier_is_warned_of() -> None:
    assert "public-private" in warned("tiers: {web: {kind: web, nodes: 2}}")


def test_a_warning_says_where_its_tier_stands() -> None:
    (found,) = lint(loads(BASE.replace("answers: lb, nodes: 2", "answers: lb"), path="t.yaml"))
    assert str(found).startswith("t.yaml:3:3: ")
    assert str(found).endswith("[single-point]")


def test_accepted_warnings_are_not_shown_but_kept_with_their_reason() -> None:
    text = BASE.replace("answers: lb, nodes: 2", "answers: lb").replace("nodes: 3", "nodes: 1")
    topology = loads(text + "accepts: {single-point dns: a lesson}\n")
    assert [each.tier for each in unaccepted(topology)] == ["db"]
    assert {each.tier: each.accepted for each in lint(topology)} == {"dns": "a lesson", "db": ""}
    everything = loads(text + "accepts: {single-point: a lesson}\n")
    assert unaccepted(everything) == []


def test_every_warning_has_a_case_here() -> None:
    cases = [BASE.replace("rate: 10/s", "rate: 6000/s"), FAR]
    mark = test_a_surprise_is_warned_of.pytestmark[0]  # type: ignore[attr-defined]
    seen = {found[0].split()[0] for _, _, found, _ in mark.args[1]}
    seen |= {word.split()[0] for text in cases for word in warned(text)}
    assert seen == set(codes(KINDS.values()))


def test_people_whose_region_has_nothing_of_what_they_visit_are_told_where_they_go() -> None:
    (found,) = lint(loads(FAR))
    assert found.code == "far-users" and found.tier == "users-far"
    assert "nothing of `lb` is in far; each request crosses to local" in str(found)
    accepted = f"{FAR}accepts: {{far-users: it is the lesson}}\n"
    assert unaccepted(loads(accepted)) == []
