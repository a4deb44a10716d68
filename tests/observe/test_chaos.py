"""The Chaos Toolkit drives emu: every verb is an action, and an experiment's journal says so."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from emu import chaos
from emu.model.vocabulary import verbs
from tests.observe.running import ROOT, Running, start
from tests.peers import need

EXPERIMENT = ROOT / "topologies" / "experiments" / "05-kill-the-primary.json"


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_is_an_action_with_its_own_fields(verb: str):
    parameters = inspect.signature(getattr(chaos, verb)).parameters
    assert list(parameters) == [each.name for each in fields(verbs()[verb])] + ["for_s", "cluster"]


def activities(experiment: dict[str, Any]) -> list[dict[str, Any]]:
    probes = experiment["steady-state-hypothesis"]["probes"]
    return [*probes, *experiment["method"], *experiment["rollbacks"]]


def test_the_shipped_experiment_names_functions_and_arguments_that_exist():
    for each in activities(json.loads(EXPERIMENT.read_text())):
        function = getattr(chaos, each["provider"]["func"])
        inspect.signature(function).bind(**each["provider"].get("arguments", {}))


def test_without_a_running_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("EMU_STATE_DIR", str(tmp_path))
    with pytest.raises(chaos.ClusterNotFound, match="there are: none"):
        chaos.all_up()


@pytest.mark.parametrize(
    ("held", "hold"), [([], True), ([True, None], True), ([True, False, None], False)]
)
def test_only_a_failed_expectation_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, held: list[bool | None], hold: bool
):
    judged = {"expectations": [{"text": "x", "held": each} for each in held]}
    monkeypatch.setattr(chaos, "ask", lambda cluster, method: judged)
    assert chaos.expectations_hold() is hold


@pytest.mark.slow
def test_probes_say_what_an_action_did(running: Running, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMU_STATE_DIR", running.environment["EMU_STATE_DIR"])
    running.until("status", lambda status: status["tiers"][-1]["rate_per_s"] > 20)
    assert chaos.all_up() and chaos.has_one_primary("db") and chaos.request_rate() > 20
    assert chaos.error_ratio() < 0.05
    assert chaos.latency_p99_s() > 0 and chaos.latency_p99_s("web") > 0
    number = chaos.pause(target="web-2")["number"]  # type: ignore[attr-defined]
    assert chaos.node_states("web") == {"web-1": "up", "web-2": "paused", "web-3": "up"}
    assert not chaos.all_up() and chaos.all_up("db")
    running.ask("undo", number)


@pytest.mark.slow
def test_the_real_chaos_run_kills_a_primary_and_its_journal_says_that_the_steady_state_held(
    tmp_path: Path,
):
    own = shutil.which("chaos", path=str(Path(sys.executable).parent))
    program = own or need("chaos", install="pip install 'emu[chaos]'")
    block = start("topologies/05-replication.yaml")
    running = next(block)
    running.until("status", lambda status: status["tiers"][-1]["rate_per_s"] > 1)
    journal = tmp_path / "journal.json"
    words = ["--no-version-check", "--log-file", str(tmp_path / "log"), "run",
             "--journal-path", str(journal), str(EXPERIMENT)]  # fmt: skip
    found = subprocess.run(
        [program, *words], env=running.environment, cwd=ROOT, text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    told = json.loads(journal.read_text())
    assert found.returncode == 0, found.stderr
    assert told["status"] == "completed" and told["deviated"] is False
    assert told["steady_states"]["before"]["steady_state_met"] is True
    assert told["steady_states"]["after"]["steady_state_met"] is True
    outputs = {run["activity"]["name"]: run["output"] for run in told["run"]}
    (before,), (after,) = outputs["who-was-primary"], outputs["who-is-primary"]
    assert outputs["kill-the-primary"]["changed"] == {before: "killed"}
    assert after != before
    assert [each["status"] for each in told["rollbacks"]] == ["succeeded"]
    with pytest.raises(StopIteration):
        next(block)
