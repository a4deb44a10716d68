"""Our arithmetic against Kubernetes' own: cases that its replica calculator and its controller have
answered (kubernetes/README.md says how they were made)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

from nodes.autoscaler.config import Policy, ScaleDown, ScaleUp
from nodes.autoscaler.pace import Pace
from nodes.autoscaler.replicas import (
    Asked,
    NoReading,
    Rules,
    Sample,
    Seen,
    by_average,
    by_total,
    by_utilization,
)

NOW_S: Final = 1000.0
FILE: Final = Path(__file__).parent / "kubernetes" / "cases.jsonl"
CASES: Final[list[dict[str, Any]]] = [json.loads(line) for line in FILE.read_text().splitlines()]
CALCULATED: Final = [each for each in CASES if each["kind"] != "paced"]
PACED: Final = [each for each in CASES if each["kind"] == "paced"]


def rules(case: dict[str, Any]) -> Rules:
    return Rules(
        case["tolerance_up"],
        case["tolerance_down"],
        case["initial_readiness_s"],
        case["cpu_initialization_s"],
    )


def seen(member: dict[str, Any]) -> Seen:
    sample = member["sample"]
    return Seen(**{**member, "sample": Sample(**sample) if sample is not None else None})


def ours(case: dict[str, Any]) -> Asked:
    current, target = case["current"], case["target"]
    members = [seen(each) for each in case.get("members", ())]
    if case["kind"] == "utilization":
        return by_utilization(current, target, members, rules(case), NOW_S)
    if case["kind"] == "average":
        return by_average(current, target, members, rules(case), NOW_S)
    return by_total(current, target, case.get("total", 0), rules(case))


def answer(case: dict[str, Any]) -> int | None:
    try:
        return ours(case).nodes
    except NoReading:
        return None


def test_all_that_is_calculated_is_as_kubernetes_calculates_it():
    wrong = [
        (case, answer(case))
        for case in CALCULATED
        if answer(case) != (None if case["fails"] else case["nodes"])
    ]
    assert wrong == []


def test_the_cases_are_many_and_of_every_kind():
    kinds = Counter(each["kind"] for each in CALCULATED)
    assert kinds == {"utilization": 300, "average": 150, "total": 50}
    changed = sum(not each["fails"] and each["nodes"] != each["current"] for each in CALCULATED)
    assert 200 < changed < 450
    assert sum(each["fails"] for each in CALCULATED) < 50


def behavior(kind: type[Any], said: dict[str, Any]) -> Any:
    policies = tuple(Policy(**each) for each in said["policies"])
    return kind(float(said["window_s"]), policies, said["select"])


def test_every_pace_is_as_kubernetes_goes():
    assert len(PACED) == 100
    for case in PACED:
        pace = Pace(behavior(ScaleUp, case["up"]), behavior(ScaleDown, case["down"]))
        current = case["current"]
        for step in case["steps"]:
            at_s = float(step["at_s"])
            nodes = pace.limit(current, step["asked"], case["least"], case["most"], at_s).nodes
            assert nodes == step["nodes"], (case, step, nodes)
            pace.changed(current, nodes, at_s)
            current = nodes
