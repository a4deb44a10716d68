"""The documents are true: their code runs, their files exist, their sizes are kept."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import emu
from emu.cli.verbs import app
from emu.pytest_plugin import Opener
from emu.topology.loading import loads
from nodes.kind import Kind
from nodes.kinds import KINDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
PAGE_LINES = 60
SEEDS = 20


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def modules() -> Iterator[list[str]]:
    """Names of modules that the test makes up; gone afterwards."""
    made: list[str] = []
    yield made
    for name in made:
        del sys.modules[name]


def pretend_module(name: str, source: str, made: list[str]) -> dict[str, Any]:
    module = types.ModuleType(name)
    sys.modules[name] = module
    made.append(name)
    exec(compile(source, name, "exec"), module.__dict__)
    return module.__dict__


def ticket_tier(modules: list[str], change: tuple[str, str] = ("", "")) -> tuple[Any, Any]:
    """The example of CONTRIBUTING, perhaps with something changed: its topology and its script."""
    words, node, line, script = blocks(CONTRIBUTING, "python")
    (topology,) = blocks(CONTRIBUTING, "yaml")
    assert change[0] in node
    pretend_module("protocols.tickets", words, modules)
    names = pretend_module("nodes.tickets", node.replace(*change), modules)
    kinds: dict[str, Kind] = eval("{" + line + "}", {**names, "Kind": Kind})
    return loads(topology, kinds={**KINDS, **kinds}), pretend_module("story", script, modules)[
        "script"
    ]


def test_the_example_tier_keeps_its_promise_in_many_worlds(modules: list[str]) -> None:
    topology, script = ticket_tier(modules)
    for seed in range(SEEDS):
        emu.run(script, topology, seed=seed)


def test_the_example_tier_without_its_sync_is_found_out(modules: list[str]) -> None:
    topology, script = ticket_tier(modules, ("await self.ctx.disk.sync(LOG)", "pass"))
    with pytest.raises(AssertionError):
        for seed in range(SEEDS):
            emu.run(script, topology, seed=seed)


def test_the_scripts_of_the_readme_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    script, test = blocks(README, "python")
    exec(compile(script, "README.md", "exec"), {})
    assert "requests, " in capsys.readouterr().out
    names: dict[str, Any] = {}
    exec(compile(test, "README.md", "exec"), names)
    (story,) = (each for name, each in names.items() if name.startswith("test_"))
    (mark,) = story.pytestmark
    assert (mark.name, mark.args) == ("seeds", (100,))
    opener = Opener("sim", 1)
    opener.run(partial(story, opener))


@pytest.mark.parametrize("text", [README, ARCHITECTURE, CONTRIBUTING], ids=lambda text: text[:14])
def test_every_file_that_a_document_names_exists(text: str) -> None:
    named = re.findall(
        r"`((?:emu|nodes|protocols|tests|topologies|dashboards|\.ci)/[^`*<>{}]*)`", text
    )
    named += re.findall(r"\]\(([^)#:]+)\)", text)
    made_up = {"protocols/tickets.py", "nodes/tickets.py"}
    missing = [name for name in named if name not in made_up and not (ROOT / name).exists()]
    assert named and not missing


def test_every_verb_that_the_readme_types_exists() -> None:
    command: Any = get_command(app)
    known = set(command.list_commands(None))
    typed = set(re.findall(r"^\s*(?:\$ )?emu ([a-z]+)", README, re.MULTILINE))
    assert {"up", "kill", "load"} <= typed <= known


@pytest.mark.parametrize("path", sorted((ROOT / "topologies").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_topology_is_told_in_the_readme(path: Path) -> None:
    assert f"topologies/{path.name}" in README


def test_the_architecture_is_two_pages() -> None:
    assert len(ARCHITECTURE.splitlines()) <= 2 * PAGE_LINES
    assert max(len(line) for line in ARCHITECTURE.splitlines()) <= 130
