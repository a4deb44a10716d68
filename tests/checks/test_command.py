"""`emu check` as a script sees it: exit codes, JSON, words."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from emu.checks.history_file import write_history
from emu.cli.verbs import app
from tests.checks.histories import did, recorded, saw


def run(path, *words: str):
    return CliRunner().invoke(app, ["check", str(path), *words])


@pytest.fixture
def stale(tmp_path):
    path = tmp_path / "stale.jsonl"
    history = recorded(did("a", "write", 5), did("b", "write", 7), saw("a", "read", 5))
    write_history(path, history.operations)
    return path


def test_a_valid_history_exits_with_0(tmp_path):
    path = tmp_path / "good.jsonl"
    write_history(path, recorded(did("a", "write", 5), saw("b", "read", 5)).operations)
    result = run(path, "--model", "register", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "valid": True, "operations": 2, "anomalies": [], "unknown": []
    }  # fmt: skip


def test_a_wrong_history_exits_with_4_and_names_its_operations(stale):
    result = run(stale, "--model", "register", "--json")
    assert result.exit_code == 4
    found = json.loads(result.stdout)
    assert found["valid"] is False
    (anomaly,) = found["anomalies"]
    assert "7 had been acknowledged at 4 s" in anomaly["text"]
    assert [each["index"] for each in anomaly["operations"]] == [0, 2, 4]


def test_people_read_the_anomaly_and_its_operations(stale):
    result = run(stale, "--model", "register")
    assert result.exit_code == 4
    assert "register: read by a at 6 s returned 5, but 7" in result.stdout
    assert "#4 a: read → 5  [5 s to 6 s, ok]" in result.stdout
    assert "register, 3 operations: NOT valid" in result.stdout


def test_too_few_steps_exit_with_1_and_say_unknown(stale):
    result = run(stale, "--model", "cas-register", "--steps", "1", "--json")
    assert (result.exit_code, json.loads(result.stdout)["valid"]) == (4, False), "no search needed"
    with open(stale, "a") as more:
        about = {"process": "z", "f": "cas", "time": 9}
        more.write(json.dumps({"index": 6, **about, "type": "invoke", "value": [5, 6]}) + "\n")
    result = run(stale, "--model", "cas-register", "--steps", "1", "--json")
    assert (result.exit_code, json.loads(result.stdout)["valid"]) == (1, "unknown")


def test_a_malformed_line_exits_with_1_and_its_number(stale):
    with open(stale, "a") as more:
        more.write("{\n")
    result = run(stale, "--model", "register", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{stale}:7: not a JSON object" in result.stderr


def test_a_missing_file_exits_with_1_and_an_unknown_model_with_2(stale, tmp_path):
    assert run(tmp_path / "none", "--model", "register").exit_code == 1
    result = run(stale, "--model", "regster")
    assert result.exit_code == 2 and "there are: register, cas-register" in result.stderr
