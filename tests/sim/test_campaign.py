"""Many seeds: one digest however they are run, and a failing one that replays and shrinks."""

from __future__ import annotations

import gc
import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from emu.machine import reach
from emu.seeds import campaign
from emu.seeds.run import SeedResult, SeedRun, run_seed, topology_of
from emu.topology.writing import with_timeline

FOUR = "topologies/04-load-balancer.yaml"
FORGETFUL = str(Path(__file__).parent / "forgetful" / "forgetful.yaml")
BROKEN_SEED = 3


def emu_sim(*arguments: str, hash_seed: str = "0") -> tuple[int, dict]:
    """Exit code and JSON of `emu sim` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "emu", "sim", *arguments, "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_seeds_give_one_digest_in_every_process_and_number_of_jobs():
    words = (FOUR, "--seeds", "3", "--for", "3s")
    found = [
        emu_sim(*words, "--jobs", "1", hash_seed="1"),
        emu_sim(*words, "--jobs", "2", hash_seed="2"),
    ]
    assert [code for code, _ in found] == [0, 0]
    first, second = (record for _, record in found)
    assert first["digest"] == second["digest"]
    assert first["messages"] == second["messages"] > 1000
    assert {"seeds", "failed", "virtual_s", "wall_s", "messages", "digest"} <= set(first)


def test_a_campaign_for_ci_has_a_case_for_each_seed(tmp_path):
    file = tmp_path / "made" / "junit.xml"
    words = (FORGETFUL, "--seed", str(BROKEN_SEED), "--seeds", "2", "--no-shrink")
    code, record = emu_sim(*words, "--for", "5s", "--faults", "timeline", "--jobs", "1",
                           "--junit", str(file))  # fmt: skip
    text = file.read_text()
    failed = {each["seed"] for each in record["failed"]}
    assert (code, BROKEN_SEED in failed) == (4, True)
    assert f'tests="2" failures="{len(failed)}"' in text
    assert f'name="seed-{BROKEN_SEED}"><failure' in text and "replay: emu sim" in text


def test_another_seed_has_another_digest_and_one_process_has_no_memory():
    run = SeedRun(FORGETFUL, 1, 2.0)
    first, other, again = run_seed(run), run_seed(replace(run, seed=2)), run_seed(run)
    assert first.digest == again.digest != other.digest


@pytest.mark.slow
def test_a_failing_seed_replays_from_its_printed_line_in_a_fresh_process():
    code, record = emu_sim(FORGETFUL, "--seeds", "4", "--for", "5s", "--faults", "timeline")
    assert code == 4
    first = record["failed"][0]
    assert first["seed"] == BROKEN_SEED
    program, verb, *words = shlex.split(first["replay"])
    assert (program, verb) == ("emu", "sim")
    code, replayed = emu_sim(*words, "--no-shrink", hash_seed="7")
    assert code == 4
    assert [each["anomaly"] for each in replayed["failed"]] == [first["anomaly"]]
    assert "had been acknowledged" in first["anomaly"]
    assert first["operations"]


@pytest.fixture
def beside():
    """Writes a topology beside the forgetful one, which its code must lie beside."""
    path = Path(FORGETFUL).with_name(f"written-{os.getpid()}.yaml")

    def write(text: str) -> str:
        path.write_text(text)
        return str(path)

    yield write
    path.unlink(missing_ok=True)
    topology_of.cache_clear()


def test_the_fewest_faults_are_told_and_fail_as_an_ordinary_timeline(beside):
    run = SeedRun(FORGETFUL, BROKEN_SEED, 5.0, "timeline")
    fewer = campaign.shrink(run, run_seed(run).kind)
    items = campaign.faults_of(fewer)
    assert [item.fault.verb for item in items] == ["kill"]
    written = SeedRun(beside(with_timeline(FORGETFUL, items)), BROKEN_SEED, 5.0, "timeline")
    assert run_seed(written).digest == run_seed(fewer).digest
    assert run_seed(written).kind == "register"


def test_a_drawn_timeline_runs_the_same_when_it_stands_in_the_file(beside):
    drawn = SeedRun(FORGETFUL, 8, 5.0, "swarm")
    items = campaign.faults_of(drawn)
    assert items
    written = SeedRun(beside(with_timeline(FORGETFUL, items)), 8, 5.0, "timeline")
    assert run_seed(written).digest == run_seed(drawn).digest


def test_shrinking_keeps_just_the_faults_that_it_takes(monkeypatch):
    run = SeedRun(FORGETFUL, 1, 60.0, "swarm")
    tried: list[tuple[int, ...]] = []

    def fails_with_third_and_eighth(candidate: SeedRun) -> SeedResult:
        kept = candidate.only or ()
        tried.append(kept)
        kind = "register" if {3, 8} <= set(kept) else ""
        return SeedResult(1, kind, kind, (), "", 0.0, 0.0, 0, False, len(kept), None)

    monkeypatch.setattr(campaign, "faults_of", lambda run: tuple(range(12)))
    found = campaign.shrink(run, "register", run_one=fails_with_third_and_eighth)
    assert found.only == (3, 8)
    assert len(tried) <= campaign.SHRINK_RUNS
    tried.clear()
    campaign.shrink(run, "register", most_runs=5, run_one=fails_with_third_and_eighth)
    assert len(tried) == 5


def test_disks_are_damaged_only_when_asked_and_then_only_finding_it_is_asked():
    honest, damaged = SeedRun(FORGETFUL, 1, 5.0), SeedRun(FORGETFUL, 1, 5.0, "damage")
    worlds = [replace(damaged, seed=seed).knobs.disk.lying_sync_ratio for seed in range(20)]
    assert honest.knobs.disk.lying_sync_ratio == 0
    assert sum(ratio > 0 for ratio in worlds) > 5
    lying = replace(damaged, seed=next(seed for seed in range(20) if worlds[seed] > 0))
    result = run_seed(lying)
    assert result.anomaly == "" and result.summary is not None


def test_a_run_leaves_nothing_behind_in_its_process():
    """SQLite kept every dead node's clock, and so its whole world, until it was told to forget."""
    run = SeedRun(FOUR, 1, 1.0)
    run_seed(run)
    before = len(gc.get_objects()), apsw.vfs_names()
    for seed in (2, 3):
        run_seed(replace(run, seed=seed))
    gc.collect()
    assert apsw.vfs_names() == before[1]
    assert len(gc.get_objects()) < before[0] + 2000


