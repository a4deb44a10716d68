"""The `expect:` lines of a topology: read them, and judge a run's summary by them. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from emu.alerts import rules
from emu.alerts.evaluating import COMPARISONS
from emu.machine import units
from emu.model.problems import hint


@dataclass(frozen=True, slots=True)
class Metric:
    """Where a metric stands in a run's summary, and the field name that carries its unit."""

    place: tuple[str, ...]
    field_name: str
    text: str
    example: str


METRICS: Final[Mapping[str, Metric]] = {
    "availability": Metric(
        ("availability",),
        "availability_ratio",
        "The share of requests that were answered well.",
        "availability >= 99%",
    ),
    "errors": Metric(("errors",), "errors", "Requests that were not.", "errors <= 10"),
    "requests": Metric(
        ("requests",),
        "requests",
        "What users and clients asked, warm-up apart.",
        "requests >= 1000",
    ),
    "throughput": Metric(
        ("throughput_per_s",),
        "throughput_per_s",
        "Requests in a second, over the whole run.",
        "throughput >= 50/s",
    ),
    "latency_p50": Metric(
        ("latency_s", "p50"),
        "latency_s",
        "Half of the requests were answered within it.",
        "latency_p50 <= 50ms",
    ),
    "latency_p99": Metric(
        ("latency_s", "p99"),
        "latency_s",
        "All but one in a hundred were answered within it.",
        "latency_p99 <= 250ms",
    ),
    "lost_acknowledged_writes": Metric(
        ("lost_acknowledged_writes",),
        "writes",
        "Writes that were acknowledged, and nobody finds at the end.",
        "lost_acknowledged_writes == 0",
    ),
    "duplicated_writes": Metric(
        ("duplicated_writes",),
        "writes",
        "Writes that are there twice at the end.",
        "duplicated_writes == 0",
    ),
    "lost_jobs": Metric(
        ("counted", "lost_jobs"),
        "jobs",
        "Jobs that a queue took, and nobody did.",
        "lost_jobs == 0",
    ),
    "duplicated_jobs": Metric(
        ("counted", "duplicated_jobs"),
        "jobs",
        "Jobs that were done more than once.",
        "duplicated_jobs <= 5",
    ),
    "reordered_jobs": Metric(
        ("counted", "reordered_jobs"),
        "jobs",
        "Jobs that were done before an earlier one of their key.",
        "reordered_jobs == 0",
    ),
    "given_up_jobs": Metric(
        ("counted", "given_up_jobs"),
        "jobs",
        "Jobs that failed too often: they are dead letters.",
        "given_up_jobs <= 5",
    ),
    "divergent_records": Metric(
        ("divergent_records",),
        "records",
        "Log records that a member had alone when it came back; saved, and cut.",
        "divergent_records == 0",
    ),
    "failover": Metric(
        ("failover_s",), "failover_s", "The longest time without a primary.", "failover <= 2s"
    ),
    "outage": Metric(
        ("outage_s",),
        "outage_s",
        "The longest time in which some client had no good answer.",
        "outage <= 3s",
    ),
    "ready": Metric(("ready_s",), "ready_s", "How long the cluster took to be up.", "ready <= 2s"),
    "loop_lag_p99": Metric(
        ("loop_lag_s", "p99"),
        "loop_lag_s",
        "How late emu's own loop was: beyond a limit nothing is to be believed.",
        "loop_lag_p99 <= 5ms",
    ),
}

AVAILABILITY: Final = "availability"
PER_RUN: Final = ("requests", "throughput")
OF_REQUESTS: Final = (AVAILABILITY, *PER_RUN, "latency_p50", "latency_p99")
MOMENT_S: Final = 1.0
"""What clients ask in less says nothing of how much they ask."""
TOO_SHORT: Final = "too short to judge"
WHEN_OVER: Final = "when the run was over"
EXACT: Final = 1e-9

_LINE = re.compile(r"\s*([A-Za-z0-9_]+)\s*(>=|<=|==|!=|=>|=<|>|<|=)\s*(\S.*?)\s*")
ALERT: Final = "alert"
FIRES, NEVER, CLEARS = "fires", "never fires", "clears"
_ALERT_LINE = re.compile(
    rf"\s*{ALERT}\s+(\w+)\s+(?:(never fires|clears)|fires(?:\s+within\s+(\S+)"
    r"(?:\s+of\s+(\S+))?)?)\s*"
)
_MEANT: Final = {"=": "==", "=>": ">=", "=<": "<="}


