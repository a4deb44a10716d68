"""Scaling that could not be done, or not be undone, is refused; all other scaling can be undone."""

from __future__ import annotations

import re

import pytest

from emu.model.faults import Scale
from emu.running.targets import TargetError
from emu.scenario import Scenario, run
from emu.topology.loading import loads

STORE = "tiers: {kv: {kind: kv, shards: 2, replicas: 1, coordinators: 3}}"
GROUP = "tiers: {db: {kind: database, nodes: 3}, web: {kind: web, nodes: 2, uses: db}}"


def test_a_tier_without_data_goes_to_nothing_and_comes_back() -> None:
    async def script(c: Scenario) -> None:
        for _ in range(2):
            number = await c.cluster.inject(Scale("web", 0))
            assert not c.cluster.tier_instances("web")
            await c.cluster.undo(number)
            assert [slot.state for slot in c.cluster.tier_instances("web")] == ["up", "up"]
        await c.scale("web", 0)
        await c.scale("web", 3)
        assert len(c.cluster.tier_instances("web")) == 3
        await c.heal()
        assert len(c.cluster.tier_instances("web")) == 2

    run(script, loads(GROUP))


def test_two_scalings_of_one_tier_are_undone_at_once_and_in_any_order() -> None:
    async def script(c: Scenario) -> None:
        def sizes() -> list[int]:
            return [
                int(each["nodes"]) for each in c.cluster.events if each["event"] == "tier scaled"
            ]

        await c.scale("web", 5)
        await c.scale("web", 3)
        await c.heal()
        assert sizes() == [5, 3, 2]

        first = await c.cluster.inject(Scale("web", 5))
        second = await c.cluster.inject(Scale("web", 3))
        await c.cluster.undo(first)
        assert len(c.cluster.tier_instances("web")) == 3
        await c.cluster.undo(second)
        assert sizes() == [5, 3, 2, 5, 3, 2]

    run(script, loads(GROUP))


def test_a_refused_scaling_leaves_nothing_to_undo() -> None:
    async def script(c: Scenario) -> None:
        number = await c.cluster.inject(Scale("web", 3))
        with pytest.raises(TargetError):
            await c.cluster.inject(Scale("web", -1))
        await c.cluster.undo(number)
        assert len(c.cluster.tier_instances("web")) == 2

    run(script, loads(GROUP))


@pytest.mark.parametrize(
    ("file", "tier", "nodes", "why"),
    [
        (STORE, "kv-shard-1", 0, "`reshard` changes how many shards there are"),
        (STORE, "kv-shard-2", 1, "`reshard` changes how many shards there are"),
        (STORE, "kv-shard-1", 3, "`reshard` changes how many shards there are"),
        (STORE, "kv-coordinator", 1, "a group of voters that is founded with it"),
        (STORE, "kv-coordinator", 5, "a group of voters that is founded with it"),
        (GROUP, "db", 0, "the last member of `db` has its data: `stop` it instead"),
        (GROUP, "cache", 0, "no tier is called `cache`"),
        (GROUP, "web", -1, "a tier has 0 to"),
    ],
)
def test_what_could_not_be_undone_is_refused(file: str, tier: str, nodes: int, why: str) -> None:
    async def script(c: Scenario) -> None:
        before = list(c.cluster.instances)
        with pytest.raises(TargetError, match=re.escape(why)):
            await c.cluster.inject(Scale(tier, nodes))
        assert list(c.cluster.instances) == before
        assert not c.cluster.active

    run(script, loads(file))


def test_a_group_without_a_majority_lets_nobody_go_and_says_whose_votes_are_missing() -> None:
    async def script(c: Scenario) -> None:
        await c.kill("db-2")
        await c.pause("db-3")
        for nodes in (2, 1):
            why = "2 of 3 votes are missing: db-2 (killed), db-3 (paused)"
            with pytest.raises(TargetError, match=re.escape(why)):
                await c.cluster.scale("db", nodes)
        assert len(c.cluster.tier_instances("db")) == 3
        await c.unpause("db-3")
        await c.start("db-2")
        await c.scale("db", 1)
        assert len(c.cluster.tier_instances("db")) == 1
        await c.scale("db", 3)
        assert len(c.cluster.tier_instances("db")) == 3

    run(script, loads(GROUP))


def test_a_member_that_cannot_leave_stays_and_says_why() -> None:
    async def script(c: Scenario) -> None:
        await c.partition("db-3", "db-1,db-2")
        with pytest.raises(TargetError, match=r"db-3 stays in its group: still a member after 5 s"):
            await c.cluster.scale("db", 1)
        assert [slot.state for slot in c.cluster.tier_instances("db")] == ["up"] * 3
        await c.heal()
        await c.scale("db", 1)
        assert len(c.cluster.tier_instances("db")) == 1

    run(script, loads(GROUP))
