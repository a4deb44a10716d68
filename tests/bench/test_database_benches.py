"""The database's benchmarks start their rigs and say what they promise to, at tiny sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.bench import PeerMissing, catchup, commit, failover
from tests.peers import missing

pytestmark = pytest.mark.slow


def measured(run: Callable[..., dict[str, Any]], **sizes: Any) -> dict[str, Any]:
    try:
        result = run(runs=1, **sizes)
    except PeerMissing as problem:
        missing(str(problem))
    for row in (result, *result["rows"]):
        assert row["name"] and row["unit"] and row["runs"] == 1
        assert row["ours"] > 0
        if row["peer"] is None:
            assert row["ratio"] is None
        else:
            assert row["ratio"] == pytest.approx(row["ours"] / row["peer"], rel=0.01)
    return result


def test_commits_are_measured_beside_postgresql_and_over_links():
    result = measured(commit.run, time_s=0.2)
    plain, linked = result["rows"]
    assert plain["peer"] > 0 and plain["unit"] == "commits/s"
    assert linked["peer"] is None and "0.3 ms" in linked["name"]


def test_an_outage_is_measured_beside_redis_sentinel():
    result = measured(failover.run, detection_s=0.5, faults=("pause",))
    (row,) = result["rows"]
    assert row["peer"] >= 0.5
    assert row["over_detection"] == pytest.approx(row["ours"] / 0.5, rel=0.01)


def test_a_catch_up_and_what_it_leaves_to_others_are_measured():
    seconds, kept = measured(catchup.run, megabytes=1, steady_s=0.2, ways=["from the log"])["rows"]
    assert (seconds["unit"], kept["unit"]) == ("s", "of those before")
    assert kept["measured"][0]["behind_bytes"] >= 1e6
