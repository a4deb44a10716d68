"""The database of step 5 in the swarm, under every workload: what is judged, that it is judged, and
that it holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from emu.seeds.campaign import run_all
from emu.seeds.run import SeedResult, SeedRun, run_seed
from emu.topology.loading import load
from emu.verdict import long
from nodes.sql.database import SqlEngine
from nodes.sql.state import SqlState
from protocols.replication.primary import Primary
from protocols.replication.replica import PRIMARY

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
SWARM = str(TOPOLOGIES / "experiments" / "replication-swarm.yaml")
REPLICATION = str(TOPOLOGIES / "05-replication.yaml")


def lived(seed: int, for_s: float) -> SeedResult:
    return run_seed(SeedRun(SWARM, seed, for_s))


def test_it_is_the_database_and_the_links_of_step_5():
    step, swarm = load(REPLICATION), load(SWARM)
    ours, theirs = swarm.tier("db"), step.tier("db")
    assert (ours.config, ours.members, ours.restart) == (
        theirs.config,
        theirs.members,
        theirs.restart,
    )
    assert swarm.links == step.links


def test_every_promise_of_the_database_is_among_what_is_judged(monkeypatch):
    judged: dict[tuple[str, str], int] = {}
    sound = long.check

    def check(operations: Any, model: str, *, guarantee: str, **more: Any) -> Any:
        judged[model, guarantee] = len(operations)
        return sound(operations, model, guarantee=guarantee, **more)

    monkeypatch.setattr(long, "check", check)
    assert lived(1, 12.0).anomaly == ""
    assert set(judged) == {
        ("cas-register", ""),
        ("list-append", ""),
        ("set", ""),
        ("bank", ""),
        ("register", "session"),
        ("list-append", "session"),
    }
    assert min(judged.values()) > 20


@pytest.mark.parametrize("seed", range(2, 5))
def test_a_short_life_of_step_5s_database_is_clean(seed):
    found = lived(seed, 10.0)
    assert (found.anomaly, found.undecided) == ("", False)


async def _answers_without_the_token(self: SqlEngine, min_lsn: int) -> None:
    return


def _knows_no_request(self: SqlState, request_id: str) -> None:
    return None


def _never_demotes(self: Primary) -> float:
    return float("inf")


def _always_serves(self: Primary, now_s: float) -> bool:
    return bool(self.role == PRIMARY)


def _applies_half(self: SqlState, records: Sequence[bytes]) -> None:
    for record in records[::2]:
        self.apply(record)


Planted = Sequence[tuple[Any, str, Any]]
PLANTED: dict[str, Planted] = {
    "a replica answers without having what the token names": [
        (SqlEngine, "_wait_for_token", _answers_without_the_token)
    ],
    "retries are done again": [(SqlState, "_known_request", _knows_no_request)],
    "an old primary goes on serving": [
        (Primary, "_demote_s", property(_never_demotes)),
        (Primary, "can_serve", _always_serves),
    ],
    "a replay skips records": [(SqlState, "apply_batch", _applies_half)],
}
"""Bugs of the driver and the SQL above it; the core's: tests/protocols/replication/bugs.py."""


@pytest.mark.soak
@pytest.mark.parametrize("bug", PLANTED)
def test_the_swarm_finds_a_planted_bug(bug, monkeypatch):
    for place, name, broken in PLANTED[bug]:
        monkeypatch.setattr(place, name, broken)
    assert any(lived(seed, 60.0).anomaly for seed in range(1, 101))


@pytest.mark.soak
@pytest.mark.parametrize("first", range(1, 1001, 50))
def test_a_thousand_lives_of_step_5s_database_are_clean(first):
    """`emu sim topologies/experiments/replication-swarm.yaml --seeds 1000 --for 60s`."""
    runs = [SeedRun(SWARM, seed, 60.0) for seed in range(first, first + 50)]
    found = run_all(runs, os.cpu_count() or 1, lambda result: None)
    assert [(each.seed, each.anomaly) for each in found if each.anomaly or each.undecided] == []


@pytest.mark.soak
def test_step_5_as_it_ships_lives_through_the_swarm():
    runs = [SeedRun(REPLICATION, seed, 60.0) for seed in range(1, 21)]
    found = run_all(runs, os.cpu_count() or 1, lambda result: None)
    assert [(each.seed, each.anomaly) for each in found if each.anomaly] == []
