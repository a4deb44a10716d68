"""The `expect:` lines of a topology: read them, and judge a run's summary by them. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from emu.machine import units
from emu.model.problems import hint

OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
    ">": operator.gt, "<": operator.lt,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Metric:
    """Where a metric stands in a run's summary, and the field name that carries its unit."""

    place: tuple[str, ...]
    field_name: str


METRICS: Final[Mapping[str, Metric]] = {
    "availability": Metric(("availability",), "availability_ratio"),
    "errors": Metric(("errors",), "errors"),
    "requests": Metric(("requests",), "requests"),
    "throughput": Metric(("throughput_per_s",), "throughput_per_s"),
    "latency_p50": Metric(("latency_s", "p50"), "latency_s"),
    "latency_p99": Metric(("latency_s", "p99"), "latency_s"),
    "lost_acknowledged_writes": Metric(("lost_acknowledged_writes",), "writes"),
    "duplicated_writes": Metric(("duplicated_writes",), "writes"),
    "lost_jobs": Metric(("counted", "lost_jobs"), "jobs"),
    "duplicated_jobs": Metric(("counted", "duplicated_jobs"), "jobs"),
    "reordered_jobs": Metric(("counted", "reordered_jobs"), "jobs"),
    "given_up_jobs": Metric(("counted", "given_up_jobs"), "jobs"),
    "divergent_records": Metric(("divergent_records",), "records"),
    "failover": Metric(("failover_s",), "failover_s"),
    "outage": Metric(("outage_s",), "outage_s"),
    "ready": Metric(("ready_s",), "ready_s"),
    "loop_lag_p99": Metric(("loop_lag_s", "p99"), "loop_lag_s"),
}

_LINE = re.compile(r"\s*([A-Za-z0-9_]+)\s*(>=|<=|==|!=|=>|=<|>|<|=)\s*(\S.*?)\s*")
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
        return actual is not None and OPERATORS[self.op](actual, self.value)


def parse(line: str) -> Expectation:
    """Raises ValueError that says what to write."""
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
    return Expectation(word, op, value)


def evaluate(
    expectations: Iterable[Expectation], summary: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One `{text, held, actual}` for each; `actual` is None where the run did not measure it."""
    return [
        {"text": str(each), "held": each.held(summary), "actual": each.actual(summary)}
        for each in expectations
    ]
