"""Every fault that can be said can be done."""

from __future__ import annotations

import pytest

from emu.model import faults
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
