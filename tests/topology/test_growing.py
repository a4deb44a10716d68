"""A fault names a node that the file does not have: a mistake, unless somebody may scale its
tier."""

from __future__ import annotations

import pytest

from emu.model.problems import TopologyError
from emu.topology.loading import loads

THREE = """
tiers:
  db: {kind: database, nodes: 3}
faults:
"""


def test_a_node_that_never_is_is_a_mistake_and_says_how_many_there_are():
    with pytest.raises(TopologyError) as raised:
        loads(THREE + "  - {at: 2s, kill: db-4, for: 3s}\n")
    (problem,) = raised.value.problems
    assert "there is no `db-4`; `db` has 3 nodes, and nothing here scales it" in str(problem)


@pytest.mark.parametrize("scale", ["scale: db, nodes: 4", "scale: {tier: db, nodes: 4}"])
def test_a_node_that_comes_by_scaling_may_be_named(scale: str):
    topology = loads(THREE + f"  - {{at: 1s, {scale}}}\n  - {{at: 5s, kill: db-4, for: 3s}}\n")
    assert len(topology.faults) == 2
