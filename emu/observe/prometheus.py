"""The system's own Prometheus beside a run: found, told what to scrape, ended with the run.

Its store is temporary. What it records and alerts on is in dashboards/rules/.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import trio

DASHBOARDS: Final = Path(__file__).resolve().parents[2] / "dashboards"
RULES: Final = DASHBOARDS / "rules"
PORT: Final = 9090
POLL_S: Final = 0.1
RETENTION: Final = "2d"
SYSTEM_PATH: Final = os.pathsep.join((os.defpath, "/usr/local/bin", "/opt/homebrew/bin"))
MISSING: Final = (
    "prometheus is not installed: apt install prometheus (Debian, Ubuntu), "
    "brew install prometheus (macOS), else https://prometheus.io/download"
)
SCRAPE_EVERY: Final = ((50, 1), (200, 2), (1000, 5))
"""(up to so many nodes, seconds): a scrape costs the run's own loop some 0.3 ms a node."""
SLOWEST_SCRAPE_S: Final = 15


class PrometheusError(Exception):
    """It cannot be run; the message says why, and what to do."""


def find() -> str:
    """The program's path. Raises PrometheusError."""
    found = shutil.which("prometheus") or shutil.which("prometheus", path=SYSTEM_PATH)
    if found is None:
        raise PrometheusError(MISSING)
    return found


def scrape_interval_s(nodes: int) -> int:
    """How often a cluster of that size is scraped."""
    return next((every_s for most, every_s in SCRAPE_EVERY if nodes <= most), SLOWEST_SCRAPE_S)


def config(sd_url: str, *, every_s: int, rules: str = "") -> str:
    """prometheus.yml: everything that `sd_url` names, every so many seconds."""
    rule_files = f"rule_files: ['{rules}']\n" if rules else ""
    return f"""# Scrapes a running emu, whose nodes are found over HTTP.
global:
  scrape_interval: {every_s}s
  scrape_timeout: {every_s}s
  evaluation_interval: {every_s}s
{rule_files}scrape_configs:
  - job_name: emu
    http_sd_configs:
      - url: {sd_url}
        refresh_interval: {max(1, every_s)}s
"""


class Prometheus:
    """One process and its temporary store. `url` is known once it is made."""

    def __init__(self, host: str, store: Path | None = None) -> None:
        """It will listen on `host`, at port 9090 if that is free, and keep what it needs in `store`
        (which is wiped before and after). Raises PrometheusError."""
        self._store = store
        self._program = find()
        self.host = host
        self.port = _free_port(host)
        self.url = f"http://{host}:{self.port}"
        self.problem = ""

    async def run(
        self, sd_url: str, nodes: int, on_ready: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Scrape until cancelled, or until it ends by itself: `problem` says why, then."""
        with _emptied(self._store) as folder:
            process = self._start(folder, sd_url, nodes)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._tell_when_ready, on_ready)
                    await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)
                    nursery.cancel_scope.cancel()
                self.problem = _last_line(folder / "log")
            finally:
                process.kill()  # its store goes with it: nothing to flush
                process.wait()

    async def _tell_when_ready(self, on_ready: Callable[[], Awaitable[None]] | None) -> None:
        while True:
            if await _is_ready(self.host, self.port):
                break
            await trio.sleep(POLL_S)
        if on_ready is not None:
            await on_ready()

    def _start(self, folder: Path, sd_url: str, nodes: int) -> subprocess.Popen[bytes]:
        """In the main thread: it shall end with this process, however that ends."""
        rules = str(RULES / "*.yaml") if RULES.is_dir() else ""
        every_s = scrape_interval_s(nodes)
        (folder / "prometheus.yml").write_text(config(sd_url, every_s=every_s, rules=rules))
        words = [
            *_with_us(),
            self._program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--storage.tsdb.retention.time={RETENTION}",
            f"--web.listen-address={self.host}:{self.port}",
            "--log.level=warn",
        ]
        with open(folder / "log", "wb") as log:
            return subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )


@contextmanager
def _emptied(store: Path | None) -> Iterator[Path]:
    if store is None:
        with tempfile.TemporaryDirectory(prefix="emu-prometheus-") as folder:
            yield Path(folder)
        return
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(mode=0o700, parents=True)
    try:
        yield store
    finally:
        shutil.rmtree(store, ignore_errors=True)


def _with_us() -> list[str]:
    """Words before a command that end it when its parent dies (kill -9 of emu, too)."""
    found = shutil.which("setpriv")
    return [found, "--pdeathsig", signal.Signals.SIGKILL.name[3:]] if found else []


def _free_port(host: str) -> int:
    for port in (PORT, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    raise PrometheusError(f"no port is free on {host}")


async def _is_ready(host: str, port: int) -> bool:
    with suppress(OSError, trio.BrokenResourceError), trio.move_on_after(1.0):
        async with await trio.open_tcp_stream(host, port) as stream:
            await stream.send_all(f"GET /-/ready HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            return b" 200 " in await stream.receive_some(64)
    return False


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()
    return lines[-1] if lines else "it said nothing"
