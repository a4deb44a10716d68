"""`db.lag > 2s`: conditions that a run is stopped at."""

from __future__ import annotations

from pathlib import Path

import pytest

import emu
from emu.running.conditions import Condition, parse
from emu.running.targets import TargetError
from emu.seeds.breaking import break_seed
from emu.seeds.run import SeedRun

FIVE = str(Path(__file__).parents[2] / "topologies" / "05-replication.yaml")
ROWS = [
    {"name": "db-1", "state": "up", "lag_s": 0.1, "epoch": 2, "role": "primary"},
    {"name": "db-2", "state": "killed", "lag_s": 2.5, "epoch": 3, "role": None},
]


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("db.lag > 2s", "db-2"),
        ("db.lag_s > 2000ms", "db-2"),
        ("db.lag > 3s", ""),
        ("db.epoch == 2", "db-1"),
        ("db.epoch>=2", "db-1"),
        ("db.state == killed", "db-2"),
        ("db.state != up", "db-2"),
        ("db.role == primary", "db-1"),
        ("db.backlog > 0", ""),
    ],
)
def test_a_condition_is_met_by_the_first_node_of_which_it_is_true(text, met):
    assert parse(text).met_by(ROWS) == met


def test_targets_may_be_several_words():
    assert parse("db primary.lag > 2s") == Condition("db primary", "lag", ">", "2s")


@pytest.mark.parametrize("text", ["", "db", "db.lag", "lag > 2s", "db.lag is 2s", ".lag > 2s"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(ValueError, match=r"TARGET\.FACT > VALUE"):
        parse(text)


def test_a_word_is_not_more_than_another():
    with pytest.raises(ValueError, match="only == and != fit it"):
        parse("db.state > up").met_by(ROWS)


def test_a_value_in_no_unit_of_the_fact_is_refused():
    with pytest.raises(ValueError, match="no unit of a time"):
        parse("db.lag > 2 parsecs").met_by(ROWS)


def test_a_seed_stops_where_it_is_met():
    run = SeedRun(FIVE, 1, for_s=5.0, faults="none")
    stop = break_seed(run, parse("db.lsn >= 40"))
    assert stop is not None and 0 < stop.at_s < 5
    assert stop.node.startswith("db-")
    assert next(row for row in stop.rows if row["name"] == stop.node)["lsn"] >= 40
    assert stop.events
    assert break_seed(run, parse("db.lsn >= 1000000")) is None
    with pytest.raises(TargetError):
        break_seed(run, parse("nobody.lsn > 1"))


def test_it_is_the_seed_that_sim_runs_of_each_source_of_faults(monkeypatch):
    varied: list[int] = []
    monkeypatch.setattr(
        "emu.seeds.run.varied", lambda topology, seed: varied.append(seed) or topology
    )
    for seed, faults in enumerate(("planned", "none", "timeline", "swarm", "damage"), start=1):
        break_seed(SeedRun(FIVE, seed, for_s=0.5, faults=faults), parse("db.lsn >= 1000000"))
    assert varied == [4, 5]  # limits are drawn where faults are


def test_a_script_waits_until_it_is_met():
    async def script(c):
        await c.kill("db primary")
        node = await c.when("db.epoch >= 2", timeout_s=10)
        with pytest.raises(TimeoutError, match="not met within 1 s"):
            await c.when("db.epoch >= 9", timeout_s=1)
        return node

    assert emu.run(script, FIVE, world="sim", seed=3).startswith("db-")
