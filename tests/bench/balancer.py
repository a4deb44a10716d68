"""Our L4 balancer against HAProxy in TCP mode with one thread: small requests and bulk bytes.

Both forward to the same backend process, and are asked by the same kind of client process.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.bench import alternate, find_peer, free_port, measured_by

RIG = [sys.executable, "-m", "tests.bench.balancer_rig"]
ROOT = Path(__file__).parents[2]
PORT = 8080
MEASURE_S = 1.0
SMALL_CONNECTIONS = 50
BULK_CONNECTIONS = 2
HAPROXY_CONFIG = """
global
  nbthread 1
  maxconn 4096
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen bench
  bind {listen}:{port}
  server web-1 {backend}:{backend_port}
"""


@contextmanager
def process(*command: str, wait_for_line: bool = True) -> Iterator[dict[str, Any]]:
    """Run a program while the block lasts; gives the JSON line that it prints first."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as child:
        try:
            facts: dict[str, Any] = {}
            if wait_for_line:
                assert child.stdout is not None
                facts = json.loads(child.stdout.readline())
            yield facts
        finally:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(5)
            child.kill()


@contextmanager
def haproxy(program: str, backend: str) -> Iterator[tuple[str, int]]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "haproxy.cfg"
        config.write_text(
            HAPROXY_CONFIG.format(listen="127.0.0.1", port=port, backend=backend, backend_port=PORT)
        )
        with process(program, "-db", "-f", str(config), wait_for_line=False):
            for _ in range(100):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield "127.0.0.1", port


def measured(address: str, port: int, work: str) -> Callable[[], float]:
    connections = SMALL_CONNECTIONS if work == "small" else BULK_CONNECTIONS

    def once() -> float:
        command = [*RIG, "client", address, str(port), work, str(connections), str(MEASURE_S)]
        return float(measured_by(*command)["per_s"])

    return once


def run(*, peer: str | None = None, runs: int = 5) -> dict[str, Any]:
    """Rows: small requests, bulk, and ours with a 0.3 ms link before the backend."""
    program = find_peer(peer or "haproxy", "haproxy")
    rows: list[dict[str, Any]] = []
    with process(*RIG, "emu", "0") as plain, process(*RIG, "backend", plain["web"]):
        with haproxy(program, plain["web"]) as (address, port):
            for work, unit in (("small", "requests/s"), ("bulk", "MB/s")):
                ours, theirs = measured(plain["lb"], PORT, work), measured(address, port, work)
                rows.append(alternate(f"balancer {work}", unit, ours, theirs, runs))
    with process(*RIG, "emu", "0.3") as linked, process(*RIG, "backend", linked["web"]):
        small = [measured(linked["lb"], PORT, "small")() for _ in range(runs)]
        rows.append(
            {
                "name": "balancer small, 0.3 ms link",
                "ours": round(statistics.median(small), 3),
                "peer": None,
                "ratio": None,
                "unit": "requests/s",
                "runs": runs,
            }
        )
    return {**rows[0], "rows": rows}
