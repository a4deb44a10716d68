"""A node's metrics as news: what has changed since they were last told, and emu's copy of them."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from nodes.metrics import Counter, Gauge, Histogram, Labels, Metrics

News = list[tuple[int, Any, Any]]
"""(place of the series, its value, what it is: told once). A value None: it is forgotten."""


class Teller:
    """Of one registry. `own` are labels that emu gives its copy itself."""

    def __init__(self, metrics: Metrics, own: Container[str] = ()) -> None:
        self.metrics = metrics
        self._own = own
        self._places: dict[tuple[str, Labels], int] = {}
        self._values: list[Any] = []

    def news(self) -> News:
        """What emu does not know yet."""
        found: News = []
        met = 0
        for kind, name, help_text, labels, series in self.metrics.every():
            met += 1
            value = _value(series)
            place = self._places.get((name, labels))
            if place is None:
                place = self._places[name, labels] = len(self._values)
                self._values.append(value)
                own = {key: text for key, text in labels if key not in self._own}
                bounds = series.bounds if isinstance(series, Histogram) else ()
                found.append((place, value, (kind, name, help_text, own, bounds)))
            elif value != self._values[place]:
                self._values[place] = value
                found.append((place, value, None))
        if met < len(self._places):
            found += self._forgotten()
        return found

    def _forgotten(self) -> News:
        there = {(name, labels) for _, name, _, labels, _ in self.metrics.every()}
        gone = [key for key in self._places if key not in there]
        return [(self._places.pop(key), None, None) for key in gone]


def _value(series: object) -> Any:
    if isinstance(series, Histogram):
        return list(series.counts), series.sum
    assert isinstance(series, Counter | Gauge)
    return series.value if series.read is None else series.read()


class Copy:
    """emu's copy of a registry in another process."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self._series: dict[int, tuple[Any, str, dict[str, str]]] = {}

    def take_over(self, news: News) -> None:
        """Make it what was told."""
        for place, value, what in news:
            if what is not None:
                kind, name, help_text, labels, bounds = what
                self._series[place] = self._made(kind, name, help_text, labels, bounds)
            series, name, labels = self._series[place]
            if value is None:
                self.metrics.forget(name, **labels)
                del self._series[place]
            elif isinstance(series, Histogram):
                series.counts, series.sum = value
            else:
                series.value = value

    def _made(
        self, kind: str, name: str, help_text: str, labels: dict[str, str], bounds: Any
    ) -> tuple[Any, str, dict[str, str]]:
        made = getattr(self.metrics, kind)  # the node's own process names it where it is made
        given = (bounds,) if kind == "histogram" else (None,)
        return made(name, help_text, *given, **labels), name, labels
