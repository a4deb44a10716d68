"""Another version of a tier, and the one before it again."""

from __future__ import annotations

import pytest

from emu.operations.versions import changed
from emu.topology.loading import load


def test_who_had_the_built_in_site_can_go_back_to_it() -> None:
    topology = load("topologies/12-operations.yaml")
    new = changed(topology, "web", {"app": "bad_release:app"})
    assert new.config.app == "bad_release:app"
    assert changed(topology, "web", {"app": ""}).config == topology.tier("web").config
    with pytest.raises(ValueError, match="no_such"):
        changed(topology, "web", {"app": "no_such:app"})
