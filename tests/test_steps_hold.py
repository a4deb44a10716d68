"""Each step makes its point: by its own timeline it holds what it expects, and without its cure it
does not. The cures stand in docs/story.md."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from emu.machine.units import parse_value
from emu.seeds.run import SeedRun, run_seed
from emu.topology import shipped
from emu.topology.loading import load

STORY = Path(__file__).parents[1] / "docs" / "story.md"
ROW = re.compile(r"\| (\d\d) \| ([^|]+) \| `(emu sim [^|]+)` \| (\w+) \|")
SOAKED = 50
"""Seeds."""
QUICK = ("01", "02", "04", "07")
"""Whose both runs take less than some CPU seconds; the others are for the soak."""


@dataclass(frozen=True, slots=True)
class Cure:
    """What a step has, the command that runs it without that, and what is then missed."""

    step: str
    text: str
    command: str
    missed: str

    def __str__(self) -> str:
        return f"{self.step} {self.text}"

    def run(self, seed: int, *, taken_away: bool) -> SeedRun:
        """As the command says it; with the cure, as it says it without its settings."""
        words = shlex.split(self.command)
        assert words[:3] == ["emu", "sim", self.step]
        said = list(zip(words[3::2], words[4::2], strict=True))
        assert ("--faults", "timeline") in said
        for_s = parse_value("for_s", dict(said)["--for"])
        settings = tuple(value for option, value in said if option == "--set")
        assert settings and len(said) == 2 + len(settings)
        path = str(shipped.find(self.step))
        return SeedRun(path, seed, for_s, "timeline", settings=settings if taken_away else ())


CURES = [Cure(*match.groups()) for match in ROW.finditer(STORY.read_text("utf-8"))]
FILES = [shipped.find(name) for name in shipped.names() if name[:2].isdigit()]


def holds(cure: Cure, seed: int) -> None:
    found = run_seed(cure.run(seed, taken_away=False))
    assert found.anomaly == "", f"seed {seed}"
    assert found.summary is not None and found.summary["not_run"] == []


def fails(cure: Cure, seed: int) -> None:
    summary = run_seed(cure.run(seed, taken_away=True)).summary
    assert summary is not None
    missed = [each["text"] for each in summary["expectations"] if not each["held"]]
    assert any(each.startswith(cure.missed) for each in missed), (seed, missed)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_step_breaks_something_expects_something_and_has_its_cure_in_the_story(
    file: Path,
) -> None:
    topology = load(file)
    assert topology.faults and topology.expect
    assert file.stem[:2] in [cure.step for cure in CURES]


@pytest.mark.slow
@pytest.mark.parametrize("cure", [each for each in CURES if each.step in QUICK], ids=str)
def test_a_step_holds_what_it_expects_and_without_its_cure_it_does_not(cure: Cure) -> None:
    holds(cure, seed=1)
    fails(cure, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("cure", CURES, ids=str)
def test_any_step_holds_what_it_expects_in_many_seeds_and_without_its_cure_in_none(
    cure: Cure,
) -> None:
    for seed in range(1, SOAKED + 1):
        holds(cure, seed)
        fails(cure, seed)
