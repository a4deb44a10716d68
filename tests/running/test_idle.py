"""What comes to nothing is on the record, and nobody is told that it was done."""

from __future__ import annotations

import pytest

from emu.model.faults import Fault, Heal, Kill, Scale, Start, Unpause
from emu.observe.annotations import spans
from emu.scenario import Scenario, run
from emu.topology.loading import loads

FILE = "tiers: {box: {kind: web, nodes: 2}}"


@pytest.mark.parametrize("fault", [Unpause("box"), Start("box-1"), Scale("box", 2), Heal()])
def test_what_is_so_already_is_no_deed(fault: Fault) -> None:
    async def script(c: Scenario) -> None:
        await c.cluster.inject(fault)
        assert [each["verb"] for each in c.cluster.timeline] == [fault.verb]
        assert spans(c.cluster.timeline, [], (), ()) == []

    run(script, loads(FILE))


@pytest.mark.parametrize("fault", [Start("box-1"), Scale("box", 3), Heal()])
def test_what_changes_something_is_one(fault: Fault) -> None:
    async def script(c: Scenario) -> None:
        await c.cluster.inject(Kill("box-1"))
        await c.cluster.inject(fault)
        told = [span["kind"] for span in spans(c.cluster.timeline, [], (), ())]
        assert told == ["fault", "operation"]

    run(script, loads(FILE))
