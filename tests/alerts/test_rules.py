"""The shipped rules, evaluated without Prometheus: what promtool is asked, emu answers alike."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from emu.alerts import rules
from emu.alerts.states import FIRING, Alerts
from emu.cli.verbs import app
from emu.model.vocabulary import verbs
from tests.alerts.series_text import feed, values

QUESTIONS = rules.SHIPPED / "tests" / "rules_test.yaml"
CASES: list[dict[str, Any]] = YAML(typ="safe").load(QUESTIONS.read_text())["tests"]

COMMANDS: Any = get_command(app)
VERBS = COMMANDS.commands
OF_KINDS = verbs()


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
         found.summary, found.description, found.mend)
        for found in alerts.active
        if found.alert == name and found.state == FIRING
    )  # fmt: skip


def wanted(asked: dict[str, Any]) -> list[Any]:
    return sorted(
        (tuple(sorted(each["exp_labels"].items())), each["exp_annotations"]["summary"],
         each["exp_annotations"]["description"], each["exp_annotations"]["mend"])
        for each in asked["exp_alerts"]
    )  # fmt: skip


@pytest.mark.parametrize(
    "alert", [each for each in rules.shipped() if isinstance(each, rules.Alert)],
    ids=lambda alert: alert.name,
)  # fmt: skip
def test_every_alert_says_what_mends_it_in_verbs_that_there_are(alert: rules.Alert):
    told = re.findall(r"`emu ([a-z]+(?: [a-z-]+)?)", alert.mend)
    assert told or alert.name == "EmuStarved" or "`" in alert.mend
    assert [verb for verb in told if not is_verb(verb)] == []
    assert alert.mend not in (alert.summary, alert.description)


def is_verb(words: str) -> bool:
    """Emu's own, or one that a kind brings (`cache warm`)."""
    return words.split()[0] in VERBS or words in OF_KINDS


def test_what_is_said_of_an_alert_is_said_of_no_series():
    assert rules.in_general("{{ $value | humanize }} at {{ $labels.node }}") == "VALUE at NODE"
