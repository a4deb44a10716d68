"""The promise of step 11 with real sockets, disks and time: slots move while clients write, and
nobody notices but by a pause of milliseconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emu.control.client import ControlClient
from tests.bench.reshard import KEYS, WRITES_PER_S, emu_reshard, writing
from tests.live.running import ROOT, Running, emu_up

STORE = """
name: resharding
links: {defaults: {within: 0.3ms, bandwidth: 1Gbit}}
tiers:
  kv: {kind: kv, public: true, shards: 3, replicas: 1, coordinators: 3, partitioner: slots}
"""
IDEAL_RATIO = 1 / 4
"""Of all keys: what 3 → 4 shards, and 4 → 3, must move at least."""


def there_and_back(state: Path, keys: int, per_s: int) -> dict[str, Any]:
    """Three shards, four, three, under load: what the clients and the moves saw."""
    file = state / "store.yaml"
    file.write_text(STORE)
    with emu_up(state, str(file), "--fresh") as running:
        with writing("msgpack", *running.address("kv-router-1"), keys, per_s) as seen:
            assert seen["filled"] == keys, seen
            up, down = emu_reshard(running, 4), emu_reshard(running, 3)
    print(json.dumps({"clients": seen, "to 4": up, "to 3": down}, indent=1))
    for summary in (up, down):
        assert summary["outcome"] == "done" and summary["aborted"] == 0
    assert seen["errors"] == {} and seen["unanswered"] == 0
    assert seen["lost"] == 0
    return {"clients": seen, "up": up, "down": down}


@pytest.mark.slow
def test_slots_move_live_without_an_error_or_a_lost_write(tmp_path: Path) -> None:
    found = there_and_back(tmp_path, 2_000, 100)
    assert set(found["down"]["shares"]) == {f"kv-shard-{number}" for number in (1, 2, 3)}


@pytest.mark.slow
def test_shards_that_came_by_a_reshard_stay_whatever_the_file_says(tmp_path: Path) -> None:
    """`shards: 3` founds a store. `up` on the same file takes no shard away, and after an end all
    four come back with their data."""
    file, state = tmp_path / "store.yaml", tmp_path / "state"
    file.write_text(STORE)
    state.mkdir()
    names = [f"user:{number}" for number in range(40)]
    with emu_up(state, str(file)) as running:
        for name in names:
            kv(running, "set", name, name)
        assert emu_reshard(running, 4)["outcome"] == "done"
        again = emu(running, "up", str(file))
        assert "running as the file says" in again and "keep: the 4 shards of kv" in again
        assert kv(running, "mget", names) == names
    with emu_up(state, str(file)) as running:
        assert "kv-shard-4-1" in running.nodes
        assert kv(running, "mget", names) == names
        assert emu_reshard(running, 3)["outcome"] == "done"
    with emu_up(state, str(file)) as running:
        assert "kv-shard-4-1" not in running.nodes
        assert kv(running, "mget", names) == names


def emu(running: Running, *words: str) -> str:
    """What a command says to people."""
    environment = {**os.environ, "EMU_STATE_DIR": str(running.state)}
    command = [sys.executable, "-m", "emu", *words]
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=60
    ).stderr


def kv(running: Running, method: str, *params: Any) -> Any:
    """`emu call kv METHOD ...`, without the second it takes to start."""
    (socket,) = running.state.glob("*/control.sock")
    with ControlClient(socket, timeout_s=30) as client:
        (answer,) = client.call("call", "kv", method, list(params)).values()
    return answer["ok"]


@pytest.mark.soak
def test_two_hundred_thousand_keys_move_under_a_thousand_writes_a_second(tmp_path: Path) -> None:
    found = there_and_back(tmp_path, KEYS, WRITES_PER_S)
    for summary in (found["up"], found["down"]):
        assert summary["keys"] == pytest.approx(KEYS * IDEAL_RATIO, rel=0.02)
    assert found["clients"]["per_s"] == pytest.approx(WRITES_PER_S, rel=0.02)
