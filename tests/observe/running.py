"""`emu up` in a process of its own, for tests that look at it from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emu import state
from emu.control.client import ControlClient

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Running:
    """A running `emu up`: how to call it, and how to ask it."""

    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    facts: dict[str, Any]

    @property
    def url(self) -> str:
        return str(self.facts["observe"])

    def emu(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """`emu WORDS` against it."""
        return subprocess.run(
            [sys.executable, "-m", "emu", *words], env=self.environment, cwd=ROOT, text=True,
            capture_output=True, check=False, timeout=60, **options,
        )  # fmt: skip

    def ask(self, method: str, *params: Any) -> Any:
        """Call the control socket."""
        with ControlClient(Path(self.facts["folder"]) / "control.sock") as client:
            return client.call(method, *params)

    def until(self, method: str, wanted: Any, timeout_s: float = 20.0) -> Any:
        """Ask until `wanted(answer)` is true; the answer."""
        give_up_s = time.monotonic() + timeout_s
        while not wanted(answer := self.ask(method)):
            assert time.monotonic() < give_up_s, answer
            time.sleep(0.1)
        return answer


def start(topology: str, *options: str) -> Iterator[Running]:
    """`emu up TOPOLOGY OPTIONS` until the end of the block, which must be orderly."""
    with tempfile.TemporaryDirectory(prefix="emu-", dir="/tmp") as folder:
        environment = {**os.environ, "EMU_STATE_DIR": folder, "NO_COLOR": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "emu", "up", topology, "--faults", "none", *options],
            env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield Running(process, environment, _ready(process, folder))
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=20)
            assert process.returncode == 130, told.decode()
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()


def _ready(process: subprocess.Popen[bytes], folder: str) -> dict[str, Any]:
    give_up_s = time.monotonic() + START_TIMEOUT_S
    before = os.environ.get("EMU_STATE_DIR")
    os.environ["EMU_STATE_DIR"] = folder
    try:
        while time.monotonic() < give_up_s and process.poll() is None:
            for facts in state.running():
                if facts["pid"] == process.pid:
                    return facts
            time.sleep(0.05)
    finally:
        if before is None:
            del os.environ["EMU_STATE_DIR"]
        else:
            os.environ["EMU_STATE_DIR"] = before
    process.kill()
    raise AssertionError(f"emu up did not get ready: {process.communicate()[1].decode()}")
