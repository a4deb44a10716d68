"""The promise of step 11 with real sockets, disks and time: slots move while clients write, and
nobody notices but by a pause of milliseconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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


STALL_S = 1.5
"""Longer than a lease, and than the silence after which another primary is looked for."""


def there_and_back(state: Path, keys: int, per_s: int, stall_s: float = 0.0) -> dict[str, Any]:
    """Three shards, four, three, under load: what the clients and the moves saw. The whole process
    stands still for `stall_s` in the middle of the first change."""
    file = state / "store.yaml"
    file.write_text(STORE)
    with emu_up(state, str(file), "--fresh") as running:
        with writing("msgpack", *running.address("kv-router-1"), keys, per_s) as seen:
            assert seen["filled"] == keys, seen
            with stalled(running, stall_s) if stall_s else nullcontext():
                up = emu_reshard(running, 4)
            down = emu_reshard(running, 3)
    print(json.dumps({"clients": seen, "to 4": up, "to 3": down}, indent=1))
    for summary in (up, down):
        assert summary["outcome"] == "done" and summary["aborted"] == 0
    assert seen["errors"] == {} and seen["unanswered"] == 0
    assert seen["lost"] == 0
    return {"clients": seen, "up": up, "down": down}


@contextmanager
def stalled(running: Running, for_s: float) -> Iterator[None]:
    """Stop the process when slots begin to move, as a busy or sleeping laptop would."""
    log = running.state / "up.log"

    def stall() -> None:
        while "move.begun" not in log.read_text():
            time.sleep(0.01)
        time.sleep(0.2)
        running.process.send_signal(signal.SIGSTOP)
        time.sleep(for_s)
        running.process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=stall, daemon=True)
    thread.start()
    yield
    thread.join()


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


@pytest.mark.soak
def test_a_laptop_that_stands_still_for_a_moment_costs_that_moment_and_no_primary(
    tmp_path: Path,
) -> None:
    """Time in which nobody ran is nobody's fault: every shard keeps its primary, and no write waits
    for much longer than the laptop did."""
    found = there_and_back(tmp_path, KEYS // 5, WRITES_PER_S, STALL_S)
    assert found["clients"]["longest_s"] < STALL_S + 0.8
    told = (tmp_path / "up.log").read_text().partition("reshard begun")[2].splitlines()
    assert any("move.done" in line for line in told)
    assert not [line for line in told if "promoted" in line and "kv-shard-4" not in line]
