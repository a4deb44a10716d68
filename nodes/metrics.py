"""Counters, gauges and histograms that cost one attribute add on the hot path.

A node registers its series once (`metrics.counter(...)`) and adds to `.value`; `render()` writes
the Prometheus text format from byte prefixes made at registration. Labels are few and bounded:
never keys, users or ids.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import ceil, log

Labels = tuple[tuple[str, str], ...]
LATENCY_BUCKETS_S = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)

FINENESS = 1.09
"""Neighbouring edges of a latency differ by at most so much: a quantile is within 4.5%."""
LEAST_EDGE_S = 0.00001
MOST_EDGE_S = 100.0


def _edges(bounds: Sequence[float]) -> tuple[float, ...]:
    """The bounds, and so many between, below and above them that none is far from the next."""
    found: list[float] = []
    for low, high in pairwise((LEAST_EDGE_S, *bounds, MOST_EDGE_S)):
        steps = ceil(log(high / low) / log(FINENESS))
        found += [low * (high / low) ** (step / steps) for step in range(steps)]
    return (*found, MOST_EDGE_S)


LATENCY_EDGES_S = _edges(LATENCY_BUCKETS_S)


class Counter:
    """A number that only grows: `counter.value += 1`; or, given a function, is asked for."""

    __slots__ = ("read", "value")

    def __init__(self, read: Callable[[], float] | None = None) -> None:
        self.value: float = 0
        self.read = read


class Gauge:
    """A number that goes up and down; or, given a function, is asked at each scrape."""

    __slots__ = ("read", "value")

    def __init__(self, read: Callable[[], float] | None = None) -> None:
        self.value: float = 0
        self.read = read


class Histogram:
    """Counts of observations up to each edge, and their sum.

    Prometheus is shown those at `bounds`, which are edges too: a series costs it much. What emu
    itself shows is read off the edges; of latencies those are fine.
    """

    __slots__ = ("bounds", "counts", "edges", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.edges = LATENCY_EDGES_S if bounds == LATENCY_BUCKETS_S else bounds
        self.counts = [0] * (len(self.edges) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count one observation, or several alike (same unit as the metric's name)."""
        self.counts[bisect_left(self.edges, value)] += times
        self.sum += value * times

    def shown(self) -> list[int]:
        """How many were at most each bound, and how many there are."""
        found, total, place = [], 0, 0
        for bound in self.bounds:
            end = bisect_left(self.edges, bound, place) + 1
            total += sum(self.counts[place:end])
            found.append(total)
            place = end
        return [*found, total + sum(self.counts[place:])]

    @property
    def count(self) -> int:
        return sum(self.counts)