def result_that(seed: int, **reached: int) -> SeedResult:
    return SeedResult(
        seed=seed, anomaly="", kind="", operations=(), digest="", virtual_s=1, wall_s=1,
        messages=1, undecided=False, faults=0, reached=reached, summary=None,
    )  # fmt: skip


def test_states_are_added_up_over_seeds_and_the_rarest_come_last():
    results = [result_that(1, rare=1, often=2), result_that(2, often=5)]
    assert list(campaign.reached(results).items()) == [("often", 7), ("rare", 1)]


def test_what_a_kind_names_and_no_seed_met_is_told():
    topology = topology_of(FOUR)
    kind = replace(topology.tiers[0].kind, reaches=("seen", "never seen"))
    topology = replace(topology, tiers=(replace(topology.tiers[0], kind=kind),))
    met = {"seen": 1, **dict.fromkeys(reach.LINKS, 1)}
    assert campaign.never(topology, met) == ["never seen"]


def test_what_takes_two_members_is_asked_of_no_single_one():
    db = next(tier for tier in topology_of(FOUR).tiers if tier.name == "db")
    kind = replace(db.kind, reaches=("alone",), reaches_together=("together",))
    for nodes, wanted in ((1, ["alone"]), (2, ["alone", "together"])):
        tier = replace(db, kind=kind, members=db.members * nodes)
        topology = replace(topology_of(FOUR), tiers=(tier,))
        assert campaign.never(topology, dict.fromkeys((*reach.LINKS, *reach.DISKS))) == wanted


def test_no_more_seeds_are_begun_once_it_is_enough(monkeypatch):
    begun = []
    monkeypatch.setattr(
        campaign, "run_seed", lambda run: begun.append(run) or result_that(run.seed)
    )
    runs = [SeedRun(FOUR, seed) for seed in range(1, 6)]
    results = campaign.run_all(runs, 1, lambda result: result.seed == 2)
    assert [each.seed for each in results] == [1, 2] and len(begun) == 2
