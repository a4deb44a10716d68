"""The promise of step 11 with real sockets, disks and time: slots move while clients write, and
nobody notices but by a pause of milliseconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live.running import ROOT, Running, emu_up

STORE = """
name: resharding
links: {defaults: {within: 0.3ms, bandwidth: 1Gbit}}
tiers:
  kv: {kind: kv, public: true, shards: 3, replicas: 1, coordinators: 3, partitioner: slots}
"""
KEYS = 200_000
WRITES_PER_S = 1_000
IDEAL_RATIO = 1 / 4
"""Of all keys: what 3 → 4 shards, and 4 → 3, must move at least."""


@contextmanager
def writing(address: str, port: int, keys: int, per_s: int) -> Iterator[dict[str, Any]]:
    """Clients write in a process of their own while the block lasts; what they saw is in the map
    after it."""
    rig = [sys.executable, "-m", "tests.bench.reshard_rig", "msgpack", address, str(port)]
    with subprocess.Popen(
        [*rig, str(keys), str(per_s)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdin is not None and child.stdout is not None
        seen: dict[str, Any] = json.loads(child.stdout.readline())
        try:
            yield seen
            child.stdin.close()
            seen.update(json.loads(child.stdout.readline()))
        finally:
            child.kill()


def reshard(running: Running, to: int) -> dict[str, Any]:
    """`emu reshard kv --to N --json`, its summary."""
    done = subprocess.run(
        [sys.executable, "-m", "emu", "reshard", "kv", "--to", str(to), "--json"],
        cwd=ROOT, check=True, env={**os.environ, "EMU_STATE_DIR": str(running.state)},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def there_and_back(state: Path, keys: int, per_s: int) -> dict[str, Any]:
    """Three shards, four, three, under load: what the clients and the moves saw."""
    file = state / "store.yaml"
    file.write_text(STORE)
    with emu_up(state, str(file), "--fresh") as running:
        with writing(*running.address("kv-router-1"), keys, per_s) as seen:
            assert seen["filled"] == keys, seen
            up, down = reshard(running, 4), reshard(running, 3)
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


@pytest.mark.soak
def test_two_hundred_thousand_keys_move_under_a_thousand_writes_a_second(tmp_path: Path) -> None:
    found = there_and_back(tmp_path, KEYS, WRITES_PER_S)
    for summary in (found["up"], found["down"]):
        assert summary["keys"] == pytest.approx(KEYS * IDEAL_RATIO, rel=0.02)
    assert found["clients"]["per_s"] == pytest.approx(WRITES_PER_S, rel=0.02)
