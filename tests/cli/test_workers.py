"""`emu up --workers 2`: what a person does to shipped topologies, judged, with nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.running import PATIENCE_S, TESTED_WORKERS, Up, emu

pytestmark = pytest.mark.slow
OWN_FILE = Path(__file__).name
TOPOLOGIES = Path(__file__).parents[2] / "topologies"


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a short name: a socket's path has an end."""
    return tmp_path_factory.mktemp("workers") / "s"


@pytest.mark.parametrize("name", ["04-load-balancer", "05-replication"])
def test_a_topology_on_two_workers_is_used_broken_and_judged(name: str, state: Path) -> None:
    up = Up(state, str(TOPOLOGIES / f"{name}.yaml"), "--workers", "2", "--faults", "none", "--json")
    try:
        facts = up.wait_ready(3 * PATIENCE_S)  # three processes import what one does otherwise
        assert sorted(each["process"] for each in facts["workers"]) == [1, 2]
        spread = [[node for node in each["nodes"] if node.startswith("web-")]
                  for each in facts["workers"]]  # fmt: skip
        assert sorted(map(len, spread)) == [1, 2], "a tier's members are spread evenly"
        up.wait_used()
        assert urlopen(facts["site"], timeout=PATIENCE_S).status == 200
        primary = "db primary" if name.startswith("05") else "db"
        assert emu(state, "kill", primary, "--for", "1s").exit_code == 0
        os.kill(facts["workers"][0]["pid"], signal.SIGKILL)
        until_said(state, "process killed")
        assert up.end(signal.SIGINT) in (0, 4), up.said
        summary = json.loads(up.stdout.splitlines()[-1])
        assert (summary["anomalies"], summary["lost_acknowledged_writes"]) == ([], 0)
        assert summary["requests"] > 0
    finally:
        up.process.kill()
        up.process.wait()
    assert not any(is_alive(each["pid"]) for each in facts["workers"])


def test_what_it_cannot_do_with_workers_it_says(state: Path) -> None:
    file = str(TOPOLOGIES / "04-load-balancer.yaml")
    wrong = emu(state, "up", file, "--workers", "none")
    assert wrong.exit_code == 2 and "neither 1 to 64 nor auto" in wrong.stderr
    wrong = emu(state, "up", file, "--workers", "2", "--no-aliases")
    assert wrong.exit_code == 2 and "127.N" in wrong.stderr


@pytest.mark.soak
def test_the_whole_suite_of_the_command_passes_with_two_workers() -> None:
    """What is about one process alone says so itself (by `--no-aliases`, or its own number)."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/cli", f"--deselect=tests/cli/{OWN_FILE}"],
        cwd=TOPOLOGIES.parent,
        env={**os.environ, TESTED_WORKERS: "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]


def until_said(state: Path, event: str) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while event not in emu(state, "events", "--json").stdout:
        assert time.monotonic() < give_up_s
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
