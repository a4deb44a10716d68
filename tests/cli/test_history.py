"""What a simulated run's clients saw, written down and judged again by `emu check`."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from emu.cli.verbs import app

LESSON = str(Path(__file__).parents[1] / "examples" / "lost_update" / "lost-update.yaml")


def sim(*words: str) -> Result:
    arguments = ["sim", LESSON, "--seed", "1", "--for", "15s", "--faults", "timeline", "--json"]
    arguments.append("--no-shrink")
    return CliRunner().invoke(app, [*arguments, *words])


def test_a_failing_seed_writes_a_history_that_emu_check_finds_wrong_too(tmp_path):
    result = sim("--history", str(tmp_path / "seen"))
    assert result.exit_code == 4, result.output
    (failed,) = json.loads(result.stdout)["failed"]
    path = tmp_path / "seen" / "seed-1" / "kv.jsonl"
    checked = CliRunner().invoke(app, ["check", str(path), "--model", "kv", "--json"])
    assert checked.exit_code == 4
    (anomaly,) = json.loads(checked.stdout)["anomalies"]
    assert failed["anomaly"].endswith(anomaly["text"])


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    result = sim("--history", str(tmp_path / "file" / "seen"))
    assert result.exit_code == 1 and "Not a directory" in result.stderr
