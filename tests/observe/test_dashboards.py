"""The committed dashboards, rules and exports: whole, up to date, and of metrics that exist."""

from __future__ import annotations

import json
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import promql_parser
import pytest
from prometheus_client import CollectorRegistry, ProcessCollector
from ruamel.yaml import YAML

from dashboards import metrics
from dashboards.__main__ import BOARDS, HERE, drawn_on, files
from dashboards.board import annotation_queries, filled_in, panel_queries
from emu.observe import exporting
from tests.observe.grafana_schema import DASHBOARD
from tests.peers import need

RULES = sorted((HERE / "rules").glob("*.yaml"))
VALUES = {"__rate_interval": "4s", "cluster": "c", "tier": "web|db", "node": "web-1|db-1"}
OWN_SERIES = {"up", "scrape_duration_seconds", "ALERTS"}
OF_EMUS_PROCESS = {
    sample.name
    for family in ProcessCollector(registry=CollectorRegistry()).collect()
    for sample in family.samples
}
"""What Prometheus itself makes."""
MODELS = {board.uid: board.to_json() for board in BOARDS}


def rules() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in YAML(typ="safe").load(path)["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def every_query() -> list[tuple[str, str]]:
    asked = [pair for model in MODELS.values() for pair in panel_queries(model)]
    asked += [pair for model in MODELS.values() for pair in annotation_queries(model)]
    return asked + [(each.get("alert") or each["record"], each["expr"]) for each in rules()]


def test_what_is_committed_is_what_the_code_makes():
    for path, text in files().items():
        committed = (HERE / path).read_text("utf-8") if (HERE / path).exists() else ""
        assert committed == text, f"dashboards/{path} is old: run `python -m dashboards`"
    left_over = {path.stem for path in (HERE / "json").glob("*.json")} - MODELS.keys()
    assert not left_over


@pytest.mark.parametrize("uid", MODELS)
def test_a_dashboard_is_as_grafana_wants_it(uid: str):
    jsonschema.Draft202012Validator(DASHBOARD).validate(MODELS[uid])


@pytest.mark.parametrize("uid", MODELS)
def test_ids_are_unique_and_no_two_panels_overlap_or_leave_the_grid(uid: str):
    panels = MODELS[uid]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = []
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24, panel["title"]
        columns = range(place["x"], place["x"] + place["w"])
        lines = range(place["y"], place["y"] + place["h"])
        cells.append({(x, y) for x in columns for y in lines})
    for first, second in combinations(cells, 2):
        assert not first & second


def test_uids_and_titles_are_unique_and_so_are_panels_in_their_row():
    assert len(MODELS) == len(BOARDS) == len({board.title for board in BOARDS})
    for board in BOARDS:
        for row in board.rows:
            titles = [panel.model["title"] for panel in row.panels]
            assert len(titles) == len(set(titles)), (board.title, row.title)


def test_every_module_that_makes_a_dashboard_is_found():
    makers = [path.stem for path in HERE.rglob("*.py") if "\nBOARD = Board(" in path.read_text()]
    assert len(makers) == len(BOARDS) and "overview" in makers


def test_every_panel_says_what_it_shows_in_which_unit_of_which_cluster():
    for model in MODELS.values():
        for panel in model["panels"]:
            if panel["type"] == "row":
                continue
            assert panel["description"].endswith("."), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"
            for target in panel["targets"]:
                query = target["expr"]
                assert 'cluster="$cluster"' in query, query
                assert "rate(" not in query or "[$__rate_interval]" in query, query


def test_no_time_is_absolute_and_the_dashboards_lead_to_each_other():
    for model in MODELS.values():
        assert model["time"]["from"].startswith("now-") and model["time"]["to"] == "now"
        assert [link["tags"] for link in model["links"]] == [["emu"]]
        assert model["tags"] == ["emu"]
        names = [each["name"] for each in model["templating"]["list"]]
        assert names == ["datasource", "cluster", "tier", "node"]


def test_every_query_is_promql():
    assert len(every_query()) > 120
    for where, query in every_query():
        text = filled_in(query, VALUES)
        assert "$" not in text.replace("$labels", ""), where
        promql_parser.parse(text)


def vectors(node: Any) -> list[str]:
    """The names of all metrics in a parsed query."""
    found = []
    if isinstance(node, promql_parser.VectorSelector):
        found.append(node.name)
    for attribute in ("expr", "lhs", "rhs", "param", "vector_selector"):
        inner = getattr(node, attribute, None)
        if inner is not None and not isinstance(inner, str | int | float):
            found += vectors(inner)
    for argument in getattr(node, "args", None) or ():
        found += vectors(argument)
    return found


def test_every_metric_that_is_asked_for_exists():
    known = {name for metric in metrics.registered().values() for name in metric.samples}
    known |= OWN_SERIES | OF_EMUS_PROCESS | {each["record"] for each in rules() if "record" in each}
    for where, query in every_query():
        named = vectors(promql_parser.parse(filled_in(query, VALUES)))
        assert named, where
        assert set(named) <= known, f"{where}: {set(named) - known}"


def test_every_metric_is_on_a_panel_or_said_to_be_for_debugging():
    shown = drawn_on(metrics.registered())
    missing = [name for name, boards in shown.items() if not boards]
    assert sorted(missing) == sorted(metrics.DEBUGGING)


def test_promtool_accepts_the_rules_and_their_tests_hold():
    promtool = need("promtool", "prometheus")
    for words in (
        ["check", "rules", *map(str, RULES)],
        ["test", "rules", *map(str, sorted((HERE / "rules" / "tests").glob("*.yaml")))],
    ):
        found = subprocess.run([promtool, *words], capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr


def test_every_alert_is_tested_and_tells_what_to_do():
    tested = "".join(path.read_text() for path in (HERE / "rules" / "tests").glob("*.yaml"))
    for rule in rules():
        if "alert" in rule:
            assert f"alertname: {rule['alert']}" in tested, rule["alert"]
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert set(rule["annotations"]) == {"summary", "description", "mend"}


def test_an_export_names_the_cluster_and_its_prometheus(tmp_path: Path):
    found = exporting.export(
        tmp_path, sd_url="http://127.9.0.1:9100/sd", every_s=5,
        prometheus_url="http://127.9.0.1:9090",
    )  # fmt: skip
    assert found == len(BOARDS)
    yaml = YAML(typ="safe")
    source = yaml.load(tmp_path / exporting.DATASOURCE)["datasources"][0]
    assert source["url"] == "http://127.9.0.1:9090"
    assert source["jsonData"]["timeInterval"] == "5s"
    scraped = yaml.load(tmp_path / "prometheus.yml")["scrape_configs"][0]
    assert scraped["http_sd_configs"][0]["url"] == "http://127.9.0.1:9100/sd"
    compose = yaml.load(tmp_path / "compose.yaml")
    for service in compose["services"].values():
        for volume in service["volumes"]:
            assert (tmp_path / volume.split(":")[0]).exists(), volume
    home = compose["services"]["grafana"]["environment"]
    first = home["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].rpartition("/")[2]
    assert json.loads((tmp_path / "json" / first).read_text())["uid"] == "emu-overview"


def test_an_export_without_a_cluster_can_be_started_as_it_is(tmp_path: Path):
    exporting.export(tmp_path)
    assert exporting.OWN_PROMETHEUS in (tmp_path / exporting.DATASOURCE).read_text()
    listens = exporting.OWN_PROMETHEUS.removeprefix("http://")
    assert f"--web.listen-address={listens}" in (tmp_path / "compose.yaml").read_text()
    assert not (tmp_path / "rules" / "tests").exists()
    words = [need("promtool", "prometheus"), "check", "config", "--syntax-only"]
    found = subprocess.run(
        [*words, str(tmp_path / "prometheus.yml")], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('metrics.counter(f"x_{y}_total", "X.")', "must be written where it is made"),
        ('metrics.gauge("x")', "has no help text"),
        ('metrics.gauge("x", make())', "must be a literal or a constant"),
        ('metrics.gauge("x", "A.")\nmetrics.gauge("x", "B.")', "differs from"),
        ('metrics.gauge("x", "A.", a="1")\nmetrics.gauge("x", "A.", b="1")', "other labels"),
    ],
)
def test_a_metric_that_cannot_be_read_off_the_source_is_refused(
    tmp_path: Path, text: str, why: str
):
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "x.py").write_text(text)
    with pytest.raises(metrics.MetricError, match=why):
        metrics.registered(tmp_path)
