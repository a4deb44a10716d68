"""`emu top` on a real terminal and in a pipe, against a running cluster."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from tests.observe.running import ROOT, Running

pytestmark = pytest.mark.slow
SHOWN = re.compile(rb"users-local-1 +up")


class Terminal:
    """`emu top` in a pseudo-terminal of 80 by 24."""

    def __init__(self, running: Running) -> None:
        self.fd, child = pty.openpty()
        termios.tcsetwinsize(child, (24, 80))
        self.before = termios.tcgetattr(child)
        self.child = child
        self.process = subprocess.Popen(
            [sys.executable, "-m", "emu", "top"], stdin=child, stdout=child, stderr=child,
            env={**running.environment, "TERM": "xterm"}, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
        self.seen = b""

    def read_until(self, wanted: re.Pattern[bytes]) -> None:
        give_up_s = time.monotonic() + 30
        while not wanted.search(self.seen):
            assert time.monotonic() < give_up_s, self.seen[-2000:]
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 65536)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.fd)
        os.close(self.child)


@pytest.fixture
def terminal(running: Running) -> Iterator[Terminal]:
    opened = Terminal(running)
    yield opened
    opened.close()


@pytest.mark.parametrize("how", ["q", "jj\x1b[Aqq", "ctrl-c", "sigterm"])
def test_it_leaves_the_terminal_as_it_was(terminal: Terminal, how: str):
    terminal.read_until(SHOWN)
    if "q" in how:
        os.write(terminal.fd, how.encode())
    else:
        number = signal.SIGTERM if how == "sigterm" else signal.SIGINT
        os.kill(terminal.process.pid, number)
    code = terminal.process.wait(10)
    assert code == (0 if how != "sigterm" else 128 + signal.SIGTERM)
    terminal.read_until(re.compile(rb"\x1b\[\?1049l"))
    assert termios.tcgetattr(terminal.child) == terminal.before
    assert b"Traceback" not in terminal.seen


def test_a_pipe_gets_one_plain_page_and_scripts_get_json(running: Running):
    page = running.emu("top")
    assert page.returncode == 0, page.stderr
    assert "\x1b" not in page.stdout
    assert re.search(r"^web +web +3/3 ", page.stdout, re.MULTILINE), page.stdout
    shown = json.loads(running.emu("top", "--json").stdout)
    assert [tier["name"] for tier in shown["tiers"]] == ["dns", "lb", "web", "db", "users-local"]
    assert ["lb", "web"] in shown["edges"] and ["web", "db"] in shown["edges"]
    assert {node["role"] for node in shown["nodes"] if node["tier"] == "db"} <= {"", "primary"}


def test_a_kill_is_seen_in_states_faults_and_events(running: Running):
    running.until("status", lambda status: status["tiers"][2]["rate_per_s"] > 20)
    running.ask("inject", {"verb": "kill", "target": "web-1"}, 2.0)
    during = running.ask("status")
    assert [node["state"] for node in during["nodes"] if node["name"] == "web-1"] == ["killed"]
    assert [fault["text"] for fault in during["faults"]] == ["kill web-1"]
    assert "node killed" in [event["event"] for event in during["events"]]
    newest = during["events"][-1]["index"] + 1
    after = running.until("status", lambda status: status["tiers"][2]["up"] == 3)
    assert after["faults"] == []
    assert newest in [event["index"] for event in running.ask("status", newest)["events"]]
