"""The observe port of a running cluster, asked as Prometheus, scripts and strangers ask it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as strictly_parsed,
)

from tests.observe.pages import parsed
from tests.observe.running import Running

pytestmark = pytest.mark.slow


def fetch(
    url: str, headers: dict[str, str] | None = None, body: Any = None
) -> tuple[int, dict[str, str], bytes]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()


def test_http_sd_names_one_target_per_node_and_each_can_be_scraped(running: Running):
    status, headers, body = fetch(f"{running.url}/sd")
    assert status == 200 and headers["content-type"] == "application/json"
    groups = json.loads(body)
    assert [group["labels"]["instance"] for group in groups] == [
        "emu", "dns-1", "lb-1", "web-1", "web-2", "web-3", "db-1", "users-local-1",
    ]  # fmt: skip
    for group in groups:
        (target,) = group["targets"]
        labels = group["labels"]
        assert all(isinstance(each, str) for each in labels.values())
        status, headers, page = fetch(f"http://{target}{labels['__metrics_path__']}")
        assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
        assert parsed(page)


@pytest.mark.parametrize("path", ["/metrics", "/metrics/web-1"])
def test_a_scraper_that_asks_for_openmetrics_gets_it(running: Running, path: str):
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    status, headers, page = fetch(f"{running.url}{path}", {"Accept": accept})
    assert status == 200 and headers["content-type"].startswith("application/openmetrics-text")
    families = list(strictly_parsed(page.decode()))
    assert page.endswith(b"# EOF\n") and len(families) > 10


def test_a_dead_node_fails_its_scrape_and_an_unknown_one_is_not_found(running: Running):
    running.ask("inject", {"verb": "kill", "target": "web-3"}, 1.0)
    status, _, body = fetch(f"{running.url}/metrics/web-3")
    assert status == 503 and "web-3 is killed" in body.decode()
    assert fetch(f"{running.url}/metrics/web-9")[0] == 404
    running.until("status", lambda found: not found["faults"])
    assert fetch(f"{running.url}/metrics/web-3")[0] == 200


def test_a_paused_node_lets_its_scrape_time_out(running: Running):
    number = running.ask("inject", {"verb": "pause", "target": "web-3"}, 20.0)["number"]
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(f"{running.url}/metrics/web-3", timeout=0.5)
    running.ask("undo", number)


def test_status_and_annotations_are_json(running: Running):
    status = json.loads(fetch(f"{running.url}/status")[2])
    assert status["name"] == "load-balancer" and len(status["tiers"]) == 5
    found = json.loads(fetch(f"{running.url}/annotations")[2])
    assert all(set(each) >= {"time", "title", "text", "tags"} for each in found)
    assert "promotion" in [each["title"] for each in found]


def test_a_page_elsewhere_can_neither_read_nor_break(running: Running):
    assert fetch(f"{running.url}/status", {"Host": "evil.example:9100"})[0] == 421
    assert fetch(f"{running.url}/metrics/web-1", {"Host": "evil.example"})[0] == 421
    kill = {"verb": "kill", "target": "web"}
    assert fetch(f"{running.url}/do", body=kill)[0] == 403
    stolen = {"X-Emu-Token": token(running), "Origin": "http://evil.example"}
    assert fetch(f"{running.url}/do", stolen, kill)[0] == 403
    assert running.ask("active") == []
    headers = fetch(f"{running.url}/")[1]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


def token(running: Running) -> str:
    return str(running.facts["page"].partition("token=")[2])


def test_with_the_token_faults_are_done_and_undone(running: Running):
    headers = {"X-Emu-Token": token(running), "Origin": running.url}
    status, _, body = fetch(f"{running.url}/do", headers, {"verb": "kill", "target": "web-2"})
    assert status == 200
    assert [each["verb"] for each in running.ask("active")] == ["kill"]
    assert fetch(f"{running.url}/do", headers, {"undo": json.loads(body)["number"]})[0] == 200
    assert running.ask("active") == []


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"verb": "kill", "target": "wbe"}, 404), ({"verb": "explode"}, 400), ([1], 400),
        ("undo", 400), ({"verb": "kill"}, 400), ({"undo": "x"}, 400),
        ({"undo": True}, 400), ({"undo": 1e999}, 400), ({"undo": 10**400}, 400),
        ({"verb": "kill", "target": "web", "x": 1}, 400), ({"verb": "kill", "target": 7}, 400),
        ({"verb": "kill", "target": "web", "for_s": True}, 400),
        ({"verb": "kill", "target": "web", "for_s": [1]}, 400),
        ({"verb": "kill", "target": "outside"}, 404), ({"verb": "kill", "target": ""}, 404),
        ({"verb": "disk", "target": "web", "flip_bit": "../x"}, 404),
        ({"verb": "partition", "between": []}, 404),
        ({"verb": "partition", "between": ["web", "web", "web"]}, 404),
    ],
)  # fmt: skip
def test_a_wrong_order_is_refused_in_words(running: Running, order: Any, status: int):
    found = fetch(f"{running.url}/do", {"X-Emu-Token": token(running)}, order)
    assert found[0] == status, found
    assert json.loads(found[2])["error"]["message"]
    assert running.ask("active") == []
