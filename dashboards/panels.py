"""The kinds of panels that our dashboards use, as Grafana's JSON. Units are Grafana's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

DATASOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
REF_IDS: Final = "ABCDEFGH"
UP_DOWN: Final[Mapping[str, tuple[str, str]]] = {"1": ("up", "green"), "0": ("down", "red")}


@dataclass(frozen=True)
class Panel:
    """A panel without its id and place. `model` is the rest of its JSON."""

    width: int
    height: int
    model: Json


@dataclass(frozen=True)
class Ask:
    """One query, and how its series are called (`{{label}}` is replaced)."""

    query: str
    legend: str = ""


def series(
    title: str,
    description: str,
    asks: Sequence[Ask],
    *,
    unit: str = "short",
    width: int = 8,
    height: int = 8,
    thresholds: Sequence[tuple[float, str]] = (),
    stacked: bool = False,
    most: float | None = None,
) -> Panel:
    """Lines over time. `thresholds`: (from this value on, this colour), drawn as lines."""
    custom = {
        "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1,
        "fillOpacity": 25 if stacked else 8, "showPoints": "never", "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if thresholds else "off"},
        "axisSoftMin": 0,
    }  # fmt: skip
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True,
                   "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }  # fmt: skip
    return _panel(
        "timeseries", title, description, asks, unit, (width, height), custom, options,
        thresholds=thresholds, color="palette-classic", most=most,
    )  # fmt: skip


def stat(
    title: str,
    description: str,
    ask: Ask,
    *,
    unit: str = "short",
    thresholds: Sequence[tuple[float, str]] = (),
    base: str = "green",
    words: Mapping[str, tuple[str, str]] | None = None,
    width: int = 4,
) -> Panel:
    """One number, coloured by its thresholds; `words` says it as a word instead."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value", "graphMode": "area", "justifyMode": "auto", "textMode": "auto",
        "orientation": "auto",
    }  # fmt: skip
    return _panel(
        "stat", title, description, [ask], unit, (width, 4), {}, options,
        thresholds=thresholds, base=base, words=words,
    )  # fmt: skip


def states(
    title: str,
    description: str,
    asks: Sequence[Ask],
    words: Mapping[str, tuple[str, str]],
    *,
    width: int = 12,
    height: int = 8,
) -> Panel:
    """Bars over time, a colour for each state: `words` maps values to (text, colour)."""
    custom = {"fillOpacity": 80, "lineWidth": 0}
    options = {
        "mergeValues": True, "showValue": "never", "alignValue": "left", "rowHeight": 0.85,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "single", "sort": "none"},
    }  # fmt: skip
    size = (width, height)
    return _panel(
        "state-timeline", title, description, asks, "none", size, custom, options, words=words
    )


def table(
    title: str,
    description: str,
    ask: Ask,
    columns: Mapping[str, str],
    *,
    width: int = 8,
    height: int = 8,
) -> Panel:
    """What is so now: `columns` maps labels to their titles; the value is not shown."""
    footer = {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""}
    options = {"showHeader": True, "cellHeight": "sm", "footer": footer}
    panel = _panel("table", title, description, [ask], "none", (width, height), {}, options)
    for target in panel.model["targets"]:
        target |= {"format": "table", "instant": True, "range": False}
    names = {"Time": True, "Value": True, "__name__": True, "cluster": True, "instance": True,
             "job": True}  # fmt: skip
    panel.model["transformations"] = [
        {
            "id": "organize",
            "options": {"excludeByName": names, "indexByName": {}, "renameByName": dict(columns)},
        }
    ]
    return panel


def _panel(
    kind: str,
    title: str,
    description: str,
    asks: Sequence[Ask],
    unit: str,
    size: tuple[int, int],
    custom: Json,
    options: Json,
    *,
    thresholds: Sequence[tuple[float, str]] = (),
    base: str = "green",
    color: str = "thresholds",
    words: Mapping[str, tuple[str, str]] | None = None,
    most: float | None = None,
) -> Panel:
    steps: list[Json] = [{"color": base, "value": None}]
    steps += [{"color": name, "value": value} for value, name in thresholds]
    defaults: Json = {
        "unit": unit,
        "color": {"mode": color},
        "custom": custom,
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": _mappings(words or {}),
    }
    if most is not None:
        defaults["max"] = most
    targets = [
        {
            "refId": ref_id, "datasource": DATASOURCE, "expr": ask.query,
            "legendFormat": ask.legend or "__auto", "editorMode": "code", "range": True,
        }
        for ref_id, ask in zip(REF_IDS, asks, strict=False)
    ]  # fmt: skip
    model = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }
    return Panel(*size, model)


def _mappings(words: Mapping[str, tuple[str, str]]) -> list[Json]:
    if not words:
        return []
    shown = {
        value: {"text": text, "color": color, "index": place}
        for place, (value, (text, color)) in enumerate(words.items())
    }
    return [{"type": "value", "options": shown}]
