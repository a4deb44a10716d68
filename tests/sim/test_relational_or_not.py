"""Experiment 20, asserted as ratios: what a site gains and gives up on a store of keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emu.seeds.run import SeedRun, run_seed

FILE = Path(__file__).parents[2] / "topologies" / "experiments" / "20-relational-or-not.yaml"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    found = run_seed(SeedRun(str(FILE), 1, 15.0, "timeline"))
    assert found.anomaly == "" and found.summary is not None
    return found.summary


def of(summary: dict[str, Any], site: str, effect: str) -> dict[str, Any]:
    (row,) = (
        row
        for row in summary["by_clients"]
        if (row["clients"], row["effect"]) == (f"users-{site}", effect)
    )
    return {**row, "failed": row["errors"] / row["requests"], "p50": row["latency_s"]["p50"]}


def test_20_who_joins_by_keys_pays_more_for_each_page(summary: dict[str, Any]) -> None:
    sql, keys = of(summary, "sql", "read"), of(summary, "keys", "read")
    assert keys["p50"] > 1.3 * sql["p50"], (keys, sql)


def test_20_nobody_searches_a_store_of_keys(summary: dict[str, Any]) -> None:
    refused = summary["errors_by_code"]["refused"]
    assert 0.03 < refused / of(summary, "keys", "read")["requests"] < 0.13  # 5 of 75 reads


def test_20_one_machine_takes_all_of_sql_with_it_and_a_shard_its_share(
    summary: dict[str, Any],
) -> None:
    reads = {site: of(summary, site, "read") for site in ("sql", "keys")}
    searches = summary["errors_by_code"]["refused"]
    lost_pages = (reads["keys"]["errors"] - searches) / reads["keys"]["requests"]
    assert reads["sql"]["failed"] > 3 * lost_pages, reads
    assert of(summary, "sql", "write")["failed"] > 0.1
    assert of(summary, "keys", "write")["failed"] < 0.05
