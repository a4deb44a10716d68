"""A campaign in parts: whatever runs where, its digest is that of one place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from emu.cli.verbs import app
from emu.seeds import elsewhere
from emu.seeds.elsewhere import Unfit
from emu.seeds.merging import merged, shard
from emu.versions import complete

TWO = "02"
WORDS = (TWO, "--seeds", "4", "--for", "3s", "-j", "1")


def sim(*words: str) -> Any:
    return CliRunner().invoke(app, ["sim", *WORDS, *words, "--json"])


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return dict(json.loads(sim().stdout))


def test_parts_that_ran_apart_merge_into_the_whole(whole, tmp_path):
    paths = []
    for number in (2, 1):
        path = tmp_path / f"part-{number}.json"
        path.write_text(sim("--shard", f"{number}/2").stdout)
        paths.append(str(path))
    result = CliRunner().invoke(app, ["merge", *paths, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["virtual_s"] == pytest.approx(whole["virtual_s"], abs=0.002)  # of rounded parts
    for key in whole.keys() - {"wall_s", "virtual_s", "counted"}:
        assert found[key] == whole[key], key
    assert {line["clients"]: line for line in found["counted"]} == {
        line["clients"]: line for line in whole["counted"]
    }


def test_what_does_not_belong_together_is_refused(whole, tmp_path):
    with pytest.raises(ValueError, match="seed 1 is in two of them"):
        merged([whole, whole])
    with pytest.raises(ValueError, match="they differ in campaign"):
        merged([whole, {**whole, "campaign": "another"}])
    with pytest.raises(ValueError, match="no `digests`"):
        merged([{}])
    other = tmp_path / "other.json"
    other.write_text("[]")
    result = CliRunner().invoke(app, ["merge", str(other)])
    assert result.exit_code == 2 and "is no record; `emu sim --json` writes one" in result.stderr


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "a/b", "1/0", "-1/2"])
def test_a_part_is_one_of_so_many(text):
    with pytest.raises(ValueError, match="write 2/4"):
        shard(text)
    assert shard("2/4") == (1, 4)


def test_a_part_of_fewer_seeds_than_parts_may_be_none():
    result = sim("--shard", "5/5")
    assert result.exit_code == 2 and "have no such part" in result.stderr


# --- on Dask's workers ---------------------------------------------------------------------------


def needs_dask() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("Dask is not installed: pip install 'emu[dask]'")


def started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def line_with(process: subprocess.Popen[str], pattern: str) -> str:
    """The first line of its log that has it."""
    assert process.stderr is not None
    for line in process.stderr:
        if match := re.search(pattern, line):
            return match[1] if match.groups() else match[0]
    raise AssertionError(f"it ended before it said {pattern}")


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    needs_dask()
    process = started("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
                      "--no-dashboard")  # fmt: skip
    try:
        yield line_with(process, r"Scheduler at:\s+tcp://(\S+)")
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def worker(scheduler: str, folder: Path, threads: int = 1) -> subprocess.Popen[str]:
    process = started("distributed.cli.dask_worker", scheduler, "--nthreads", str(threads),
                      "--no-nanny", "--no-dashboard", "--local-directory", str(folder))  # fmt: skip
    line_with(process, "Registered to")
    return process


@pytest.mark.alone
def test_workers_give_the_digest_of_home_and_one_may_be_killed(whole, scheduler, tmp_path):
    doomed, other = (worker(scheduler, tmp_path / name) for name in "ab")
    words = ["sim", *WORDS, "--on", f"dask://{scheduler}", "--json"]
    campaign = subprocess.Popen(
        [sys.executable, "-m", "emu", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line_with(campaign, "seeds 1 to 4")
        time.sleep(0.7)  # the first seeds are under way
        doomed.kill()
        told, _ = campaign.communicate(timeout=60)
        assert json.loads(told)["digest"] == whole["digest"]
    finally:
        for each in (campaign, doomed, other):
            end(each)


@pytest.mark.alone
def test_a_cluster_that_would_not_give_the_same_is_refused(scheduler, tmp_path):
    wide = worker(scheduler, tmp_path / "wide", threads=2)
    try:
        result = sim("--on", f"dask://{scheduler}")
        assert result.exit_code == 2 and "--nthreads 1" in result.stderr.replace("\n", " ")
    finally:
        end(wide)


def test_a_worker_with_other_code_is_refused(monkeypatch):
    client = SimpleNamespace(
        scheduler_info=lambda **_: {"workers": {"tcp://a": {"nthreads": 1}}},
        run=lambda _: {"tcp://a": {**complete(), "trio": "0.1"}},
    )
    with pytest.raises(Unfit, match=r"tcp://a has trio 0\.1, here it is .* install the same"):
        elsewhere._check(client, complete())


def test_a_place_that_is_none_is_refused():
    result = sim("--on", "kubernetes://x")
    assert result.exit_code == 2 and "write dask://HOST:PORT" in result.stderr
