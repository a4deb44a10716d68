"""Every topology that ships loads, teaches in its first lines, and warns of nothing unexplained."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.topology.lint import lint, unaccepted
from emu.topology.loading import load

SHIPPED = sorted((Path(__file__).parents[2] / "topologies").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_it_loads_without_a_mistake_or_an_unexplained_warning(path: Path) -> None:
    topology = load(path)
    assert topology.placements()
    assert [str(each) for each in unaccepted(topology)] == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_it_accepts_would_be_warned_of(path: Path) -> None:
    topology = load(path)
    warned = {word for each in lint(topology) for word in (each.code, f"{each.code} {each.tier}")}
    assert [word for word in topology.accepts or {} if word not in warned] == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_it_opens_with_what_it_teaches_and_what_to_try(path: Path) -> None:
    opening = path.read_text().partition("\nname:")[0]
    assert all(line.startswith("#") for line in opening.splitlines() if line)
    assert "What it teaches" in opening and "# Try:" in opening
    assert f"emu up topologies/{path.name}" in opening
