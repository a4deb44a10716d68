"""The system's Prometheus beside a run: its configuration, its start and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from emu.observe import prometheus
from tests.observe.running import ROOT, Running, start
from tests.peers import need

SD = "http://127.7.0.1:9100/sd"


@pytest.mark.parametrize("every_s", [1, 5, 15])
def test_promtool_accepts_the_configuration(tmp_path: Path, every_s: int):
    path = tmp_path / "prometheus.yml"
    path.write_text(prometheus.config(SD, every_s=every_s))
    promtool = need("promtool", "prometheus")
    found = subprocess.run(
        [promtool, "check", "config", str(path)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr


def test_large_clusters_are_scraped_less_often():
    assert [prometheus.scrape_interval_s(nodes) for nodes in (7, 50, 51, 200, 999, 5000)] == [
        1, 1, 2, 2, 5, 15,
    ]  # fmt: skip


def test_where_it_is_missing_one_line_says_how_to_install_it(tmp_path: Path):
    environment = {**os.environ, "PATH": str(tmp_path), "EMU_STATE_DIR": str(tmp_path)}
    program = (
        "from emu.observe import prometheus; prometheus.SYSTEM_PATH = ''\n"
        "from emu.cli import main; main()"
    )
    words = ["up", "topologies/01-single-server.yaml", "--prometheus"]
    found = subprocess.run(
        [sys.executable, "-c", program, *words], env=environment, cwd=ROOT, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert found.returncode == 1
    told = " ".join(found.stderr.split())
    assert told.startswith("emu: prometheus is not installed: apt install prometheus"), told


def query(url: str, text: str) -> list[dict[str, Any]]:
    address = f"{url}/api/v1/query?query={urllib.request.quote(text)}"
    with urllib.request.urlopen(address, timeout=5) as answer:
        return list(json.load(answer)["data"]["result"])


def until(wanted: Any, timeout_s: float = 30.0) -> None:
    give_up_s = time.monotonic() + timeout_s
    while True:
        try:
            if wanted():
                return
        except OSError:
            pass
        assert time.monotonic() < give_up_s
        time.sleep(0.2)


def is_listening(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.mark.slow
def test_up_with_prometheus_is_scraped_within_ten_seconds_and_leaves_nothing():
    need("prometheus")
    block = start("topologies/01-single-server.yaml", "--prometheus")
    running = next(block)
    url = running.facts["prometheus"]
    until(lambda: query(url, "sum(emu_node_up)"))
    began_s = float(query(url, "emu_run_seconds")[0]["value"][1])
    assert began_s < 20, "ten on a quiet machine"
    assert query(url, 'up{instance="emu"}')[0]["metric"]["cluster"] == "single-server"
    with pytest.raises(StopIteration):
        next(block)
    assert not is_listening(url)


@pytest.mark.slow
def test_observe_follows_a_running_cluster_until_it_is_told_to_end(running: Running):
    need("prometheus")
    process = subprocess.Popen(
        [sys.executable, "-m", "emu", "observe"], env=running.environment, cwd=ROOT, text=True,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    told = process.stderr.readline()
    url = next(word for word in told.split() if word.startswith("http")).removesuffix("/alerts")
    assert is_listening(url)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    process.stderr.close()
    until(lambda: not is_listening(url), 5)


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child of its parent's death"
)
def test_when_emu_is_killed_its_prometheus_is_gone_too(tmp_path: Path):
    need("prometheus")
    need("setpriv", "util-linux")
    program = (
        "import sys, trio\n"
        "from emu.observe.prometheus import Prometheus\n"
        "async def tell(): print(found.url, flush=True)\n"
        "found = Prometheus('127.0.0.1')\n"
        f"trio.run(found.run, {SD!r}, 1, tell)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert is_listening(url)
    process.kill()
    process.wait()
    process.stdout.close()
    until(lambda: not is_listening(url), 5)
