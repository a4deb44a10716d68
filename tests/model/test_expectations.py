"""An expectation is told as it was written, and what was found in units that people read."""

from __future__ import annotations

import pytest

from emu.model.expectations import TOO_SHORT, Expectation, evaluate, parse


@pytest.mark.parametrize(
    ("expected", "actual", "told"),
    [
        (Expectation("availability", ">=", 0.995), 0.97, "availability >= 99.5%, it was 97%"),
        (Expectation("latency_p99", "<=", 1.0), 0.264476, "latency_p99 <= 1s, it was 264.5 ms"),
        (Expectation("outage", "<=", 3.0), 4.25, "outage <= 3s, it was 4.25 s"),
        (Expectation("outage", "<=", 3.0), 0.0, "outage <= 3s, it was 0"),
        (Expectation("outage", "<=", 3.0), None, "outage <= 3s, nothing here measures it"),
    ],
)
def test_what_was_found_is_told_in_units_that_people_read(expected, actual, told):
    assert f"{expected}, {expected.told(actual)}" == told


RAN = {"ran_s": 60.0, "ready_s": 2.0, "requests": 4000, "errors": 0, "availability": 1.0,
       "throughput_per_s": 66.7, "not_run": [], "faults": [], "alerts": []}  # fmt: skip
NONE = {"ran_s": 0.048, "requests": 0, "availability": None, "throughput_per_s": 0.0}
LATER = "line 9: `kill db` is at 5 s, when the run was over"
KILLED = {"faults": [{"verb": "kill", "at_s": 50.0}]}


@pytest.mark.parametrize(
    ("line", "run", "why"),
    [
        ("availability >= 98%", NONE, "no request ended in 48 ms"),
        ("latency_p99 <= 1s", NONE, "no request ended in 48 ms"),
        ("throughput >= 50/s", {**NONE, "requests": 2}, "it needs 1 s of requests, not 48 ms"),
        ("availability >= 98%", {"requests": 15, "errors": 1, "availability": 0.93},
         "1 of 15 requests failed, and it takes 50 until one may"),
        ("alert NoPrimary fires within 20s of kill", KILLED,
         "it may fire until 70 s, and the run was over at 62 s"),
        ("alert NoPrimary fires within 20s of kill", {"not_run": [LATER]}, LATER),
    ],
)  # fmt: skip
def test_a_run_that_is_too_short_misses_nothing_and_says_what_it_takes(line, run, why):
    (judged,) = evaluate([parse(line)], {**RAN, **run})
    assert (judged["held"], judged["told"]) == (None, f"{TOO_SHORT}: {why}")


@pytest.mark.parametrize(
    ("line", "run"),
    [
        ("availability >= 98%", {**NONE, "ran_s": 30.0}),
        ("throughput >= 50/s", {"throughput_per_s": 40.0}),
        ("availability >= 98%", {"requests": 15, "errors": 2, "availability": 0.87}),
        ("availability >= 98%", {"requests": 50, "errors": 2, "availability": 0.96}),
        ("alert NoPrimary fires within 5s of kill", KILLED),
        ("alert NoPrimary fires within 5s of kill", {}),
        ("lost_acknowledged_writes == 0", {"not_run": [LATER]}),
        ("alert NoPrimary fires", {"not_run": ["line 9: `kill x` was not possible: no"]}),
        ("errors == 0", {**NONE, "errors": 1}),
        ("requests <= 1", {**NONE, "requests": 2}),
    ],
)
def test_a_run_that_says_enough_misses_what_it_misses(line, run):
    (judged,) = evaluate([parse(line)], {**RAN, **run})
    assert judged["held"] is False and TOO_SHORT not in judged["told"]
