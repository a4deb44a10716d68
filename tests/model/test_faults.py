"""Faults as plain data: what comes from outside is checked before anything is broken."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import pytest

from emu.model import faults
from emu.model.vocabulary import verbs


def test_every_verb_is_read_back_from_its_record() -> None:
    given: dict[str, Any] = {
        "between": ("a", "b"),
        "tier": "web",
        "target": "web",
        "to": 3,
        "file": "db.backup",
    }
    given |= {"topic": "photos", "value": "{}", "key": "home", "file": "db.backup"}
    for kind in verbs().values():
        needed = {
            each.name: given[each.name]
            for each in fields(kind)  # type: ignore[arg-type]
            if each.default is MISSING
        }
        some = {"disk": {"full": True}, "skew": {"step_s": 1.0}}.get(kind.verb, {})
        fault = kind(**needed, **some)  # without, these do nothing, and say so
        assert faults.from_record(faults.to_record(fault), verbs()) == fault


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({}, "no such verb: None"),
        ({"verb": ["kill"]}, "no such verb"),
        ({"verb": "fly"}, "no such verb: 'fly'; there are: kill"),
        ({"verb": "kill"}, "kill needs its `target`"),
        ({"verb": "kill", "target": 7}, "`target` cannot be 7"),
        ({"verb": "kill", "target": "web", "hard": True}, "kill knows no `hard`"),
        ({"verb": "slow", "target": "web", "latency_s": "x"}, "`latency_s` cannot be 'x'"),
        ({"verb": "slow", "target": "web", "latency_s": -1.0}, "below 0"),
        ({"verb": "slow", "target": "web", "latency_s": float("nan")}, "not a finite number"),
        ({"verb": "slow", "target": "web", "latency_s": True}, "`latency_s` cannot be True"),
        ({"verb": "loss", "target": "web", "loss_ratio": 1.5}, "the most is 1"),
        ({"verb": "throttle", "target": "web", "bandwidth_bytes_per_s": 0.0}, "at least 1B/s"),
        ({"verb": "throttle", "target": "web", "bandwidth_bytes_per_s": 1e-9}, "at least 1B/s"),
        ({"verb": "skew", "target": "web", "drift_ratio": -0.95}, "`drift` must be from -90%"),
        ({"verb": "cpu", "target": "web", "cores": 1.5}, "`cores` cannot be 1.5"),
        ({"verb": "disk", "target": "web", "fail": "all"}, "`fail` cannot be 'all'"),
        ({"verb": "partition", "between": "web"}, "`between` cannot be 'web'"),
        ({"verb": "scale", "tier": "web", "nodes": 10**400}, "`nodes` is impossible: the most"),
        ({"verb": "slow", "target": "web", "latency_s": 10**400}, "`latency` is impossible"),
        ({"verb": "partition", "between": ["a", 1]}, "`between` cannot be"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:20],
)
def test_a_record_that_no_fault_can_have_is_refused(record: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        faults.from_record(record)
