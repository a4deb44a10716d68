"""Faults that hold the same node: it lives again when the last ends, or somebody says so."""

from __future__ import annotations

from itertools import permutations

import pytest

from emu.model.faults import Crash, Fault, Kill, Pause, Start, Stop, Unpause, Wipe
from emu.scenario import Scenario, run
from emu.topology.loading import loads

FILE = "tiers: {box: {kind: web, nodes: 2}}"


@pytest.mark.parametrize(
    "faults",
    [(Kill("box-1"), Crash("box-1"), Wipe("box")), (Stop("box"), Kill("box-1"), Kill("box-1")),
     (Pause("box"), Pause("box-1"), Pause("box-1"))],
)  # fmt: skip
def test_the_last_that_ends_lets_the_node_live(faults: tuple[Fault, ...]) -> None:
    async def script(c: Scenario) -> None:
        box = c.cluster.instances["box-1"]
        for order in permutations(range(len(faults))):
            numbers = [await c.cluster.inject(each) for each in faults]
            for place in order:
                assert box.shown_state != "up", order
                await c.cluster.undo(numbers[place])
            assert box.shown_state == "up", order
            await c.cluster.heal()

    run(script, loads(FILE))


def test_with_ends_of_their_own() -> None:
    async def script(c: Scenario) -> None:
        await c.kill("box-1", for_s=4)
        await c.sleep(2)
        await c.crash("box-1", for_s=4)
        await c.sleep(3)
        assert c.cluster.instances["box-1"].state == "killed"
        back = await c.until("node up", tier="box")
        assert back["time_s"] >= 6

    run(script, loads(FILE))


@pytest.mark.parametrize(
    ("hold", "release"), [(Kill, Start("box-1")), (Pause, Unpause("box-1"))]
)  # fmt: skip
def test_who_was_let_live_by_hand_is_held_no_more(hold: type[Fault], release: Fault) -> None:
    async def script(c: Scenario) -> None:
        box = c.cluster.instances["box-1"]
        both = await c.cluster.inject(hold("box"))
        await c.cluster.inject(release)
        assert box.shown_state == "up"
        again = await c.cluster.inject(hold("box-1"))
        await c.cluster.undo(again)
        assert box.shown_state == "up"
        await c.cluster.undo(both)
        assert c.cluster.instances["box-2"].shown_state == "up"

    run(script, loads(FILE))


def test_healing_lets_all_live() -> None:
    async def script(c: Scenario) -> None:
        for fault in (Kill("box-1"), Crash("box"), Stop("box-2"), Pause("box")):
            await c.cluster.inject(fault)
        await c.cluster.heal()
        assert [each.shown_state for each in c.cluster.instances.values()] == ["up", "up"]
        assert not c.cluster.active

    run(script, loads(FILE))
