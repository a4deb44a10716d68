"""`emu` as a process of its own, with a state folder of its own, for the tests of the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from emu.cli.verbs import app
from emu.control.client import ControlClient

EMU = [sys.executable, "-m", "emu"]
TESTED_WORKERS = "TESTED_WORKERS"
PATIENCE_S = 90.0 if os.environ.get(TESTED_WORKERS) else 30.0
"""How long a busy machine may take for what is done in a moment otherwise, by one process or
three."""

SMALL = """
name: small
tiers:
  dns: {kind: dns, public: true, zone: example.test, answers: lb, ttl: 5s}
  lb: {kind: balancer, public: true, balances: web, check_interval: 200ms}
  web: {kind: web, nodes: 2, uses: db}
  db: {kind: database}
users:
  local: {rate: 20/s, visits: lb}
expect:
  - availability >= 1%
  - lost_acknowledged_writes == 0
accepts: {single-point: this is a test}
"""
TINY = "name: tiny\ntiers:\n  web: {kind: web, public: true}\naccepts: {single-point: a test}\n"


def with_workers(*words: str) -> list[str]:
    """A command: with TESTED_WORKERS=2 whatever may run in two workers does, unasked."""
    workers = os.environ.get(TESTED_WORKERS)
    one = {"--workers", "--no-aliases", "--join-at"}.intersection(words)
    more = ["--workers", workers] if workers and words[:1] == ("up",) and not one else []
    return [*words, *more]


def environment(state: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "EMU_STATE_DIR": str(state), "NO_COLOR": "1", **more}


class Up:
    """A running `emu up`, whose output goes to files."""

    def __init__(self, state: Path, *words: str, **more: str) -> None:
        self.state = state
        self.folder = state.parent
        self.log_path = self.folder / "stderr.txt"
        with open(self.log_path, "wb") as log, open(self.folder / "stdout.txt", "wb") as out:
            self.process = subprocess.Popen(
                [*EMU, *with_workers("up", *words)],
                stdout=out,
                stderr=log,
                env=environment(state, **more),
            )

    @property
    def said(self) -> str:
        return self.log_path.read_text("utf-8")

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout.txt").read_text("utf-8")

    def wait_ready(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Until run.json tells who runs. Fails with what emu said if it ends before, or is too
        late: then nobody else would end it."""
        give_up_s = time.monotonic() + patience_s
        while time.monotonic() < give_up_s:
            for path in [*self.state.glob("*/run.json"), *self.state.glob(".*/run.json")]:
                facts = json.loads(path.read_text())
                if facts["pid"] == self.process.pid:
                    return {**facts, "folder": str(path.parent)}
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}: {self.said}")
            time.sleep(0.01)
        self.process.kill()
        raise AssertionError(f"not ready: {self.said}")

    def wait_used(self) -> None:
        """Until a user was answered: what ends before has nothing to be judged by."""
        folder = self.wait_ready()["folder"]
        give_up_s = time.monotonic() + PATIENCE_S
        with ControlClient(Path(folder, "control.sock"), timeout_s=PATIENCE_S) as client:
            while not client.call("summary")["requests"]:
                assert time.monotonic() < give_up_s, self.said
                time.sleep(0.02)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal (of these SIGINT alone lets the run be judged) and wait. Gives the exit
        code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)


def emu(state: Path, *words: str, stdin: str | bytes | None = None, **more: str) -> Result:
    """One verb, in this process (Python and its imports take most of a verb's time)."""
    env = {"EMU_STATE_DIR": str(state), **more}
    result = CliRunner().invoke(app, list(words), input=stdin, env=env)
    problem = result.exception
    assert problem is None or isinstance(problem, SystemExit), repr(problem)
    return result


def emu_process(state: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """One verb in a process of its own."""
    return subprocess.run(
        [*EMU, *with_workers(*words)],
        capture_output=True,
        text=True,
        env=environment(state, **more),
        timeout=PATIENCE_S,
        check=False,
    )
