"""Two ways to run a site under the same seeds, load and faults: what differs, and how surely.

Pure: it is handed what each seed came to. Differences are of pairs, for two runs of one seed have
more in common than two seeds: the interval is the bootstrap's (percentiles of resampled means).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from emu.observe.shown import duration, number

RESAMPLES: Final = 2_000
CONFIDENCE: Final = 0.95


def signed(shown: Callable[[float], str], value: float) -> str:
    """A difference, for people: `+12`, `-3.1 ms`, `0`."""
    sign = "+" if value > 0 else "-" if value < 0 else ""
    return sign + shown(abs(value))


def _share(value: float) -> str:
    return f"{value:.3%}"


@dataclass(frozen=True, slots=True)
class Measure:
    """What is compared of a run's summary."""

    name: str
    place: tuple[str, ...]
    text: str
    shown: Callable[[float], str] = number
    more_is_better: bool | None = False
    """None: neither."""
    always: bool = False
    """Whether it is told, too, where both are the same in each seed."""
    never: bool = False
    """Whether once is too often: a side with none is better than one with some, in however few
    seeds."""


MEASURES: Final = (
    Measure(
        "lost_acknowledged_writes",
        ("lost_acknowledged_writes",),
        "acknowledged writes lost",
        always=True,
        never=True,
    ),
    Measure("duplicated_writes", ("duplicated_writes",), "writes done twice", never=True),
    Measure("outage_s", ("outage_s",), "longest time without success", duration),
    Measure("availability", ("availability",), "availability", _share, True, always=True),
    Measure("errors", ("errors",), "failed requests"),
    Measure("latency_p50_s", ("latency_s", "p50"), "latency p50", duration),
    Measure("latency_p99_s", ("latency_s", "p99"), "latency p99", duration, always=True),
    Measure("write_p50_s", ("by_effect", "write"), "latency p50 of writes", duration),
    Measure("throughput_per_s", ("throughput_per_s",), "requests/s", number, True, always=True),
    Measure("acknowledged_writes", ("acknowledged_writes",), "acknowledged writes", number, True),
    Measure("nodes", ("nodes",), "nodes", number, None),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One measure on both sides. `low` to `high` is the interval of the mean difference (b - a),
    None of fewer than two pairs; `pairs` are the seeds' own differences."""

    measure: Measure
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    pairs: tuple[float, ...]

    @property
    def better(self) -> str:
        """a, b, or "" where the seeds do not tell."""
        if self.measure.never and bool(self.a) is not bool(self.b):
            return "b" if self.a else "a"
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return ""
        if self.measure.more_is_better is None:
            return ""
        return "b" if (self.difference > 0) is self.measure.more_is_better else "a"

    @property
    def says(self) -> str:
        """What it comes to, in a few words."""
        if self.measure.never and self.better:
            worse, bad = ("A", self.a) if self.better == "b" else ("B", self.b)
            times = sum(1 for each in self.pairs if each)
            return f"{worse} in {times} of {len(self.pairs)} seeds" if bad else ""
        return f"{self.better.upper()} is better" if self.better else "the seeds do not tell"

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """a, b, their difference and its interval, for people."""
        shown = self.measure.shown
        between = ""
        if self.low is not None and self.high is not None:
            between = f"{signed(shown, self.low)} to {signed(shown, self.high)}"
        return shown(self.a), shown(self.b), signed(shown, self.difference), between

    def record(self) -> dict[str, Any]:
        """What `--json` has of it."""
        found = {"name": self.measure.name, "a": self.a, "b": self.b}
        return {**found, "difference": self.difference, "low": self.low, "high": self.high}


def compare(
    a: Sequence[Mapping[str, Any] | None], b: Sequence[Mapping[str, Any] | None]
) -> list[Row]:
    """The summaries of both sides in the order of their seeds (None: that run broke down) to a row
    for each measure that is known of both in some seed, and differs."""
    found = []
    for measure in MEASURES:
        both = (
            (_value(one, measure), _value(other, measure)) for one, other in zip(a, b, strict=True)
        )
        pairs = [(one, other) for one, other in both if one is not None and other is not None]
        if pairs and (measure.always or any(one != other for one, other in pairs)):
            found.append(_row(measure, pairs))
    return found


def _row(measure: Measure, pairs: Sequence[tuple[float, float]]) -> Row:
    differences = tuple(second - first for first, second in pairs)
    low, high = interval(differences, measure.name)
    a, b = fmean(one for one, _ in pairs), fmean(other for _, other in pairs)
    return Row(measure, a, b, fmean(differences), low, high, differences)


def interval(values: Sequence[float], name: str = "") -> tuple[float | None, float | None]:
    """The bootstrap interval of the mean; the same one for the same values and name."""
    if len(values) < 2:
        return None, None
    rng = random.Random(f"compare/{name}")
    means = sorted(fmean(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    cut = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return means[cut], means[-1 - cut]


def _value(summary: Mapping[str, Any] | None, measure: Measure) -> float | None:
    if summary is None:
        return None
    if measure.place[0] == "by_effect":
        return _of_effect(summary["by_clients"], measure.place[1])
    found: Any = summary
    for key in measure.place:
        found = found[key]
    return None if found is None else float(found)


def _of_effect(rows: Iterable[Mapping[str, Any]], effect: str) -> float | None:
    """Of the population that asks most of it."""
    known = [each for each in rows if each["effect"] == effect and each["latency_s"]["p50"]]
    most = max(known, key=lambda each: each["requests"], default=None)
    return None if most is None else float(most["latency_s"]["p50"])
