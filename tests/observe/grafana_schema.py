"""A JSON Schema of what our dashboards use of Grafana's classic dashboard model (10 to 13).

Stricter than Grafana: an unknown key is a mistake. Written after its documented dashboard kind.
"""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
INTEGER: Final[Schema] = {"type": "integer", "minimum": 0}
FLAG: Final[Schema] = {"type": "boolean"}
ANYTHING: Final[Schema] = {"type": "object"}


def one_of(*values: Any) -> Schema:
    return {"enum": list(values)}


def array(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


def thing(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object with these keys and no other."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


SOURCE: Final = thing({"type": TEXT, "uid": TEXT})
COLOR: Final = {"type": "string", "pattern": r"^([a-z-]+|#[0-9a-f]{6}|rgba?\([0-9, .]+\))$"}
STEP: Final = thing({"color": COLOR, "value": {"type": ["number", "null"]}})
UNIT: Final = one_of(
    "none", "short", "s", "reqps", "ops", "cps", "pps", "Bps", "decbytes", "percentunit"
)
MAPPED: Final = thing({"text": TEXT, "color": COLOR, "index": INTEGER})
MAPPING: Final = thing(
    {"type": one_of("value"), "options": {"type": "object", "additionalProperties": MAPPED}}
)
DEFAULTS: Final = thing(
    {
        "unit": UNIT,
        "color": thing({"mode": one_of("palette-classic", "thresholds", "fixed")}),
        "custom": ANYTHING,
        "thresholds": thing({"mode": one_of("absolute", "percentage"), "steps": array(STEP, 1)}),
        "mappings": array(MAPPING),
    },
    {"max": NUMBER, "min": NUMBER},
)
TARGET: Final = thing(
    {"refId": {"type": "string", "pattern": "^[A-Z]$"}, "datasource": SOURCE, "expr": TEXT,
     "legendFormat": TEXT, "editorMode": one_of("code", "builder"), "range": FLAG},
    {"instant": FLAG, "format": one_of("table", "time_series", "heatmap")},
)  # fmt: skip
PLACE: Final = thing(
    {"x": {"type": "integer", "minimum": 0, "maximum": 23}, "y": INTEGER,
     "w": {"type": "integer", "minimum": 1, "maximum": 24},
     "h": {"type": "integer", "minimum": 1}}
)  # fmt: skip
ROW: Final = thing(
    {"id": INTEGER, "type": one_of("row"), "title": TEXT, "collapsed": FLAG, "gridPos": PLACE,
     "panels": {"type": "array", "maxItems": 0}}
)  # fmt: skip
PANEL: Final = thing(
    {"id": INTEGER, "type": one_of("timeseries", "stat", "table", "state-timeline"),
     "title": TEXT, "description": TEXT, "gridPos": PLACE, "datasource": SOURCE,
     "targets": array(TARGET, 1), "options": ANYTHING,
     "fieldConfig": thing({"defaults": DEFAULTS, "overrides": array(ANYTHING)})},
    {"transformations": array(thing({"id": TEXT, "options": ANYTHING}))},
)  # fmt: skip
OPTION: Final = {"type": "object", "additionalProperties": False,
                 "properties": {"text": {}, "value": {}, "selected": FLAG}}  # fmt: skip
VARIABLE: Final = thing(
    {"name": TEXT, "label": TEXT, "type": one_of("query", "datasource"), "hide": one_of(0, 1, 2),
     "refresh": one_of(0, 1, 2), "multi": FLAG, "includeAll": FLAG, "options": array(OPTION),
     "current": OPTION, "regex": TEXT, "skipUrlSync": FLAG,
     "query": {"type": ["string", "object"]}},
    {"datasource": SOURCE, "definition": TEXT, "sort": {"enum": list(range(9))}},
)  # fmt: skip
LINK: Final = thing(
    {"type": one_of("dashboards", "link"), "title": TEXT, "tags": array(TEXT), "icon": TEXT,
     "tooltip": TEXT, "asDropdown": FLAG, "includeVars": FLAG, "keepTime": FLAG,
     "targetBlank": FLAG, "url": TEXT}
)  # fmt: skip
ANNOTATION: Final = thing(
    {"name": TEXT, "datasource": SOURCE, "enable": FLAG, "hide": FLAG, "iconColor": COLOR},
    {"builtIn": one_of(1), "type": one_of("dashboard"), "expr": TEXT, "step": TEXT,
     "titleFormat": TEXT, "textFormat": TEXT, "tagKeys": TEXT, "useValueForTime": FLAG},
)  # fmt: skip
DASHBOARD: Final = thing(
    {
        "uid": {"type": "string", "pattern": "^[a-z0-9-]{3,40}$"},
        "title": TEXT,
        "description": TEXT,
        "tags": array(TEXT, 1),
        "schemaVersion": {"type": "integer", "minimum": 39, "maximum": 42},
        "version": INTEGER,
        "editable": FLAG,
        "graphTooltip": one_of(0, 1, 2),
        "timezone": one_of("browser", "utc", ""),
        "refresh": {"type": "string", "pattern": "^[0-9]+(s|m)$"},
        "time": thing({"from": TEXT, "to": TEXT}),
        "timepicker": thing({"refresh_intervals": array(TEXT)}),
        "weekStart": TEXT,
        "fiscalYearStartMonth": {"type": "integer", "minimum": 0, "maximum": 11},
        "links": array(LINK),
        "annotations": thing({"list": array(ANNOTATION)}),
        "templating": thing({"list": array(VARIABLE)}),
        "panels": array({"oneOf": [ROW, PANEL]}, 1),
    }
)
