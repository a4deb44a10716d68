"""`emu attach`: the verbs on a run elsewhere, through whatever starts `emu bridge` there."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.running import EMU, PATIENCE_S, TINY, Up, emu, environment

pytestmark = pytest.mark.slow


@pytest.fixture
def here(cluster: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder in which `small` of another one is attached."""
    state = tmp_path_factory.mktemp("attached") / "s"
    there = ["env", f"EMU_STATE_DIR={cluster.state}", *EMU, "bridge", "small"]
    process = subprocess.Popen([*EMU, "attach", "small", "--", *there], env=environment(state))
    try:
        until_attached(process, state, "small")
        yield state
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        assert not list(state.glob(".small-*")), "nothing of it stays"
    finally:
        process.kill()
        process.wait()


def test_verbs_work_on_a_run_elsewhere_as_on_one_here(here: Path, cluster: Up) -> None:
    rows = json.loads(emu(here, "ps", "--json").stdout)
    assert {row["name"] for row in rows} >= {"lb-1", "web-1", "web-2", "db-1"}
    assert emu(here, "kill", "web-1").exit_code == 0
    states = {each["name"]: each["state"] for each in json.loads(emu(here, "ps", "--json").stdout)}
    assert states["web-1"] == "killed"
    local = json.loads(emu(cluster.state, "ps", "web-1", "--json").stdout)
    assert local[0]["state"] == "killed", "it is the same run"
    assert emu(here, "heal").exit_code == 0
    assert "web-1" in emu(here, "events").stdout
    assert "web-2" in emu(here, "top", "--once").stdout
    (run,) = here.glob(".small-*/run.json")
    page = json.loads(run.read_text())["page"]
    assert "#token=" in page and page != json.loads(cluster_run(cluster).read_text())["page"]
    with urlopen(page, timeout=PATIENCE_S) as answer:
        assert b"<html" in answer.read()
    assert emu(here, "kill", "nobody").exit_code == 1


def cluster_run(cluster: Up) -> Path:
    return cluster.state / "small" / "run.json"


def test_a_run_that_is_ended_from_elsewhere_lets_go(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("ended")
    (folder / "tiny.yaml").write_text(TINY)
    up = Up(folder / "s", str(folder / "tiny.yaml"))
    there = ["env", f"EMU_STATE_DIR={up.state}", *EMU, "bridge", "tiny"]
    try:
        up.wait_ready()
        process = subprocess.Popen(
            [*EMU, "attach", "tiny", "--", *there], env=environment(folder / "a")
        )
        until_attached(process, folder / "a", "tiny")
        down = emu(folder / "a", "down")
        assert down.exit_code == 0 and "`tiny` is down" in down.stderr
        assert process.wait(PATIENCE_S) == 0
        assert up.process.wait(PATIENCE_S) in (0, 4)
    finally:
        up.end(signal.SIGKILL)


def until_attached(process: subprocess.Popen[bytes], state: Path, name: str) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not list(state.glob(f".{name}-*/run.json")):
        assert process.poll() is None and time.monotonic() < give_up_s
        time.sleep(0.02)


def test_what_cannot_be_attached_is_said(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("no") / "s"
    nobody = emu(place, "attach", "shop", "--", "/no/such/program")
    assert nobody.exit_code == 1 and "cannot start /no/such/program" in nobody.stderr
    ended = emu(place, "attach", "shop", "--", "true")
    assert ended.exit_code == 1 and "`true`: " in ended.stderr
    nonsense = emu(place, "attach", "shop", "--", "echo", "hello")
    assert nonsense.exit_code == 1 and "`echo hello`: " in nonsense.stderr
    bridge = emu(place, "bridge", "shop")
    assert bridge.exit_code == 1 and "no run called `shop` is here" in bridge.stderr
    assert not list(place.glob(".shop*"))
