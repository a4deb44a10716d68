"""A cluster in one process against the same in two worker processes: requests a second beside the
load generator, and processor time for each request.

Ours is `--workers 2`, the peer `--workers 1`. The generator has a process of its own on the same
cores, so with two of them rates show little; processor time says what crossing workers costs, and
what more cores would carry.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench import ROOT

EMU: Final = (sys.executable, "-m", "emu")
PATIENCE_S: Final = 120.0
FOR: Final = "5s"
CORES: Final = 8
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Work:
    """What is asked of which topology."""

    name: str
    topology: str
    asked: tuple[str, ...]
    """Of `emu load`."""


FULL_STACK: Final = """
name: bench
tiers:
  lb: {kind: balancer, public: true, nodes: 2, balances: web}
  web: {kind: web, nodes: 4, uses: db, reads: replicas}
  db: {kind: database, nodes: 3}
"""
KV: Final = """
name: bench
tiers:
  kv: {kind: kv, public: true, shards: 4, routers: 2}
"""
WORKS: Final = (
    Work("full stack: home page", FULL_STACK, ("lb", "--path", "/")),
    Work("HTTP: health", FULL_STACK, ("lb", "--path", "/health/live")),
    Work("KV: get", KV, ("kv", "--method", "get", "--params", '["user:1"]')),
)


def run(*, runs: int = 5) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for work in WORKS:
        found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        for number in range(runs):
            for workers in (1, 2) if number % 2 else (2, 1):
                found[workers].append(measure(work, workers))
        rates, costs = (
            {count: statistics.median(each[place] for each in found[count]) for count in found}
            for place in (0, 1)
        )
        rows.append(_row(work.name, "requests/s", rates, runs))
        rows.append(_row(f"{work.name}, cpu", "us/request", costs, runs))
        carried_us = on_cores(costs[1], costs[2])
        rows[-1]["note"] = (
            f"{work.name}: {CORES} cores would carry {CORES * 1e6 / carried_us:,.0f}/s, at "
            f"{carried_us:.0f} us a request: what crosses workers grows from a half to "
            f"{CORES - 1} of {CORES} parts, and no node needs more than its core"
        )
    return {"name": "workers", "rows": rows, "runs": runs}


def on_cores(alone_us: float, two_us: float) -> float:
    """What a request costs on CORES workers: of what a node asks, all but its own worker's share
    goes to others, which is a half where there are two."""
    return alone_us + (two_us - alone_us) * (1 - 1 / CORES) / (1 - 1 / 2)


def _row(name: str, unit: str, found: dict[int, float], runs: int) -> dict[str, Any]:
    ratio = found[2] / found[1]
    return {
        "name": name, "ours": found[2], "peer": found[1], "ratio": ratio, "unit": unit, "runs": runs
    }  # fmt: skip


def measure(work: Work, workers: int) -> tuple[float, float]:
    """(requests a second, microseconds of processor time for each)."""
    with up(work.topology, workers) as (state, pids):
        before_s = sum(map(cpu_s, pids))
        summary = json.loads(_emu(state, "load", *work.asked, "--for", FOR, "--json"))
        used_s = sum(map(cpu_s, pids)) - before_s
    answered = summary["requests"] - summary["errors"]
    if not answered:
        raise RuntimeError(f"{work.name}: nothing was answered: {summary}")
    return float(summary["throughput_per_s"]), used_s * 1e6 / answered


@contextmanager
def up(topology: str, workers: int) -> Iterator[tuple[Path, list[int]]]:
    """A cluster that runs: its state folder, and its processes."""
    with tempfile.TemporaryDirectory() as folder:
        file, state = Path(folder, "bench.yaml"), Path(folder, "s")
        file.write_text(topology)
        process = subprocess.Popen(
            [*EMU, "up", str(file), "--workers", str(workers), "--json"],
            cwd=ROOT, env=_environment(state), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            facts = _ready(state, process)
            time.sleep(1.0)
            yield state, [process.pid, *(each["pid"] for each in facts["workers"])]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


def _ready(state: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    give_up_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_s and process.poll() is None:
        for path in state.glob("*/run.json"):
            facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return facts
        time.sleep(0.05)
    raise RuntimeError("the cluster was not ready in time")


def cpu_s(pid: int) -> float:
    """What the process has used, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _emu(state: Path, *words: str) -> str:
    done = subprocess.run(
        [*EMU, *words], cwd=ROOT, env=_environment(state), capture_output=True, text=True,
        check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


def _environment(state: Path) -> dict[str, str]:
    return {**os.environ, "EMU_STATE_DIR": str(state), "NO_COLOR": "1"}
