"""`emu sim --break` at a terminal: the moment is held for the verbs of other terminals."""

from __future__ import annotations

import sys
import threading
import time

import pytest
from typer.testing import CliRunner

from emu import state
from emu.cli import breaking
from emu.cli.verbs import app
from emu.running.conditions import parse
from emu.seeds.run import SeedRun

TWO = "tiers:\n  web: {kind: web, public: true, nodes: 2}\n"


class Terminal:
    """Somebody sits there."""

    def isatty(self) -> bool:
        return True


def test_at_a_terminal_the_moment_is_held_until_it_is_taken_down(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path_factory.mktemp("held")  # the path of a socket is short
    monkeypatch.setenv("EMU_STATE_DIR", str(folder))
    file = folder / "two.yaml"
    file.write_text(TWO)
    told: list[str] = []

    def elsewhere() -> None:
        while not state.running():
            time.sleep(0.001)
        told.extend(CliRunner().invoke(app, ["ps", "web-2"]).output for _ in range(2))
        told.append(CliRunner().invoke(app, ["down"]).output)

    with monkeypatch.context() as terminal:
        terminal.setattr(sys, "stdin", Terminal())
        terminal.setattr(sys.stderr, "isatty", lambda: True)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        run = SeedRun(str(file), 1, for_s=5.0, faults="none")
        breaking.break_at([run], parse("web.uptime > 1s"), as_json=False)
        thread.join()
    shown, again, ended = told
    assert shown == again and "web-2" in shown
    assert "`two` is down" in ended
    assert "it stands still there" in capsys.readouterr().err
    assert state.running() == []