@dataclass(frozen=True, slots=True)
class Expectation:
    """`availability >= 99%`: the metric's word, the operator, the value in the metric's unit."""

    metric: str
    op: str
    value: float

    def __str__(self) -> str:
        field_name = METRICS[self.metric].field_name
        return f"{self.metric} {self.op} {units.format_value(field_name, self.value)}"

    def actual(self, summary: Mapping[str, Any]) -> float | None:
        """What the run measured; None if it did not."""
        found: Any = summary
        for part in METRICS[self.metric].place:
            found = found.get(part) if isinstance(found, Mapping) else None
        return found if isinstance(found, (int, float)) else None

    def held(self, summary: Mapping[str, Any]) -> bool:
        """Whether it was measured and is as expected: what was not measured does not hold."""
        actual = self.actual(summary)
        return actual is not None and COMPARISONS[self.op](actual, self.value)

    def too_short(self, summary: Mapping[str, Any]) -> str:
        """Why the run does not say that it was missed, and what would; "" if it does."""
        requests, short = summary["requests"], summary["ran_s"] < MOMENT_S
        if short and self.metric in OF_REQUESTS and not requests:
            return f"no request ended in {_shown(summary['ran_s'])}"
        if short and self.metric in PER_RUN and self.op[0] == ">":
            return f"it needs {_shown(MOMENT_S)} of requests, not {_shown(summary['ran_s'])}"
        if self.metric == AVAILABILITY and self.op == ">=" and self.value < 1:
            needed = math.ceil(1 / (1 - self.value) - EXACT)
            if summary["errors"] == 1 and requests < needed:
                return f"1 of {requests} requests failed, and it takes {needed} until one may"
        return ""

    def told(self, actual: float | None) -> str:
        """What was, for people."""
        if actual is None:
            return "nothing here measures it"
        field_name = METRICS[self.metric].field_name
        if field_name.endswith("_ratio"):
            return f"it was {100 * actual:.6g}%"
        if field_name.endswith("_s") and 0 < actual < 1:
            return f"it was {1000 * actual:.4g} ms"
        return f"it was {actual:.6g}" + (" s" if field_name.endswith("_s") and actual else "")


@dataclass(frozen=True, slots=True)
class AlertExpectation:
    """`alert NoPrimary fires within 10s of kill`, `alert NodeDown never fires`, `... clears`."""

    alert: str
    """Its full name."""
    how: str
    """FIRES, NEVER or CLEARS."""
    within_s: float | None = None
    of: str = ""
    """The verb of the fault from which time is reckoned; "": of the first fault there was."""

    metric: ClassVar[str] = ALERT

    def __str__(self) -> str:
        text = f"{ALERT} {self.alert.removeprefix(rules.PREFIX)} {self.how}"
        if self.within_s is not None:
            text += f" within {units.format_value('within_s', self.within_s)}"
        return f"{text} of {self.of}" if self.of else text

    def actual(self, summary: Mapping[str, Any]) -> float | None:
        """Of `fires`: so long after the fault; of the others: how many firings there were, or that
        have not ended. None: it never fired, or nobody looked."""
        if summary.get("alerts") is None:
            return None
        fired = [each for each in summary["alerts"] if each["alert"] == self.alert]
        if self.how == NEVER:
            return float(len(fired))
        if self.how == CLEARS:
            return float(sum(each["cleared_s"] is None for each in fired)) if fired else None
        begun_s = self._reckoned_from_s(summary)
        if begun_s is None:
            return None
        after = (each["fired_s"] - begun_s for each in fired)
        return min((seconds for seconds in after if seconds >= 0), default=None)

    def _reckoned_from_s(self, summary: Mapping[str, Any]) -> float | None:
        """When the fault began; where nothing was broken, when the run did."""
        begun = [each["at_s"] for each in summary["faults"] if self.of in ("", each["verb"])]
        return min(begun) if begun else None if self.of else 0.0

    def held(self, summary: Mapping[str, Any]) -> bool:
        actual = self.actual(summary)
        if actual is None:
            return False
        return actual <= (self.within_s or math.inf) if self.how == FIRES else not actual

    def too_short(self, summary: Mapping[str, Any]) -> str:
        """Why the run does not say that it was missed, and what would; "" if it does."""
        if self.how == NEVER or summary.get("alerts") is None or self.actual(summary) is not None:
            return ""
        begun_s = self._reckoned_from_s(summary)
        if begun_s is None or self.within_s is None:
            return _still_due(summary)
        until_s, ended_s = begun_s + self.within_s, summary["ready_s"] + summary["ran_s"]
        if ended_s >= until_s:
            return ""
        return f"it may fire until {_shown(until_s)}, and the run was over at {_shown(ended_s)}"

    def told(self, actual: float | None) -> str:
        """What was instead, for people."""
        if actual is None:
            return "it never fired"
        if self.how == FIRES:
            return f"it fired after {actual:.6g} s"
        return f"it fired {actual:g} times" if self.how == NEVER else f"{actual:g} fire yet"