class _Series:
    """One series; the byte prefixes of its samples are made when it is first shown."""

    __slots__ = ("prefixes", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self.prefixes: list[bytes] = []


class _Family:
    __slots__ = ("help_text", "kind", "name", "series")

    def __init__(self, name: str, help_text: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.help_text = help_text
        self.series: dict[Labels, _Series] = {}

    @property
    def header(self) -> bytes:
        name, help_text = self.name, _escape_help(self.help_text)
        return f"# HELP {name} {help_text}\n# TYPE {name} {self.kind}\n".encode()


class Metrics:
    """The registry of one node. Registering the same series twice returns the same object."""

    def __init__(self, labels: Mapping[str, str] | None = None) -> None:
        self._labels = tuple(sorted((labels or {}).items()))
        self._own = frozenset(labels or {})
        self._families: dict[str, _Family] = {}
        self.collectors: list[Callable[[], None]] = []
        """Called before each rendering: they set what is only known when it is asked for."""

    def counter(
        self, name: str, help_text: str, read: Callable[[], float] | None = None, **labels: str
    ) -> Counter:
        """`name` ends in _total; emu_ is put in front. With `read`, the value is asked for at each
        scrape."""
        assert name.endswith("_total"), name
        made = self._series(name, help_text, "counter", labels, lambda: Counter(read))
        assert isinstance(made, Counter)
        return made

    def gauge(
        self, name: str, help_text: str, read: Callable[[], float] | None = None, **labels: str
    ) -> Gauge:
        """With `read`, the value is asked for at each scrape."""
        made = self._series(name, help_text, "gauge", labels, lambda: Gauge(read))
        assert isinstance(made, Gauge)
        return made

    def histogram(
        self,
        name: str,
        help_text: str,
        bounds: tuple[float, ...] = LATENCY_BUCKETS_S,
        **labels: str,
    ) -> Histogram:
        """`bounds` are upper bounds, ascending; +Inf is added. Not shown before it has observed
        anything: a method that nobody calls costs no series."""
        made = self._series(name, help_text, "histogram", labels, lambda: Histogram(bounds))
        assert isinstance(made, Histogram)
        return made

    def total(self, name: str, **labels: str) -> float | None:
        """The sum over a family's series that have these labels (of a histogram, its count); None
        if there is no such family."""
        family = self._families.get(name if name.startswith("emu_") else f"emu_{name}")
        if family is None:
            return None
        wanted = labels.items()
        found = (each for key, each in family.series.items() if wanted <= dict(key).items())
        return sum(_value(each.value) for each in found)

    def series(self, name: str, **labels: str) -> Sequence[object]:
        """The Counters, Gauges or Histograms of one family that have these labels; none if it does
        not exist."""
        family = self._families.get(f"emu_{name}")
        if family is None:
            return ()
        wanted = frozenset(labels.items())
        return [each.value for key, each in family.series.items() if wanted.issubset(key)]

    def every(self) -> Iterator[tuple[str, str, str, Labels, object]]:
        """(kind, name without emu_, help, labels, value) of each series, its collectors called."""
        for collect in self.collectors:
            collect()
        for family in list(self._families.values()):
            name = family.name.removeprefix("emu_")
            for labels, series in family.series.items():
                yield family.kind, name, family.help_text, labels, series.value

    def names(self) -> list[str]:
        """Every family's name."""
        return list(self._families)

    def forget(self, name: str, **labels: str) -> None:
        """Drop one series (a backend that left); nothing happens if it is not there."""
        family = self._families.get(f"emu_{name}")
        if family is not None:
            family.series.pop(self._key(labels), None)

    def _key(self, labels: Mapping[str, str]) -> Labels:
        return tuple(sorted((*self._labels, *labels.items())))

    def _series(
        self,
        name: str,
        help_text: str,
        kind: str,
        labels: Mapping[str, str],
        make: Callable[[], object],
    ) -> object:
        full_name = f"emu_{name}"
        family = self._families.get(full_name)
        if family is None:
            family = self._families[full_name] = _Family(full_name, help_text, kind)
        assert family.kind == kind, f"{full_name} is already a {family.kind}"
        assert self._own.isdisjoint(labels), f"{full_name}: {labels} hide the node's own"
        key = self._key(labels) if labels else self._labels
        found = family.series.get(key)
        if found is None:
            found = family.series[key] = _Series(make())
        return found.value

    def merge(self, other: Metrics) -> None:
        """Take over another registry's series."""
        for name, theirs in other._families.items():
            ours = self._families.setdefault(name, theirs)
            ours.series.update(theirs.series)

    def families(self) -> Iterable[tuple[str, bytes, list[bytes]]]:
        """(name, header, sample lines) of each family that has samples."""
        for collect in self.collectors:
            collect()
        for family in list(self._families.values()):
            lines: list[bytes] = []
            for key, series in family.series.items():
                _write(lines, family.name, key, series)
            if lines:
                yield family.name, family.header, lines

    def samples(self, wanted: Container[str]) -> Iterable[tuple[str, Labels, float]]:
        """(name, labels, value) of the samples of those names, as `render` would write them; of
        histograms their buckets only."""
        for collect in self.collectors:
            collect()
        for family in list(self._families.values()):
            if family.kind == "histogram":
                if f"{family.name}_bucket" in wanted:
                    yield from _buckets(family)
            elif family.name in wanted:
                for labels, series in family.series.items():
                    yield family.name, labels, _value(series.value)

    def render(self) -> bytes:
        """The whole registry in the Prometheus text format."""
        parts: list[bytes] = []
        for _, header, lines in self.families():
            parts.append(header)
            parts.extend(lines)
        return b"".join(parts)


def _value(series: object) -> float:
    if isinstance(series, Histogram):
        return series.count
    assert isinstance(series, Gauge | Counter)
    return series.value if series.read is None else series.read()


def _buckets(family: _Family) -> Iterator[tuple[str, Labels, float]]:
    for labels, series in family.series.items():
        value = series.value
        assert isinstance(value, Histogram)
        if any(value.counts):
            bounds = (*(f"{bound:g}" for bound in value.bounds), "+Inf")
            for bound, count in zip(bounds, value.shown(), strict=True):
                yield f"{family.name}_bucket", tuple(sorted((*labels, ("le", bound)))), count


def _write(lines: list[bytes], name: str, labels: Labels, series: _Series) -> None:
    value = series.value
    if isinstance(value, Histogram) and not any(value.counts):
        return
    prefixes = series.prefixes
    if not prefixes:
        prefixes = series.prefixes = [_prefix(name, each, labels) for each in _suffixes(value)]
    if isinstance(value, Histogram):
        shown = value.shown()
        for prefix, count in zip(prefixes, shown, strict=False):
            lines.append(b"%b%d\n" % (prefix, count))
        lines.append(b"%b%b\n" % (prefixes[-2], _number(value.sum)))
        lines.append(b"%b%d\n" % (prefixes[-1], shown[-1]))
    else:
        lines.append(b"%b%b\n" % (prefixes[0], _number(_value(value))))


def _suffixes(value: object) -> tuple[str, ...]:
    """What is put to the name (and, after `|`, to the labels) of each sample."""
    if not isinstance(value, Histogram):
        return ("",)
    buckets = tuple(f'_bucket|le="{bound:g}"' for bound in value.bounds)
    return (*buckets, '_bucket|le="+Inf"', "_sum", "_count")


def _prefix(name: str, suffix: str, labels: Labels) -> bytes:
    ending, _, extra = suffix.partition("|")
    pairs = [f'{key}="{_escape_label(value)}"' for key, value in labels]
    if extra:
        pairs.append(extra)
    body = "{" + ",".join(pairs) + "}" if pairs else ""
    return f"{name}{ending}{body} ".encode()


def _number(value: float) -> bytes:
    if value == int(value) if value - value == 0 else False:
        return b"%d" % int(value)
    if value != value:
        return b"NaN"
    if value in (float("inf"), float("-inf")):
        return b"+Inf" if value > 0 else b"-Inf"
    return repr(float(value)).encode()


def _escape_label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
