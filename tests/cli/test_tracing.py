"""`emu trace`: the same run as `emu sim`, as text, as a picture, as a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from emu.cli.verbs import app

ROOT = Path(__file__).parents[2]
STEP_1 = str(ROOT / "topologies" / "01-single-server.yaml")
LESSON = str(ROOT / "tests" / "examples" / "lost_update" / "lost-update.yaml")


def trace(*words: str) -> Result:
    return CliRunner().invoke(app, ["trace", *words], env={"COLUMNS": "100"})


def test_one_request_of_a_user_is_followed_on_the_terminal():
    result = trace(STEP_1, "--for", "2s", "--faults", "none", "--request", "4")
    assert result.exit_code == 0, result.output
    head, first, *more = result.stdout.splitlines()
    assert head.split() == ["time", "users-local-1", "web-1", "took", "request"]
    assert "├──" in first and "▶│" in first
    assert any(re.search(r"◀╌+ 20\d \w+ ╌+┤", line) for line in more)


def test_a_picture_and_a_page_are_written(tmp_path):
    for name, beginning in (("run.svg", "<svg "), ("run.html", "<!doctype html>")):
        out = tmp_path / name
        result = trace(STEP_1, "--for", "1s", "--faults", "none", "--node", "web-1", "-o", str(out))
        assert result.exit_code == 0, result.output
        assert out.read_text().startswith(beginning) and "web-1" in out.read_text()
        assert str(out) in result.stderr.replace("\n", "")


def test_without_a_question_it_shows_what_led_to_the_anomaly():
    result = trace(LESSON, "--for", "15s", "--faults", "timeline")
    assert result.exit_code == 0, result.output
    assert "counter-1" in result.stdout and "counter-2" in result.stdout
    assert 'in this run: kv, key "clicks": incr →' in result.stderr


def test_without_a_question_a_run_that_was_only_too_slow_shows_its_slowest_request(tmp_path):
    file = tmp_path / "slow.yaml"
    file.write_text(
        "tiers: {web: {kind: web, public: true}}\n"
        "users: {local: {rate: 20/s, visits: web}}\n"
        "faults: [{at: 1s, slow: users-local, latency: 700ms, for: 300ms}]\n"
        "expect: [latency_p99 <= 10ms]\n"
    )
    result = trace(str(file), "--for", "3s", "--faults", "timeline", "-o", str(tmp_path / "x.svg"))
    assert result.exit_code == 0, result.output
    told = result.stderr.replace("\n", "")
    assert re.search(r"request \d+, the slowest: 700 ms", told)
    assert "in this run: expected latency_p99 <= 10ms, it was" in told


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--request", "100000"], 1, "there is no request 100000: users made"),
        (["--node", "web-9"], 2, "no node `web-9`; there are: dns-1, web-1, users-local-1"),
        (["-o", "run.png"], 2, "the name must end in .svg or .html"),
        (["--from", "90s"], 1, "no message fits"),
        (["-o", "/no/such/folder/run.svg"], 1, "cannot write"),
        (["--faults", "many"], 2, "not one of swarm, timeline, none"),
    ],
)
def test_what_cannot_be_drawn_is_said(words, code, told):
    result = trace(STEP_1, "--for", "1s", "--faults", "none", *words)
    assert result.exit_code == code and told in result.stderr.replace("\n", "")
