"""Faults, promotions and failures as spans of time, in words and in Grafana's format."""

from __future__ import annotations

import pytest

from emu.observe.annotations import for_grafana, spans
from emu.observe.wording import fault_text
from nodes.kinds import KINDS

KILL = {"number": 1, "at_s": 10.0, "verb": "kill", "target": "one web", "affected": ["web-2"]}
PROMOTED = {"index": 7, "time_s": 12.5, "level": "info", "event": "promoted", "node": "db-2",
            "tier": "db", "region": "local", "role": "primary", "epoch": 2}  # fmt: skip


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (KILL, "kill web-2 (one web)"),
        ({**KILL, "target": "web-2"}, "kill web-2"),
        ({**KILL, "target": "region us", "affected": [f"web-{n}" for n in range(7)]},
         "kill region us (7 nodes)"),
        ({"verb": "slow", "target": "db", "latency_s": 0.08, "jitter_s": 0.0, "to": "all"},
         "slow db: latency 80ms"),
        ({"verb": "partition", "between": ["us", "eu"], "one_way": True, "mode": "hold"},
         "partition us / eu: one way"),
        ({"verb": "disk", "target": "db", "slow_factor": 3.0, "fail": "none", "full": True},
         "disk db: slow factor 3, full"),
        ({"verb": "heal", "what": "all"}, "heal all"),
        ({"verb": "scale", "tier": "web", "nodes": 0}, "scale web: nodes 0"),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_the_words_of_the_command_line(record, text):
    assert fault_text({"number": 1, "at_s": 0.0, **record}) == text


def test_spans_are_in_order_and_unremarkable_events_are_none():
    noise = {"index": 1, "time_s": 1.0, "level": "info", "event": "node up", "node": "web-1"}
    found = spans([KILL], [PROMOTED, noise], active=[], kinds=tuple(KINDS.values()))
    assert [(each["kind"], each["start_s"]) for each in found] == [
        ("fault", 10.0),
        ("promotion", 12.5),
    ]
    assert found[1]["text"] == "db-2: promoted (role primary, epoch 2)"


def test_a_reshard_lasts_from_its_plan_to_its_end_whoever_says_so():
    begun = {"index": 1, "time_s": 3.0, "level": "info", "event": "reshard begun", "moves": 4,
             "node": "kv-coordinator-1", "tier": "kv-coordinator", "plan": "p1"}  # fmt: skip
    ended = {**begun, "time_s": 8.5, "event": "reshard ended", "node": "kv-coordinator-2",
             "outcome": "done"}  # fmt: skip
    (span,) = spans([], [begun, ended], active=[], kinds=tuple(KINDS.values()))
    assert (span["kind"], span["start_s"], span["end_s"]) == ("reshard", 3.0, 8.5)
    assert span["text"] == "kv-coordinator-1: reshard begun (moves 4, plan p1): done"
    (still,) = spans([], [begun], active=[], kinds=tuple(KINDS.values()))
    assert still["active"] and still["end_s"] is None


def test_what_breaks_nothing_is_no_fault():
    scale = {"number": 1, "at_s": 1.0, "verb": "scale", "tier": "web", "nodes": 5}
    assert [
        each["kind"] for each in spans([scale, KILL], [], active=[], kinds=tuple(KINDS.values()))
    ] == ["operation", "fault"]


def test_grafana_gets_a_region_for_what_has_an_end_or_goes_on_and_a_line_for_a_moment():
    ended = {**KILL, "number": 2, "at_s": 1.0, "ended_s": 3.0}
    found = for_grafana(
        spans([KILL, ended], [PROMOTED], active=[1], kinds=tuple(KINDS.values())),
        lambda time_s: 1_700_000_000.0 + time_s,
        20.0,
    )
    assert [(each["time"], each.get("timeEnd"), each.get("isRegion")) for each in found] == [
        (1_700_000_001_000, 1_700_000_003_000, True),
        (1_700_000_010_000, 1_700_000_020_000, True),
        (1_700_000_012_500, None, None),
    ]
    assert found[1]["tags"] == ["fault", "kill"]


def test_a_fault_names_whom_it_met_and_no_default_of_an_option():
    slow = {"number": 1, "at_s": 1.0, "verb": "slow", "target": "one web", "latency_s": 0.08,
            "to": "all", "affected": ["web-2"]}  # fmt: skip
    cut = {"number": 2, "at_s": 2.0, "verb": "partition", "between": ["db-1,db-2", "lb"]}
    found = spans([slow, cut], [], active=[], kinds=tuple(KINDS.values()))
    assert [each["names"] for each in found] == [["one", "web", "web-2"], ["db-1", "db-2", "lb"]]
