"""A node's metrics as plain data: what a child tells of its registry, and emu's copy of it."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from nodes.metrics import Counter, Gauge, Histogram, Metrics

Told = list[list[Any]]
"""[kind, name, help, labels, value], and of a histogram [bounds, counts, sum] for the value."""


def told(metrics: Metrics, own_labels: Container[str]) -> Told:
    """Every series, without the labels that all have."""
    for collect in metrics.collectors:
        collect()
    return [
        [
            family.kind,
            family.name.removeprefix("emu_"),
            family.help_text,
            {label: value for label, value in key if label not in own_labels},
            _plain(series.value),
        ]
        for family in list(metrics._families.values())
        for key, series in family.series.items()
    ]


def _plain(series: object) -> Any:
    if isinstance(series, Histogram):
        return [list(series.bounds), series.counts, series.sum]
    assert isinstance(series, Counter | Gauge)
    return series.value if series.read is None else series.read()


def take_over(metrics: Metrics, news: Told) -> None:
    """Set every series of `metrics` to what was told."""
    for kind, name, help_text, labels, value in news:
        if kind == "histogram":
            bounds, counts, total = value
            histogram = metrics.histogram(name, help_text, tuple(bounds), **labels)
            histogram.counts, histogram.sum = counts, total
        elif kind == "counter":
            metrics.counter(name, help_text, **labels).value = value
        else:
            metrics.gauge(name, help_text, **labels).value = value
