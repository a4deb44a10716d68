"""Ctrl-C in a campaign of seeds that runs in this process: what was run until then is told."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from nodes.users.node import UsersNode
from tests.cli.conftest import Verb
from tests.cli.running import TINY

USERS = "users:\n  local: {rate: 20/s, visits: web}\n"
VISITS = 60


@pytest.mark.parametrize("more", [(), ("--until-reached",)], ids=["seeds", "until-reached"])
def test_ctrl_c_tells_what_was_run(
    emu: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    """It comes in the middle of a node's code, as it does mostly."""
    begin, visits = UsersNode._begin, 0

    def begun(node: UsersNode, *given: Any) -> None:
        nonlocal visits
        visits += 1
        if visits == VISITS:
            signal.raise_signal(signal.SIGINT)
        begin(node, *given)

    monkeypatch.setattr(UsersNode, "_begin", begun)
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY + USERS)
    result = emu(
        "sim", str(file), "--for", "2s", "--seeds", "9", "--jobs", "1", "--faults", "none",
        "--json", *more,
    )  # fmt: skip
    assert result.exit_code == 130
    assert 0 < json.loads(result.stdout)["seeds"] < 9
    assert "seeds, 0 failed" in result.stderr and "Traceback" not in result.stderr
