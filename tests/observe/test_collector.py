"""Requests of a real run, as a real OpenTelemetry collector takes them."""

from __future__ import annotations

import pytest

from tests.cli.running import Up
from tests.observe.collector import running

pytestmark = pytest.mark.soak


def test_a_real_collector_takes_every_request_as_a_trace_of_its_hops(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("otlp")  # of a short name: a socket's path has an end
    told = [word for tier in ("web", "db") for word in ("--set", f"{tier}.logs.sample=100%")]
    with running(folder) as collector:
        words = ("04", "--for", "3s", "--faults", "none", "--otlp", collector.url, *told)
        up = Up(folder / "s", *words)
        assert up.process.wait(120) in (0, 4), up.said
        spans = {each["ID"]: each for each in collector.spans()}
    children = [each for each in spans.values() if each["Parent ID"]]
    assert len(spans) > len(children) > 20
    for each in children:
        assert each["Kind"] == "Server"
        assert spans[each["Parent ID"]]["Trace ID"] == each["Trace ID"]
    names = {(spans[each["Parent ID"]]["Name"], each["Name"]) for each in children}
    assert ("home", "query") in names, "a page, and what was asked of the database for it"
