"""HTTP with keep-alive, asked by wrk: the same small answer by our service and by uvicorn (with
httptools, on uvloop), and the site's home page, for itself.

One core for the server and the other for wrk; with one core only they share it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.bench import PeerMissing, alternate, find_peer, free_port
from tests.bench.balancer import process
from tests.bench.queue import running

RIG: Final = "tests.bench.http_rig"
CONNECTIONS: Final = 50
MEASURE_S: Final = 2
RATE: Final = re.compile(r"Requests/sec:\s*([0-9.]+)")
FAILED: Final = re.compile(r"Non-2xx.*|Socket errors.*")
SERVER_CORE: Final = 0
CLIENT_CORE: Final = 1


def on_core(core: int, *command: str) -> list[str]:
    cores = sorted(os.sched_getaffinity(0))
    return [find_peer("taskset", "util-linux"), "-c", str(cores[core % len(cores)]), *command]


def asked(url: str) -> float:
    """Requests a second, as wrk counts them. Raises RuntimeError for any that failed."""
    wrk = on_core(CLIENT_CORE, find_peer("wrk", "wrk"), "-t1", f"-c{CONNECTIONS}")
    warm = [*wrk, "-d1s", url]
    subprocess.run(warm, check=True, capture_output=True, timeout=60)
    done = subprocess.run(
        [*wrk, f"-d{MEASURE_S}s", url], check=True, capture_output=True, text=True, timeout=60
    )
    found = RATE.search(done.stdout)
    if found is None or (failed := FAILED.search(done.stdout)):
        raise RuntimeError(done.stdout if found is None else failed[0])
    return float(found[1])


@contextmanager
def emu(what: str) -> Iterator[str]:
    """Its URL."""
    with process(*on_core(SERVER_CORE, sys.executable, "-m", RIG, what)) as facts:
        yield f"http://{facts['endpoint']}/"


@contextmanager
def uvicorn() -> Iterator[str]:
    if importlib.util.find_spec("uvicorn") is None:
        raise PeerMissing("uvicorn is not installed (make .venv/.installed, or pip install it)")
    port = free_port()
    options = ("--http", "httptools", "--loop", "uvloop", "--no-access-log", "--lifespan", "off")
    command = ("-m", "uvicorn", f"{RIG}:hello", "--port", str(port), "--log-level", "warning")
    with running(*on_core(SERVER_CORE, sys.executable, *command, *options), port=port):
        yield f"http://127.0.0.1:{port}/"


def run(*, runs: int = 5) -> dict[str, Any]:
    """Rows: `http hello` beside uvicorn, `http page`."""
    with emu("hello") as ours, uvicorn() as theirs:
        hello = alternate(
            "http hello", "requests/s", lambda: asked(ours), lambda: asked(theirs), runs
        )
    with emu("page") as url:
        pages = [asked(url) for _ in range(runs)]
    page = {
        "name": "http page",
        "ours": round(statistics.median(pages), 3),
        "peer": None,
        "ratio": None,
        "unit": "requests/s",
        "runs": runs,
    }
    return {**hello, "rows": [hello, page]}
