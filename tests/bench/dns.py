"""Questions answered in a second, against gdnsd, by dnsperf: an answer by place, for clients whose
resolver says where they are (EDNS client subnet), and for those of whom nobody says it.

gdnsd is one thread of C, which has its answers ready; ours is Python. Both know two networks.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench import alternate, find_peer, free_port
from tests.bench.balancer import process

RIG = [sys.executable, "-m", "tests.bench.dns_rig"]
SECONDS = 3
NAME = "www.example.test"
SUBNET = "8:00011800c63364"
"""EDNS option 8: IPv4, 24 bits, 198.51.100."""
WORK = {"no subnet": ["-e"], "client subnet": ["-e", "-E", SUBNET]}
CONFIG = """
options => {{
  listen => [ "127.0.0.1:{port}" ], run_dir => "{folder}/run", state_dir => "{folder}/state",
  edns_client_subnet => true, udp_threads => 1, tcp_threads => 1,
}}
plugins => {{ geoip => {{
  maps => {{ places => {{ datacenters => [us, eu],
    nets => {{ 198.51.100.0/24 => [us], 203.0.113.0/24 => [eu] }} }} }}
  resources => {{ www => {{ map => places, dcmap => {{ us => 127.0.0.2, eu => 127.0.0.3 }} }} }}
}} }}
"""
ZONE = """
@ 60 SOA ns hostmaster 1 3600 600 86400 30
@ 60 NS ns
ns 60 A 127.0.0.1
www 5 DYNA geoip!www
"""

Where = tuple[str, int]


@contextmanager
def gdnsd(program: str) -> Iterator[Where]:
    port = free_port()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "zones").mkdir()
        (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
        (folder / "zones" / "example.test").write_text(ZONE)
        with process(program, "-c", str(folder), "start", wait_for_line=False):
            yield "127.0.0.1", port


def per_s(client: str, where: Where, words: list[str], questions: Path) -> Callable[[], float]:
    """One run of dnsperf; whatever it lost, or was not told, is no answer."""
    address, port = where
    command = [client, "-s", address, "-p", str(port), "-d", str(questions), "-l", str(SECONDS),
               "-c", "4", "-q", "64", *words]  # fmt: skip

    def measure() -> float:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        found = re.search(r"Queries per second:\s+([0-9.]+)", said.stdout)
        good = re.search(r"NOERROR [0-9]+ \(100.00%\)", said.stdout)
        assert found is not None and good is not None, said.stdout
        return float(found[1])

    return measure


def run(*, peer: str | None = None, runs: int = 5) -> dict[str, Any]:
    """A row for each kind of client."""
    client = find_peer("dnsperf", "dnsperf")
    program = find_peer(peer or "gdnsd", "gdnsd")
    with tempfile.TemporaryDirectory() as folder, process(*RIG) as ours, gdnsd(program) as theirs:
        questions = Path(folder) / "questions"
        questions.write_text(f"{NAME} A\n")
        here = (ours["address"], ours["port"])
        rows = [
            alternate(
                f"answers by place, {name}",
                "answers/s",
                per_s(client, here, words, questions),
                per_s(client, theirs, words, questions),
                runs,
            )
            for name, words in WORK.items()
        ]
    return {**rows[0], "rows": rows}
