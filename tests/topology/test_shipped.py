"""Every topology that ships loads, teaches in its first lines, and warns of nothing unexplained."""

from __future__ import annotations

import re
import shlex
from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner

from emu.cli import faulting, nodes
from emu.cli.verbs import app
from emu.model import faults
from emu.topology.lint import lint, unaccepted
from emu.topology.loading import load
from tests.topology.understood import Understood

ROOT = Path(__file__).parents[2]
STEPS = sorted((ROOT / "topologies").glob("*.yaml"))
EXPERIMENTS = sorted((ROOT / "topologies" / "experiments").glob("*.yaml"))
SHIPPED = [*STEPS, *EXPERIMENTS]


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
    assert f"emu up {path.relative_to(ROOT)}" in opening


def commands_of(path: Path) -> list[str]:
    """The `emu ...` lines of a file's opening, without what is said of them."""
    found = re.findall(r"^#   (emu .+)$", path.read_text(), re.MULTILINE)
    return [line.partition("  ")[0] for line in found]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_command_that_it_proposes_is_understood(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Understood(load(path))
    monkeypatch.setattr(faulting, "attached", lambda *_, **__: nullcontext(cluster))
    monkeypatch.setattr(nodes, "ask", lambda _, method, *params: cluster.call(method, *params))
    proposed = [shlex.split(line)[1:] for line in commands_of(path)]
    assert proposed[0][0] == ("up" if path in STEPS else "sim")
    for words in proposed[1:]:
        if words[0] in faults.VERBS or words[0] == "call":
            before = cluster.asked
            answer = CliRunner().invoke(app, words)
            assert answer.exit_code == 0, (words, answer.output)
            assert cluster.asked == before + 1, words
        else:
            assert CliRunner().invoke(app, [words[0], "--help"]).exit_code == 0, words
