"""A running `emu up` as a user has it: a process of its own, found through its state folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from emu.control.client import ControlClient

ROOT: Final = Path(__file__).resolve().parents[2]
READY_S: Final = 60.0


class Running:
    """One cluster in a process of its own."""

    def __init__(
        self, process: subprocess.Popen[bytes], state: Path, facts: dict[str, Any]
    ) -> None:
        self.process = process
        self.state = state
        self.observe: str = facts["observe"]
        self.nodes = {row["name"]: row for row in self.get_json("/nodes")}

    def address(self, node: str) -> tuple[str, int]:
        host, _, port = self.nodes[node]["address"].rpartition(":")
        return host, int(port)

    def url(self, node: str, path: str = "/") -> str:
        return f"http://{self.nodes[node]['address']}{path}"

    def get_json(self, path: str) -> Any:
        with urllib.request.urlopen(self.observe + path, timeout=10) as answer:
            return json.loads(answer.read())

    def inject(self, verb: str, **options: Any) -> Any:
        """What `emu VERB ...` does, without the second it takes to start."""
        (socket,) = self.state.glob("*/control.sock")
        with ControlClient(socket, timeout_s=30) as client:
            return client.call("inject", {"verb": verb, **options}, None)


@contextmanager
def emu_up(state: Path, file: str, *words: str, joined: str = "") -> Iterator[Running]:
    """`emu up FILE`, ready; Ctrl-C at the end. What it said is in `up.log` of the state folder.
    The node `joined`, alone of its tier, runs in a process that came by the door for it."""
    if joined:
        words = (*words, "--join-at", "0", "--joined", joined.rpartition("-")[0])
    with open(state / "up.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "emu", "up", file, "--faults", "none", *words],
            cwd=ROOT,
            env={**os.environ, "EMU_STATE_DIR": str(state)},
            stdout=log,
            stderr=log,
        )
    guests: list[subprocess.Popen[bytes]] = []
    try:
        if joined:
            guests.append(_join(process, state, joined))
        yield Running(process, state, _facts(process, state))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            for guest in guests:
                guest.kill()
                guest.wait()


def _join(up: subprocess.Popen[bytes], state: Path, node: str) -> subprocess.Popen[bytes]:
    address = _facts(up, state, "join")["join"]
    words = [sys.executable, "-m", "emu", "node", node, "--join", address]
    return subprocess.Popen(words, cwd=ROOT, env={**os.environ, "EMU_STATE_DIR": str(state)})


def _facts(
    process: subprocess.Popen[bytes], state: Path, wanted: str = "ready_s"
) -> dict[str, Any]:
    """What the run tells of itself, as soon as that is among it."""
    give_up_s = time.monotonic() + READY_S
    while time.monotonic() < give_up_s and process.poll() is None:
        for file in state.glob("*/run.json"):
            facts: dict[str, Any] = json.loads(file.read_text())
            if facts["pid"] == process.pid and facts.get(wanted) is not None:
                return facts
        time.sleep(0.02)
    raise AssertionError(f"emu up is not ready:\n{(state / 'up.log').read_text()}")
