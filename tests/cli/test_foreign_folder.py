"""A current folder with modules of every name that Python or emu has: none of them is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import PATIENCE_S, TINY, environment, with_workers

pytestmark = pytest.mark.slow
TRAP = "open({marker!r}, 'a').write(__name__ + ' '); raise SystemExit('shadowed')"
OURS = ("emu", "nodes", "protocols", "topologies", "dashboards", "trio", "msgpack", "typer",
        "sitecustomize", "usercustomize")  # fmt: skip


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """The folder; `run` in it is written by whatever module of it is imported."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    trap = TRAP.format(marker=str(folder / "run"))
    for name in (*sys.stdlib_module_names, *OURS):
        (folder / f"{name}.py").write_text(trap)
    (folder / "tiny.yaml").write_text(TINY)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The console script, started in that folder."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("emu")), *with_workers(*words)],
        cwd=folder,
        env=environment(folder.parent / "state"),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )


def nothing_was_run(folder: Path) -> None:
    assert not (folder / "run").exists(), (folder / "run").read_text()


def test_a_cluster_in_the_background(foreign: Path) -> None:
    up = run(foreign, "up", "tiny.yaml", "-d")
    try:
        nothing_was_run(foreign)
        assert up.returncode == 0, up.stderr
    finally:
        assert run(foreign, "down").returncode == 0
    nothing_was_run(foreign)


def test_seeds_in_several_processes(foreign: Path) -> None:
    sim = run(foreign, "sim", "tiny.yaml", "--seeds", "2", "--jobs", "2")
    nothing_was_run(foreign)
    assert sim.returncode == 0, sim.stderr


def test_a_disk_that_is_really_synced(foreign: Path) -> None:
    (foreign / "tiny.yaml").write_text(TINY.replace("kind: web", "kind: web, disk: {sync: real}"))
    test_a_cluster_in_the_background(foreign)
