"""Booting 1,000 web nodes in one process, against 1,000 listeners that are a Python process each.

Ours is a whole cluster of `emu up`'s kind: 1,000 web servers that follow the directory and are
connected to a database. A peer only listens. Memory is told as `ps` has it (RSS) and with shared
pages shared out (PSS). Peers are sampled and scaled up: the output says how many really ran.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import trio

from emu.live.world import LiveWorld
from emu.supervisor import Cluster
from emu.topology.loading import load
from tests.bench import alternate

NODES: Final = 1000
PEERS_RUN: Final = 50
ROOT: Final = Path(__file__).parents[2]
Measure = Callable[[], dict[str, float]]
TOPOLOGY: Final = f"""
name: boot
tiers:
  db: {{kind: database}}
  web: {{kind: web, public: true, per_region: {NODES}, uses: [db]}}
"""
LISTENER: Final = """
import socket, sys
with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
"""


def memory(pid: int | str) -> dict[str, float]:
    """What that process takes, in MB: all pages it maps, and with its share of those shared."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("Rss", "Pss"):
            found[f"{name.lower()}_mb"] = int(value.split()[0]) * 1024 / 1e6
    return found


async def _boot() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "boot.yaml"
        path.write_text(TOPOLOGY)
        topology = load(path)
        async with LiveWorld(7, Path(folder) / "data", temporary=True) as world:
            before, began_s = memory("self"), time.perf_counter()
            async with Cluster(world, topology, events=world.events) as cluster:
                await cluster.boot()
                took_s = time.perf_counter() - began_s
                assert all(slot.state == "up" for slot in cluster.slots.values())
                after = memory("self")
                return {"took_s": took_s, **{key: after[key] - before[key] for key in after}}


def ours() -> dict[str, float]:
    """Boot in a process of its own, so that nothing is warm or left over."""
    command = [sys.executable, "-m", "tests.bench.boot"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def peers() -> dict[str, float]:
    """Start PEERS_RUN listeners at once; what 1,000 would take."""
    with ExitStack() as stack:
        began_s = time.perf_counter()
        children = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            for _ in range(PEERS_RUN)
        ]
        for child in children:
            assert child.stdout is not None and child.stdout.readline()
        took_s = time.perf_counter() - began_s
        sizes = [memory(child.pid) for child in children]
        for child in children:
            assert child.stdin is not None
            child.stdin.close()
    scale = NODES / PEERS_RUN
    totals = {key: sum(size[key] for size in sizes) * scale for key in sizes[0]}
    return {"took_s": took_s * scale, **totals}


def run(*, runs: int = 5) -> dict[str, Any]:
    """Rows: seconds until all are up, and megabytes. Less is better: `times_better` is peer's over
    ours."""
    mine: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []

    def measured(measure: Measure, results: list[dict[str, float]]) -> Callable[[], float]:
        def once() -> float:
            results.append(measure())
            return results[-1]["took_s"]

        return once

    def of(results: list[dict[str, float]], key: str) -> Callable[[], float]:
        values = iter(results)
        return lambda: next(values)[key]

    rows = [
        alternate(
            f"boot of {NODES} web nodes", "s", measured(ours, mine), measured(peers, theirs), runs
        )
    ]
    rows += [
        alternate(f"their memory ({key[:3]})", "MB", of(mine, key), of(theirs, key), runs)
        for key in ("rss_mb", "pss_mb")
    ]
    for row in rows:
        row["times_better"] = round(1 / row["ratio"], 1)
        row["note"] = f"{PEERS_RUN} peers really ran: their figures times {NODES / PEERS_RUN:g}"
    return {**rows[0], "name": "boot", "rows": rows}


if __name__ == "__main__":
    print(json.dumps(trio.run(_boot)))
