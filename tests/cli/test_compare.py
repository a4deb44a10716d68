"""`emu compare`: the same seeds, load and faults on both sides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from emu.cli.compare import _enough_s
from emu.cli.verbs import app
from emu.topology.loading import load

TWO = str(Path(__file__).parents[2] / "topologies" / "02-web-and-database.yaml")


def compare(*words: str) -> Result:
    return CliRunner().invoke(app, ["compare", *words], env={"COLUMNS": "120"})


def test_one_word_changed_is_told_row_by_row(tmp_path):
    page = tmp_path / "page.html"
    words = ["--set", "links.defaults.within=20ms", "-n", "2", "--for", "2s", "-j", "1"]
    result = compare(TWO, *words, "--faults", "none", "--json", "-o", str(page))
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["b"], found["seeds"]) == (
        "web-and-database with links.defaults.within=20ms",
        2,
    )
    rows = {row["name"]: row for row in found["rows"]}
    slower = rows["latency_p50_s"]
    assert slower["low"] > 0.03 and slower["b"] > slower["a"]
    assert set(slower) == {"name", "a", "b", "difference", "low", "high"}
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([TWO], "or one and what to --set"),
        ([TWO, TWO, "--set", "db.ack=async"], "or one and what to --set"),
        ([TWO, TWO, "--seeds", "0"], "--seeds is from 1"),
        ([TWO, TWO, "--for", "0s"], "--for must be above 0"),
        ([TWO, TWO, "--faults", "some"], "`some` is not one of"),
    ],
)
def test_what_cannot_be_compared_is_said(words, told):
    result = compare(*words)
    assert result.exit_code == 2
    assert told in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("step", "enough_s"),
    [("05-replication", 30.0), ("02-web-and-database", 21.0), ("13-millions-of-users", 60.0)],
)
def test_each_run_lasts_until_the_file_has_done_what_it_does(step, enough_s):
    topology = load(Path(TWO).parent / f"{step}.yaml")
    assert _enough_s(topology) == enough_s
