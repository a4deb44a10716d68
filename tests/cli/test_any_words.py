"""Whatever is typed where no cluster runs: a verb says what is wrong, and shows no traceback."""

from __future__ import annotations

import random
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from emu.cli.verbs import app

WORDS = ("", "web", "db primary", "--for", "5s", "-5s", "nan", "1e400", "--json", "--to", "nobody",
         "--rate", "0/s", "x" * 300, "--", "-", "*", "web=5", "web=-1", "9" * 30, "--topic",
         "\u00e4", "a.yaml", "/dev/null", "--cluster", "--seeds", "0", "{}", "[1",
         "--help")  # fmt: skip
LEFT_ALONE = ("up", "new", "sim", "compare", "plan", "trace")
"""They do what they are told, at length, or write files."""
RESULTS = (0, 1, 2, 3, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("most_verbs", "times"), [(8, 2), pytest.param(99, 20, marks=pytest.mark.soak)]
)
def test_any_words_are_answered_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_verbs: int, times: int
) -> None:
    monkeypatch.setenv("EMU_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    rng, runner = random.Random(1), CliRunner()
    command = typer.main.get_command(app)
    with command.make_context("emu", ["--version"], resilient_parsing=True) as context:
        verbs = [each for each in command.list_commands(context) if each not in LEFT_ALONE]
    assert len(verbs) > 25
    for verb in rng.sample(verbs, min(most_verbs, len(verbs))):
        for _ in range(times):
            words = [verb, *(rng.choice(WORDS) for _ in range(rng.randrange(4)))]
            result = runner.invoke(app, words, input="")
            line = shlex.join(words)
            assert result.exception is None or isinstance(result.exception, SystemExit), line
            assert result.exit_code in RESULTS, (line, result.exit_code)
