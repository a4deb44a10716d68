"""A dashboard as Grafana 10 to 13 load it: variables, annotations, links, rows of panels.

Panels come from panels.py; what is asked of Prometheus stands in the module of each dashboard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from dashboards.panels import DATASOURCE, Json, Panel

SCHEMA_VERSION: Final = 39
COLUMNS: Final = 24
TAG: Final = "emu"
PROMOTION_SHOWN: Final = "5s"


@dataclass(frozen=True)
class Row:
    """A titled row; its panels flow from left to right and wrap."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Board:
    """One dashboard. `kinds`: node kinds whose tiers `$tier` offers (none: all tiers)."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    kinds: Sequence[str] = field(default=())

    def to_json(self) -> Json:
        """The whole model."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "timezone": "browser",
            "refresh": "5s",
            "time": {"from": "now-15m", "to": "now"},
            "timepicker": {"refresh_intervals": ["1s", "5s", "10s", "30s", "1m", "5m"]},
            "weekStart": "",
            "fiscalYearStartMonth": 0,
            "links": [_links()],
            "annotations": {"list": _annotations()},
            "templating": {"list": _variables(self.kinds)},
            "panels": _place(self.rows),
        }


def _links() -> Json:
    """The other dashboards, at the top, with the variables and the time."""
    return {
        "type": "dashboards", "title": "emu", "tags": [TAG], "icon": "external link", "tooltip": "",
        "asDropdown": False, "includeVars": True, "keepTime": True, "targetBlank": False, "url": "",
    }  # fmt: skip


# --- variables -------------------------------------------------------------------------------


def _variables(kinds: Sequence[str]) -> list[Json]:
    of_kind = f'emu_node_info{{cluster="$cluster",kind=~"{"|".join(kinds)}"}}'
    tiers = of_kind if kinds else 'emu_node_info{cluster="$cluster"}'
    nodes = 'emu_node_info{cluster="$cluster",tier=~"$tier"}'
    return [
        {
            "name": "datasource", "label": "Prometheus", "type": "datasource",
            "query": "prometheus", "refresh": 1, "hide": 0, "multi": False, "includeAll": False,
            "options": [], "current": {}, "regex": "", "skipUrlSync": False,
        },
        _query("cluster", "Cluster", "label_values(emu_node_info, cluster)", many=False),
        _query("tier", "Tier", f"label_values({tiers}, tier)", many=True),
        _query("node", "Node", f"label_values({nodes}, node)", many=True),
    ]  # fmt: skip


def _query(name: str, label: str, text: str, *, many: bool) -> Json:
    everything = {"text": ["All"], "value": ["$__all"]}
    return {
        "name": name, "label": label, "type": "query", "datasource": DATASOURCE,
        "definition": text, "query": {"query": text, "refId": f"variable-{name}"},
        "refresh": 2, "sort": 1, "multi": many, "includeAll": many, "hide": 0,
        "options": [], "current": everything if many else {}, "regex": "", "skipUrlSync": False,
    }  # fmt: skip


# --- annotations -----------------------------------------------------------------------------


def _annotations() -> list[Json]:
    primary = 'emu_is_primary{cluster="$cluster"} == 1'
    before = f'(emu_is_primary{{cluster="$cluster"}} offset {PROMOTION_SHOWN} == 1)'
    return [
        {
            "name": "Annotations & Alerts", "type": "dashboard", "builtIn": 1, "enable": True,
            "hide": True, "iconColor": "rgba(0, 211, 255, 1)",
            "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        },
        _marks("Faults", 'emu_fault_active{cluster="$cluster"}', "red", "{{kind}} {{target}}"),
        _marks("Promotions", f"{primary} unless {before}", "purple", "{{node}} is primary"),
        _marks("Alerts", 'ALERTS{cluster="$cluster",alertstate="firing"}', "orange",
               "{{alertname}} {{tier}} {{node}}"),
    ]  # fmt: skip


def _marks(name: str, query: str, color: str, title: str) -> Json:
    """Times at which `query` has a value; those that touch are one region."""
    return {
        "name": name, "datasource": DATASOURCE, "enable": True, "hide": False, "iconColor": color,
        "expr": query, "step": "1s", "titleFormat": title, "textFormat": "", "tagKeys": "",
        "useValueForTime": False,
    }  # fmt: skip


# --- places ----------------------------------------------------------------------------------


def _place(rows: Sequence[Row]) -> list[Json]:
    """Panels with ids and places: no two overlap."""
    placed: list[Json] = []
    y = 0
    for row in rows:
        placed.append(
            {
                "type": "row", "title": row.title, "collapsed": False, "panels": [],
                "id": len(placed) + 1, "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            }
        )  # fmt: skip
        y += 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            placed.append({"id": len(placed) + 1, "gridPos": place, **panel.model})
            x += panel.width
            tallest = max(tallest, panel.height)
        y += tallest
    return placed


def panel_queries(model: Json) -> list[tuple[str, str]]:
    """(where, PromQL) of every panel."""
    return [
        (f"{model['title']} / {panel['title']} / {target['refId']}", target["expr"])
        for panel in model["panels"]
        for target in panel.get("targets", ())
    ]


def annotation_queries(model: Json) -> list[tuple[str, str]]:
    """(where, PromQL) of every annotation."""
    return [
        (f"{model['title']} / annotation {each['name']}", each["expr"])
        for each in model["annotations"]["list"]
        if "expr" in each
    ]


def filled_in(query: str, values: dict[str, str]) -> str:
    """A query with its variables filled in, as Grafana does."""
    for name in sorted(values, key=len, reverse=True):
        query = query.replace(f"${{{name}}}", values[name]).replace(f"${name}", values[name])
    return query
