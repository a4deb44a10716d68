"""The documents are true: their code runs, their files exist, their sizes are kept."""

from __future__ import annotations

import json
import re
import socket
import sys
import types
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.main import get_command

import emu
from dashboards.board import panel_queries
from emu.cli.verbs import app
from emu.pytest_plugin import Opener
from emu.seeds.run import SeedRun, run_seed
from emu.topology.loading import loads
from nodes.kind import Kind
from nodes.kinds import KINDS
from tests.cli import running
from tests.cli.running import Up

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
PAGE_LINES = 60
SEEDS = 6


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


# --- a family with everything ---------------------------------------------------------------------

LOTTERY = ROOT / "tests" / "examples" / "lottery"


def test_a_family_with_everything_keeps_its_promise_under_its_own_faults_and_the_swarms() -> None:
    for faults in ("timeline", "swarm"):
        for seed in (1, 2):
            result = run_seed(SeedRun(str(LOTTERY / "lottery.yaml"), seed, 6.0, faults))
            assert result.anomaly == "", (faults, seed)


def test_its_own_model_finds_the_numbers_that_come_twice() -> None:
    path = str(LOTTERY / "forgetful.yaml")
    found = [run_seed(SeedRun(path, seed, 4.0, "timeline")) for seed in (1, 2)]
    assert {each.kind for each in found} - {""} == {"lottery"}
    assert any("was won twice" in each.anomaly for each in found)


@pytest.mark.slow
def test_it_is_operated_watched_and_broken_by_commands_that_know_nothing_of_it(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    up = Up(state, str(LOTTERY / "lottery.yaml"))
    up.wait_ready()
    emu_ = partial(running.emu, state)
    try:
        rows = json.loads(emu_("ps", "office", "--json").stdout)
        assert sorted(row["role"] for row in rows) == ["primary", "replica", "replica"]
        assert all(row["next"] > 0 for row in rows), "a fact of its own"
        url = urlsplit(emu_("url", "office", "--door", "board").stdout.strip())
        with socket.create_connection((url.hostname, url.port), timeout=10) as board:
            assert board.recv(100).startswith(b"next: ")
        told = emu_("void", "office", "--numbers", "3")
        assert (told.exit_code, told.stdout) == (0, "3 numbers are void\n")
        assert emu_("jam", "office-1", "--for", "5s").exit_code == 0
        assert "jam office-1" in emu_("faults").stdout
        page = json.loads(emu_("report", "--json").stdout)["status"]["nodes"]
        assert all("next" in node for node in page if node["tier"] == "office")
    finally:
        up.end()
    assert "Traceback" not in up.said


def test_its_dashboard_asks_for_what_it_measures() -> None:
    board = pretend_module("lottery_board", (LOTTERY / "board.py").read_text("utf-8"), made := [])
    queries = " ".join(query for _, query in panel_queries(board["BOARD"].to_json()))
    for name in made:
        del sys.modules[name]
    assert "emu_lottery_next" in queries
    assert '"lottery_next"' in (LOTTERY / "lottery.py").read_text("utf-8")


def test_contributing_shows_its_record_as_it_is() -> None:
    (shown,) = blocks(CONTRIBUTING, "py")
    assert shown in (LOTTERY / "lottery.py").read_text("utf-8")
