"""A file system that is really full: what is refused never happens, and reads go on."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import PATIENCE_S, Up, emu

TOPOLOGY = "name: full\ntiers:\n  db: {kind: database, nodes: NODES, disk: {sync: real}}\nACCEPTS"
ACCEPTS = "accepts: {single-point: a test}\n"
ROW = "printf('%.40000c', 'x')"


def mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A state folder of 2 MiB; `mount -o remount,size=` makes it another."""
    state = tmp_path / "state"
    state.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(state)):
        assert not os.environ.get("CI"), "CI must be able to mount a tmpfs"
        pytest.skip("only root may mount the small file system that this takes")
    yield state
    subprocess.run(["umount", "-l", str(state)], check=False)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 3])
def test_what_a_full_file_system_refuses_never_happens_and_reads_go_on(small, tmp_path, nodes):
    path = tmp_path / "full.yaml"
    path.write_text(TOPOLOGY.replace("NODES", str(nodes)).replace("ACCEPTS", ACCEPTS))
    up = Up(small, str(path))
    try:
        up.wait_ready()
        create = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)"
        assert emu(small, "sql", "db", "-c", create).exit_code == 0
        outcomes = {number: insert(small, number) for number in range(2048 // (40 * nodes) + 4)}
        assert {"ok", "no_space"} <= set(outcomes.values())
        assert set(outcomes.values()) <= {"ok", "no_space"}
        acknowledged = [number for number, each in outcomes.items() if each == "ok"]
        began_s = time.monotonic()
        assert there(small) == acknowledged
        assert time.monotonic() - began_s < PATIENCE_S / 3, "reads wait for nothing"
        assert mount("-o", "remount,size=16m", str(small))
        give_up_s = time.monotonic() + PATIENCE_S
        while insert(small, 1000) != "ok":
            assert time.monotonic() < give_up_s
        assert there(small) == [*acknowledged, 1000]
    finally:
        up.end()


def insert(state: Path, number: int) -> str:
    """How it ended: `ok`, or the error's code."""
    result = emu(state, "sql", "db", "--json", "-c", f"INSERT INTO t VALUES ({number}, {ROW})")
    told = json.loads(result.stdout)
    return str(told["error"]["code"]) if "error" in told else "ok"


def there(state: Path) -> list[int]:
    result = emu(state, "sql", "db", "--json", "-c", "SELECT id FROM t ORDER BY id")
    assert result.exit_code == 0, result.output
    return [row[0] for row in json.loads(result.stdout)["rows"]]