Expected = Expectation | AlertExpectation


def parse(line: str) -> Expected:
    """Raises ValueError that says what to write."""
    if line.split()[:1] == [ALERT]:
        return _parse_alert(line)
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(
            f"{units.shown(line)} is no expectation; write `metric >= value`, "
            "for example `availability >= 99%`"
        )
    word, op, text = found.groups()
    if word not in METRICS:
        near = [name for name in METRICS if name.startswith(word.removesuffix("_s"))]
        known = f"did you mean `{near[0]}`?" if near else hint(word, METRICS, most=len(METRICS))
        raise ValueError(f"there is no metric `{word[:40]}`; {known}")
    if op in _MEANT:
        raise ValueError(f"`{op}` compares nothing; write `{word} {_MEANT[op]} {text[:20]}`")
    try:
        value = units.parse_value(METRICS[word].field_name, text)
    except ValueError as error:
        raise ValueError(f"`{word}`: {error}") from None
    most = 1.0 if METRICS[word].field_name.endswith("_ratio") else math.inf
    if (op, value) in (("<", 0.0), (">", most)):
        raise ValueError(f"`{word} {op} {text[:20]}` can never hold; write `{op}=`, or another")
    return Expectation(word, op, value)


def _parse_alert(line: str) -> AlertExpectation:
    found = _ALERT_LINE.fullmatch(line)
    if found is None:
        raise ValueError(
            f"{units.shown(line)} is no expectation; write `alert NAME fires within 10s`, "
            "`alert NAME never fires` or `alert NAME clears`"
        )
    name, how, within, of = found.groups()
    known = rules.names(rules.shipped())
    try:
        full = rules.full_name(name, known)
    except KeyError:
        short = [each.removeprefix(rules.PREFIX) for each in known]
        raise ValueError(f"there is no alert `{name[:40]}`; {hint(name, short)}") from None
    try:
        within_s = units.parse_value("within_s", within) if within else None
    except ValueError as error:
        raise ValueError(f"`{ALERT} {name}`: {error}") from None
    return AlertExpectation(full, how or FIRES, within_s, of or "")


def to_clear(expectations: Iterable[Expected]) -> list[str]:
    """The alerts that must have ended before a run is judged."""
    return [
        each.alert
        for each in expectations
        if isinstance(each, AlertExpectation) and each.how == CLEARS
    ]


def waits_for_an_alert(expected: Expected) -> bool:
    """Whether it holds only where the file's own faults come, of which an alert is to fire."""
    return isinstance(expected, AlertExpectation) and expected.how != NEVER


def about_alerts(expectations: Iterable[Expected]) -> bool:
    """Whether somebody must look at alerts for these to be judged."""
    return any(isinstance(each, AlertExpectation) for each in expectations)


def evaluate(expectations: Iterable[Expected], summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One `{text, held, actual, told}` for each; `actual` is None where the run did not measure
    it, `held` where it was too short to say, `told` says what was in words."""
    return [_evaluated(each, summary) for each in expectations]


def missed(judged: Mapping[str, Any]) -> str:
    """What there is to say of one that did not hold."""
    return f"expected {judged['text']}, {judged['told']}"


def _evaluated(expected: Expected, summary: Mapping[str, Any]) -> dict[str, Any]:
    actual, held = expected.actual(summary), expected.held(summary)
    why = "" if held else expected.too_short(summary)
    return {
        "text": str(expected),
        "held": None if why else held,
        "actual": actual,
        "told": f"{TOO_SHORT}: {why}" if why else expected.told(actual),
    }


def _still_due(summary: Mapping[str, Any]) -> str:
    """What the file's own timeline had not come to, if anything."""
    return next((text for text in summary["not_run"] if text.endswith(WHEN_OVER)), "")


def _shown(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
