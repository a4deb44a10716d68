"""What fires now and what has fired: rules evaluated again and again. Pure.

An alert is pending until its expression has held for the rule's `for`, then it fires, until it no
longer holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from emu.alerts.evaluating import Vector, vector
from emu.alerts.language import Labels
from emu.alerts.rules import Alert, Recording, Rule, filled, kept_s, needed
from emu.alerts.series import MAX_SERIES, Store

MAX_ACTIVE: Final = 200
"""Of one rule: with more series than that it says the same of all."""
MAX_KEPT: Final = 1000
"""Firings of a run that are kept; the first ones, as expectations are about those."""
PENDING: Final = "pending"
FIRING: Final = "firing"
OF_THE_RULE: Final = "alertname"
RULES: Final = "rules/"
"""In front of a recording's name, where a target's would stand."""


@dataclass(slots=True)
class Firing:
    """One alert about one series, from its first moment to its last."""

    alert: str
    labels: Labels
    since_s: float
    """When it first held."""
    fired_s: float | None = None
    cleared_s: float | None = None
    summary: str = ""
    description: str = ""
    mend: str = ""

    @property
    def state(self) -> str:
        return PENDING if self.fired_s is None else FIRING

    def to_json(self) -> dict[str, Any]:
        labels = dict(self.labels)
        return {
            "alert": self.alert,
            "state": self.state,
            "severity": labels.get("severity", ""),
            "labels": labels,
            "since_s": self.since_s,
            "fired_s": self.fired_s,
            "cleared_s": self.cleared_s,
            "summary": self.summary,
            "description": self.description,
            "mend": self.mend,
        }


class Change(NamedTuple):
    """An alert began to fire, or has ended."""

    firing: Firing
    fires: bool


class Alerts:
    """Feed `store`, then `evaluate`, at times that only grow."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = needed(rules)
        self.store = Store(kept_s(self.rules))
        self.fired: list[Firing] = []
        """Every firing of the run, up to MAX_KEPT; the newest last."""
        self._problems: dict[int, tuple[str, str]] = {}
        """Of a rule at its place: its name, and why it could not be evaluated when last tried."""
        self._active: dict[int, dict[Labels, Firing]] = {}

    @property
    def problems(self) -> dict[str, str]:
        """Rule → why it could not be evaluated; also what no rule sees any more."""
        found = dict(self._problems.values())
        if self.store.dropped:
            found["all"] = f"rules see {MAX_SERIES:,} series, and there are more"
        return found

    @property
    def active(self) -> list[Firing]:
        """What holds now: those that fire first, the oldest first among them."""
        found = [each for of_rule in self._active.values() for each in of_rule.values()]
        return sorted(found, key=lambda each: (each.state == PENDING, each.since_s, each.alert))

    def evaluate(self, now_s: float) -> list[Change]:
        """Every rule once; what changed by it."""
        changes: list[Change] = []
        self.store.forget_old(now_s)
        for place, rule in enumerate(self.rules):
            try:
                found = vector(rule.tree, self.store, now_s)
            except ValueError as error:
                self._problems[place] = (rule.name, str(error))
                continue
            self._problems.pop(place, None)
            if isinstance(rule, Recording):
                self._record(rule, found, now_s)
            else:
                changes += self._judge(place, rule, found, now_s)
        return changes

    def _record(self, rule: Recording, found: Vector, now_s: float) -> None:
        samples = ((rule.name, _with(labels, rule.labels), each) for labels, each in found.items())
        self.store.scraped(RULES + rule.name, now_s, samples)

    def _judge(self, place: int, rule: Alert, found: Vector, now_s: float) -> list[Change]:
        before = self._active.get(place, {})
        now: dict[Labels, Firing] = {}
        changes: list[Change] = []
        for labels, value in list(found.items())[:MAX_ACTIVE]:
            named = _with(labels, (*rule.labels, (OF_THE_RULE, rule.name)))
            each = now[named] = before.get(named) or Firing(rule.name, named, now_s)
            texts = rule.summary, rule.description, rule.mend
            each.summary, each.description, each.mend = (
                filled(text, dict(labels), value) for text in texts
            )
            if each.fired_s is None and now_s - each.since_s >= rule.for_s:
                each.fired_s = now_s
                changes.append(Change(each, fires=True))
                if len(self.fired) < MAX_KEPT:
                    self.fired.append(each)
        for named, each in before.items():
            if named not in now and each.fired_s is not None:
                each.cleared_s = now_s
                changes.append(Change(each, fires=False))
        self._active[place] = now
        return changes


def _with(labels: Labels, more: Labels) -> Labels:
    return tuple(sorted({**dict(labels), **dict(more)}.items()))
