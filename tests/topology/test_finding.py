"""What ships is found by its name or number, wherever emu is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.topology import shipped


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("03", "03-vertical-scaling"),
        ("04-load-balancer", "04-load-balancer"),
        ("topologies/04-load-balancer.yaml", "04-load-balancer"),
        ("03-async-or-quorum", "experiments/03-async-or-quorum"),
        ("experiments/03", "experiments/03-async-or-quorum"),
        ("topologies/experiments/03-async-or-quorum.yaml", "experiments/03-async-or-quorum"),
    ],
)
def test_a_step_and_an_experiment_are_found_by_name_and_number(
    word: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.find(word) == shipped.FOLDER / f"{found}.yaml"


@pytest.mark.parametrize("word", ["nope", "experiments/12", "../03", "04-load", "x" * 5000])
def test_what_names_none_or_two_is_left_as_it_is(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.find(word) == Path(word)
