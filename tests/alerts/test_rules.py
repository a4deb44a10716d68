"""The shipped rules, evaluated without Prometheus: what promtool is asked, emu answers alike."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from emu.alerts import rules
from emu.alerts.states import FIRING, Alerts
from tests.alerts.series_text import feed, values

QUESTIONS = rules.SHIPPED / "tests" / "rules_test.yaml"
CASES: list[dict[str, Any]] = YAML(typ="safe").load(QUESTIONS.read_text())["tests"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_emu_answers_what_promtool_is_asked(case: dict[str, Any]):
    alerts = Alerts(rules.shipped())
    given = {each["series"]: values(each["values"]) for each in case["input_series"]}
    asked: dict[int, list[Any]] = {}
    for each in case["alert_rule_test"]:
        asked.setdefault(int(each["eval_time"][:-1]), []).append(each)
    for turn in range(max(asked) + 1):
        feed(alerts, given, turn)
        alerts.evaluate(float(turn))
        for each in asked.get(turn, ()):
            assert told(alerts, each["alertname"]) == wanted(each), (turn, each["alertname"])
    assert not alerts.problems


def told(alerts: Alerts, name: str) -> list[Any]:
    return sorted(
        (tuple(each for each in found.labels if each[0] != "alertname"),
         found.summary, found.description)
        for found in alerts.active
        if found.alert == name and found.state == FIRING
    )  # fmt: skip


def wanted(asked: dict[str, Any]) -> list[Any]:
    return sorted(
        (tuple(sorted(each["exp_labels"].items())), each["exp_annotations"]["summary"],
         each["exp_annotations"]["description"])
        for each in asked["exp_alerts"]
    )  # fmt: skip
