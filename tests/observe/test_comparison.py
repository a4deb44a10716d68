"""Two sides compared: pairs of seeds, intervals, what they tell, and the page."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from emu.observe.comparing import compare, interval
from emu.observe.comparison import lead, render


def summary(*, lost: int | None = 0, p99_s: float = 0.05, write_s: float = 0.01) -> dict[str, Any]:
    writes = {"effect": "write", "requests": 10, "latency_s": {"p50": write_s, "p99": write_s}}
    return {
        "lost_acknowledged_writes": lost,
        "duplicated_writes": None,
        "outage_s": 0.0,
        "availability": 1.0,
        "errors": 0,
        "latency_s": {"p50": 0.01, "p99": p99_s},
        "by_clients": [writes],
        "throughput_per_s": 40.0,
        "acknowledged_writes": 100,
        "nodes": 5,
    }


def by_name(rows):
    return {row.measure.name: row for row in rows}


def test_a_side_is_better_where_the_interval_leaves_zero_out():
    a = [summary(lost=0, p99_s=0.05 + seed / 1000) for seed in range(20)]
    b = [summary(lost=seed % 3, p99_s=0.05 + (seed * 7 % 20) / 1000) for seed in range(20)]
    rows = by_name(compare(a, b))
    lost = rows["lost_acknowledged_writes"]
    assert (lost.a, lost.b, lost.better) == (0, pytest.approx(0.95), "a")
    assert lost.low > 0
    assert rows["latency_p99_s"].better == ""
    assert rows["availability"].better == "" and rows["availability"].difference == 0


def test_what_is_the_same_everywhere_or_unknown_is_left_out():
    rows = by_name(compare([summary(), summary()], [summary(), summary()]))
    assert "nodes" not in rows and "duplicated_writes" not in rows
    assert "lost_acknowledged_writes" in rows


def test_a_seed_that_broke_down_on_one_side_is_no_pair():
    rows = by_name(compare([summary(), None, summary()], [summary(), summary(), summary(lost=4)]))
    assert rows["lost_acknowledged_writes"].pairs == (0, 4)


def test_what_must_never_be_tells_in_however_few_seeds():
    (row, *_) = compare([summary()] * 9, [summary(lost=7), *[summary()] * 8])
    assert (row.low, row.better, row.says) == (0, "a", "B in 1 of 9 seeds")


def test_one_pair_has_no_interval():
    rows = by_name(compare([summary()], [summary(p99_s=3.0)]))
    row = rows["latency_p99_s"]
    assert (row.low, row.high, row.better) == (None, None, "")


def test_the_interval_is_the_same_each_time_and_holds_the_mean():
    values = [1.0, 2.0, 2.0, 5.0, 9.0]
    low, high = interval(values, "x")
    assert (low, high) == interval(values, "x")
    assert low < 3.8 < high and low >= 1 and high <= 9


def test_the_page_says_what_is_sure_and_carries_its_figures():
    rows = compare(
        [summary(write_s=0.02) for _ in range(5)], [summary(lost=2, write_s=0.01) for _ in range(5)]
    )
    assert lead(rows) == (
        "A is better in acknowledged writes lost. B is better in latency p50 of writes."
    )
    page = render(("quorum", "db.ack=<async>"), rows, 5, "swarm")
    assert "db.ack=&lt;async&gt;" in page and "<async>" not in page
    carried = re.search(r'<script type="application/json" id="rows">(.*)</script>', page)
    assert json.loads(carried[1])[0]["name"] == "lost_acknowledged_writes"


def test_where_the_seeds_do_not_tell_it_says_so():
    assert lead(compare([summary()] * 3, [summary()] * 3)).startswith("The seeds do not tell")
