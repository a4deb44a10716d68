"""Ctrl-C in a campaign of seeds: what was run until then is told. Who is killed leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from nodes.users.node import UsersNode
from tests.cli.conftest import Verb
from tests.cli.running import TINY

USERS = "users:\n  local: {rate: 20/s, visits: web}\n"
VISITS = 60


@pytest.mark.parametrize("more", [(), ("--until-reached",)], ids=["seeds", "until-reached"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_campaign_tells_what_was_run(
    emu: Verb,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sent: signal.Signals,
    more: tuple[str, ...],
) -> None:
    """It comes in the middle of a node's code, as it does mostly."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    begin, visits = UsersNode._begin, 0

    def begun(node: UsersNode, *given: Any) -> None:
        nonlocal visits
        visits += 1
        if visits == VISITS:
            signal.raise_signal(sent)
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
    assert ", 0 failed" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.slow
def test_the_processes_of_a_campaign_that_is_killed_end_too(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY + USERS)
    words = ("sim", str(file), "--seeds", "9", "--for", "10h", "--jobs", "2", "--faults", "none")
    killed = subprocess.Popen([sys.executable, "-m", "emu", *words], stderr=subprocess.DEVNULL)
    own = Path(f"/proc/{killed.pid}/task/{killed.pid}/children")
    workers: list[str] = []
    try:
        until(lambda: sum(each in busy() for each in own.read_text().split()) == 2)
        workers = own.read_text().split()
        killed.kill()
        killed.wait()
        until(lambda: not any(each in busy() for each in workers))
    finally:
        with suppress(OSError):
            workers += own.read_text().split()
        for each in (str(killed.pid), *workers):
            with suppress(ProcessLookupError):
                os.kill(int(each), signal.SIGKILL)
        killed.wait()


def busy() -> list[str]:
    """Processes of campaigns that have computed for a second: they have begun with a seed."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            used = (process / "stat").read_text().rpartition(")")[2].split()[11]
            if "spawn_main" in (process / "cmdline").read_text() and int(used) > 100:
                found.append(process.name)
    return found


def until(is_so: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 20.0
    while not is_so():
        assert time.monotonic() < give_up_s
        time.sleep(0.05)
