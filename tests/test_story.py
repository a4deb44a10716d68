"""docs/story.md: each line names a step that ships and a command that the step's cluster takes; and
what the story does to a step, the step bears."""

from __future__ import annotations

import re
import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

import emu
from emu.cli import faulting, nodes
from emu.cli.verbs import app
from emu.model.faults import VERBS, Fault
from emu.topology import shipped
from emu.topology.loading import load
from tests.topology.understood import Understood

ROW = re.compile(r"\| (?P<line>[^|]+) \| (?P<step>[\w/-]+) \| `(?P<command>emu [^`]+)` \|")
PAUSE_S = 6.0
"""Between two commands: what was done is undone, and found."""


class Row(NamedTuple):
    line: str
    step: str
    command: str

    @property
    def file(self) -> Path:
        name = self.step if self.step.isdigit() or self.step == "full" else f"{self.step}.yaml"
        return shipped.find(name) if name == self.step else shipped.FOLDER / name


ROWS = [
    Row(**match.groupdict())
    for match in ROW.finditer((Path(__file__).parents[1] / "docs" / "story.md").read_text("utf-8"))
]
STEPS = list(dict.fromkeys(row.step for row in ROWS))


def told(row: Row, monkeypatch: pytest.MonkeyPatch) -> list[Fault]:
    """Type the command at a stand-in for the step's cluster; what it asks to be done."""
    cluster = Understood(load(row.file))
    monkeypatch.setattr(faulting, "attached", lambda *_, **__: nullcontext(cluster))
    monkeypatch.setattr(nodes, "ask", lambda _, method, *params: cluster.call(method, *params))
    words = shlex.split(row.command)[1:]
    if words[0] not in VERBS:
        assert CliRunner().invoke(app, [words[0], "--help"]).exit_code == 0
        return []
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    return cluster.faults


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.step}: {row.command}")
def test_each_line_has_a_step_and_a_command_that_it_takes(
    row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert row.file.is_file()
    told(row, monkeypatch)


def test_every_step_that_ships_has_its_line() -> None:
    numbered = [name[:2] for name in shipped.names() if name[:2].isdigit()]
    assert [number for number in numbered if number not in STEPS] == []


def bears(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [fault for row in ROWS if row.step == step for fault in told(row, monkeypatch)]
    topology = load(next(row.file for row in ROWS if row.step == step))

    async def script(c: emu.Scenario) -> emu.Finished:
        await c.sleep(PAUSE_S)
        for fault in faults:
            await c.inject(fault, for_s=3.0 if fault.breaks else None)
            await c.sleep(PAUSE_S)
        return await c.finish([])

    summary = emu.run(script, topology, seed=1)
    assert summary["anomalies"] == []
    assert summary["lost_acknowledged_writes"] == 0


@pytest.mark.parametrize("step", ["04", "05"])
def test_what_the_story_does_to_a_step_loses_nothing(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bears(step, monkeypatch)


@pytest.mark.soak
@pytest.mark.parametrize("step", [step for step in STEPS if "/" not in step])
def test_what_the_story_does_to_any_step_loses_nothing(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bears(step, monkeypatch)
