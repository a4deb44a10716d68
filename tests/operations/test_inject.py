"""Every fault that can be said can be done."""

from __future__ import annotations

import pytest

from emu.model import faults
from emu.model.problems import TopologyError
from emu.model.vocabulary import operations, verbs
from emu.operations.inject import meant, operation_of, read
from emu.running import inject
from emu.running.targets import TargetError
from emu.scenario import Scenario, run
from emu.topology.loading import loads


def test_every_verb_is_a_general_fault_or_an_operation_of_a_kind():
    assert set(inject.INJECTORS) == set(faults.VERBS.values())
    assert set(verbs()) == {*faults.VERBS, *operations()}
    assert {"promote", "reshard"} <= set(operations())


def test_a_tier_need_not_be_said_where_there_is_only_one():
    async def one(c: Scenario) -> None:
        word = read(c.cluster, {"verb": "queue topics", "tier": ""})
        assert word == operations()["queue topics"].word("jobs")
        with pytest.raises(TargetError, match="this cluster has no sharded kv tier"):
            meant(c.cluster, operation_of(c.cluster, "reshard"), "")

    async def two(c: Scenario) -> None:
        with pytest.raises(TargetError, match="say which queue tier; there is: jobs, mail"):
            read(c.cluster, {"verb": "queue topics", "tier": ""})

    jobs = "jobs: {kind: queue, public: true, replicas: 0}"
    run(one, loads(f"tiers: {{{jobs}}}"))
    run(two, loads(f"tiers: {{{jobs}, {jobs.replace('jobs', 'mail')}}}"))


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("promote: web-1", "`promote`: `web-1` is no database tier; there is: db"),
        ("reshard: db, to: 3", "`reshard`: `db` is no sharded kv tier; there is: kv"),
        ("promote: db-1", ""),
        ("promote: one db", ""),
        ("reshard: kv, to: 3", ""),
    ],
)
def test_what_cannot_be_done_to_a_tier_is_a_mistake_of_the_file(fault: str, found: str) -> None:
    text = f"""
faults: [{{at: 1s, {fault}}}]
tiers:
  web: {{kind: web, uses: db, public: true}}
  db: {{kind: database, nodes: 3}}
  kv: {{kind: kv, shards: 2}}
"""
    if not found:
        loads(text)
        return
    with pytest.raises(TopologyError) as caught:
        loads(text)
    (only,) = caught.value.problems
    assert f"2:28: {found}" in str(only)
