"""The wheel, installed as `pipx install` and `uvx` do: in an environment of its own, far from the
clone, where it finds what ships with it. And README's tests run there as README says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PATIENCE_S = 300


def run(*command: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Without what would lead back to the clone."""
    clean = {key: each for key, each in os.environ.items() if not key.startswith("PYTHON")}
    clean |= {"EMU_STATE_DIR": str(cwd / "state"), "NO_COLOR": "1"}
    done = subprocess.run(
        command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0 or not check, f"{command}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `venv/`, in which the built wheel and pytest are."""
    folder = tmp_path_factory.mktemp("far")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    probe = run(*pip, "download", "--no-deps", "-d", "probe", "iniconfig", cwd=folder, check=False)
    if probe.returncode:
        pytest.skip(f"no network: {probe.stderr[-200:]}")
    run(*pip, "wheel", "--no-deps", "-w", str(folder / "dist"), str(ROOT), cwd=folder)
    venv.create(folder / "venv", with_pip=True)
    (wheel,) = (folder / "dist").glob("emu-*.whl")
    run("venv/bin/python", "-m", "pip", "install", "-q", str(wheel), "pytest", cwd=folder)
    return folder


def emu(far: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run("venv/bin/emu", *words, cwd=far)


@pytest.mark.soak
def test_it_finds_the_shipped_topologies_and_runs_them(far: Path) -> None:
    assert emu(far, "--version").stdout.startswith("emu 0.")
    assert "balancer" in emu(far, "config", "04").stdout
    found = json.loads(emu(far, "up", "topologies/01-single-server.yaml", "--for", "2s",
                           "--json").stdout)  # fmt: skip
    assert found["name"] == "single-server" and found["lost_acknowledged_writes"] == 0
    assert "1 seed, 0 failed" in emu(far, "sim", "01", "--seeds", "1", "--for", "5s").stderr


@pytest.mark.soak
def test_a_topology_of_ones_own_begins_there(far: Path) -> None:
    emu(far, "new", "shop.yaml", "web=2")
    assert "web" in emu(far, "config", "shop.yaml").stdout
    assert "quorum" in emu(far, "explain", "database.ack").stdout
    assert "A member has come to lead" in emu(far, "explain", "promoted").stdout


@pytest.mark.soak
def test_the_tests_of_the_readme_run_without_any_setting(far: Path) -> None:
    blocks = (ROOT / "README.md").read_text("utf-8").split("```python\n")
    (test,) = [each.partition("```")[0] for each in blocks if "pytest.mark.seeds" in each]
    (far / "test_shop.py").write_text(test)
    done = run("venv/bin/python", "-m", "pytest", "-q", "-k", "seed-1]", cwd=far)
    assert "1 passed" in done.stdout
