"""Quorum commit: our 3-node database group (`ack: quorum`, `sync: real`) against PostgreSQL.

PostgreSQL runs a primary and two streaming replicas, `synchronous_commit` on, `ANY 1`. All data of
both sides is in the same folder for temporary files, and the clients are the same other process.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import Any, Final

from tests.bench import alternate, measured_by
from tests.bench.balancer import process
from tests.bench.commit_rig import CREATE
from tests.bench.postgres_rig import find_programs, postgres_group, psql

RIG: Final = [sys.executable, "-m", "tests.bench.commit_rig"]
CLIENTS: Final = 16
MEASURE_S: Final = 2.0
LINK_MS: Final = 0.3


def measured(
    protocol: str, address: str, port: int, *, clients: int = CLIENTS, time_s: float = MEASURE_S
) -> Callable[[], float]:
    where = [protocol, address, str(port), str(clients), str(time_s)]

    def once() -> float:
        done = measured_by(*RIG, "client", *where, timeout_s=60 + 2 * time_s)
        return float(done["per_s"])

    return once


def run(*, runs: int = 5, time_s: float = MEASURE_S) -> dict[str, Any]:
    """Rows: plain links beside PostgreSQL, and ours with links of 0.3 ms."""
    programs = find_programs()
    with postgres_group(programs) as port, process(*RIG, "emu", "0") as emu:
        done = psql(programs, port, CREATE)
        if done.returncode:
            raise RuntimeError(done.stderr)
        row = alternate(
            f"commit, {CLIENTS} clients",
            "commits/s",
            measured("msgpack", emu["address"], emu["port"], time_s=time_s),
            measured("postgres", "127.0.0.1", port, time_s=time_s),
            runs,
        )
    with process(*RIG, "emu", str(LINK_MS)) as emu:
        once = measured("msgpack", emu["address"], emu["port"], time_s=time_s)
        mine = [once() for _ in range(runs)]
    linked = {
        "name": f"commit, {CLIENTS} clients, {LINK_MS} ms links",
        "ours": round(statistics.median(mine), 1),
        "peer": None,
        "ratio": None,
        "unit": "commits/s",
        "runs": runs,
    }
    return {**row, "name": "commit", "rows": [row, linked]}
