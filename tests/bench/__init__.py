"""Side-by-side measurements against real software:
`python -m tests.bench NAME [--peer P] [--json]`.

Each module here has `run(*, peer, runs) -> dict` with name, ours, peer, ratio, unit, runs (medians
of alternating runs), and optionally `rows`, a list of such.
"""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]


class PeerMissing(Exception):
    """The software to compare with is not installed; the message says what to install."""


def find_peer(program: str, package: str) -> str:
    """The path of a program that we compare with. Raises PeerMissing."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/bin")
    if found is None:
        raise PeerMissing(f"{program} is not installed (Debian: apt install {package})")
    return found


def say(**facts: Any) -> None:
    """What a rig found, or where it is: its one line."""
    print(json.dumps(facts), flush=True)


def free_port() -> int:
    """Of loopback, for a peer that must be told its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measured_by(*command: str, timeout_s: float = 60.0) -> dict[str, Any]:
    """Run a rig to its end; the JSON line that it prints. Raises RuntimeError with what it said."""
    done = subprocess.run(
        command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def alternate(
    name: str, unit: str, ours: Callable[[], float], peer: Callable[[], float], runs: int
) -> dict[str, Any]:
    """Measure both in turn, `runs` times each, whoever is first changing;
    medians and their ratio."""
    mine: list[float] = []
    theirs: list[float] = []
    for number in range(runs):
        for measure, results in ((ours, mine), (peer, theirs))[:: 1 if number % 2 else -1]:
            results.append(measure())
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    return {
        "name": name,
        "ours": round(statistics.median(mine), 3),
        "peer": round(statistics.median(theirs), 3),
        "ratio": round(statistics.median(ratios), 3),
        "unit": unit,
        "runs": runs,
        "ours_runs": [round(value, 3) for value in mine],
        "peer_runs": [round(value, 3) for value in theirs],
    }
