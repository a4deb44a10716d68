"""The pytest plugin, run as its users run it: a pytest of its own on a file of theirs."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

TOPOLOGY = {topology!r}


@pytest.mark.seeds(4)
async def test_two_web_servers_are_left(cluster):
    async with cluster(TOPOLOGY) as c:
        await c.kill("one web", for_s=1)
        await c.sleep(2)
        assert (await c.finish())["anomalies"] == []


@pytest.mark.seeds(4)
async def test_it_is_never_the_third(cluster, number):
    async with cluster(TOPOLOGY) as c:
        hit = await c.resolve("one web")
        assert number == 7 and hit != ["web-3"]


async def test_one_world_is_enough_without_a_mark(cluster):
    async with cluster(TOPOLOGY) as c:
        await c.sleep(0.5)
        assert c.now_s < 10


def test_others_are_left_alone():
    pass


@pytest.fixture
def number():
    return 7
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rN", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_failing_seed_is_named_and_its_line_runs_it_again(tmp_path):
    topology = str(Path("topologies/04-load-balancer.yaml").resolve())
    (tmp_path / "test_site.py").write_text(TESTS.format(topology=topology))
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    first = run_pytest(tmp_path)
    assert first.returncode == 1, first.stdout + first.stderr
    replays = [line for line in first.stdout.splitlines() if line.startswith("pytest '")]
    assert 1 <= len(replays) < 4  # some seeds hit another server
    assert f"{len(replays)} failed, {10 - len(replays)} passed" in first.stdout
    assert "trio" in replays[0]
    _, node_id = shlex.split(replays[0].partition("   (")[0])
    again = run_pytest(tmp_path, node_id)
    assert again.returncode == 1 and "1 failed" in again.stdout
    assert "assert (7 == 7 and ['web-3'] != ['web-3'])" in again.stdout


LOSING = """
from pathlib import Path

import pytest


@pytest.mark.seeds(1)
async def test_nothing_is_lost(cluster, tmp_path):
    text = Path({topology!r}).read_text().replace("ack: quorum", "ack: async")
    (tmp_path / "async.yaml").write_text(text)
    async with cluster(tmp_path / "async.yaml") as c:
        await c.sleep(2)
        (primary,) = await c.resolve("db primary")
        others = [name for name in await c.resolve("db") if name != primary]
        cut = await c.partition(primary, ",".join(others))
        await c.sleep(0.5)
        await c.crash(primary, for_s=4)
        await cut.undo()
        await c.sleep(8)
        summary = await c.finish()
    assert summary["lost_acknowledged_writes"] == 0
"""


@pytest.mark.slow
def test_a_failure_names_the_writes_that_were_lost(tmp_path):
    topology = str(Path("topologies/05-replication.yaml").resolve())
    (tmp_path / "test_site.py").write_text(LOSING.format(topology=topology))
    done = run_pytest(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "what was wrong" in done.stdout
    assert "  lost: users-local-1-" in done.stdout and "acknowledged at " in done.stdout
