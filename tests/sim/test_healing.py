"""`healing: off`: nobody is started again, and no spare takes a dead member's place."""

from __future__ import annotations

from typing import Any

import pytest

import emu
from emu.model.problems import TopologyError
from emu.topology.loading import loads

SPARES = """
name: healing
tiers:
  db: {kind: database, nodes: 4, spares: 1, replace_after: 2s, public: true, restart: on-failure}
"""


async def two_die(c: emu.Scenario) -> Any:
    """One after the other, with time to mend it between: who votes then, and who leads."""
    await c.sql("db", "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL)")
    await c.kill("db primary")
    await c.sleep(12)
    await c.kill("db primary")
    await c.sleep(12)
    roles = [row["role"] for row in await c.ps("db") if row["state"] == "up"]
    return sorted(roles), [str(each["why"]) for each in c.events("member changed")]


def test_a_spare_takes_the_place_of_a_dead_member_so_a_second_death_is_borne() -> None:
    roles, changes = emu.run(two_die, loads(SPARES), seed=1)
    assert roles == ["primary", "replica"]
    assert any("takes the place of" in each for each in changes)


def test_without_healing_a_second_death_leaves_nobody_to_lead() -> None:
    topology = loads(SPARES, settings=["healing=off"])
    assert [tier.restart for tier in topology.tiers] == ["no"]
    roles, changes = emu.run(two_die, topology, seed=1)
    assert "primary" not in roles
    assert not any("takes the place of" in each for each in changes)


@pytest.mark.parametrize("value", ["off", "false", "on", "true"])
def test_on_and_off_are_read_by_either_version_of_yaml(value: str) -> None:
    topology = loads(f"{SPARES}healing: {value}\n")
    healed = topology.tiers[0].restart == "on-failure"
    assert healed == (value in ("on", "true"))


def test_another_word_is_a_mistake_with_its_place() -> None:
    for word in ("sometimes", "[off]", "1"):
        with pytest.raises(TopologyError, match=r"topology.yaml:5:\d+: `healing` is on or off"):
            loads(f"{SPARES}healing: {word}\n")
