"""emu's own page of metrics, and those of the nodes: names, labels, bounds."""

from __future__ import annotations

import subprocess

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as strictly_parsed,
)

import emu
from emu.model import faults
from emu.observe.exposition import MAX_FAULT_SERIES, Exposition
from emu.observe.openmetrics import openmetrics
from tests.observe.pages import node_page, observed, parsed, values
from tests.peers import need

NODES = ("dns-1", "lb-1", "web-1", "web-2", "web-3", "db-1", "users-local-1")


OF_ITS_PROCESS = ("process_", "python_")
"""What prometheus-client tells of emu itself has the names that all its programs have."""


async def all_pages(c: emu.Scenario, exposition: Exposition) -> dict[str, bytes]:
    """Every page of a cluster that served for a while, with a fault active."""
    await c.sleep(3)
    await c.kill("web-3", for_s=1)
    await c.slow("db", latency_s=0.005)
    await c.sleep(3)
    pages = {name: await node_page(c, name) for name in NODES}
    return {"emu": await exposition.render(), **pages}


@pytest.fixture(scope="module")
def pages() -> dict[str, bytes]:
    return observed(all_pages)


def test_every_family_is_named_emu_in_base_units_and_says_whose_it_is(pages: dict[str, bytes]):
    for node, page in pages.items():
        for family in parsed(page).values():
            if node == "emu" and family.name.startswith(OF_ITS_PROCESS):
                continue
            assert family.name.startswith("emu_"), family.name
            assert not family.name.endswith(("_ms", "_milliseconds", "_percent", "_kb")), family
            assert family.documentation.endswith("."), f"{family.name}: {family.documentation}"
            for sample in family.samples:
                if node != "emu":
                    assert sample.labels["node"] == node, sample
                    assert {"tier", "region"} <= sample.labels.keys(), sample


def test_a_page_holds_no_label_twice_and_no_series_twice(pages: dict[str, bytes]):
    for page in pages.values():
        lines = [line.rpartition(" ")[0] for line in page.decode().splitlines() if line[0] != "#"]
        assert len(lines) == len(set(lines))
        for line in lines:
            names = [pair.split("=")[0] for pair in line.partition("{")[2].split('",')]
            assert len(names) == len(set(names)), line


def test_promtool_finds_nothing_to_say_of_any_page(pages: dict[str, bytes]):
    promtool = need("promtool", "prometheus")
    for node, page in pages.items():
        found = subprocess.run(
            [promtool, "check", "metrics"], input=page, capture_output=True, check=False
        )
        assert found.returncode == 0 and not found.stderr, f"{node}: {found.stderr.decode()}"


def test_emus_own_page_tells_of_its_process_its_python_and_its_collector(pages: dict[str, bytes]):
    families = parsed(pages["emu"])
    assert families["process_cpu_seconds"].samples[0].value > 0
    assert families["process_resident_memory_bytes"].samples[0].value > 1e6
    assert families["python_info"].samples[0].labels["implementation"]
    assert {each.labels["generation"] for each in families["python_gc_collections"].samples} == {
        "0", "1", "2"}  # fmt: skip
    assert not any(
        OF_ITS_PROCESS[0].encode() in page for node, page in pages.items() if node != "emu"
    )


def test_openmetrics_says_the_same_as_the_text_and_its_own_parser_takes_it(
    pages: dict[str, bytes],
):
    for page in pages.values():
        told = strictly_parsed(openmetrics(page).decode())
        assert {each.name: canonical(each) for each in told} == {
            name: canonical(each) for name, each in parsed(page).items()
        }


def canonical(family: Metric) -> list[tuple[str, dict[str, str], float]]:
    """Its samples; an edge of 1 is one of 1.0."""
    return [
        (
            name,
            {key: repr(float(each)) if key == "le" else each for key, each in labels.items()},
            at,
        )
        for name, labels, at, *_ in family.samples
    ]


def test_a_meaning_with_quotes_and_a_family_at_the_end_are_turned_too():
    page = b'# HELP a_total Says "no".\n# TYPE a_total counter\na_total{x="# HELP"} 1\n'
    assert openmetrics(page) == (
        b'# HELP a Says \\"no\\".\n# TYPE a counter\na_total{x="# HELP"} 1\n# EOF\n'
    )
    assert openmetrics(b"") == b"# EOF\n"


def test_red_of_every_tier_is_in_the_same_series(pages: dict[str, bytes]):
    for node in ("web-1", "db-1", "dns-1", "lb-1"):
        assert sum(values(pages[node], "emu_requests_total").values()) > 0, node
        assert sum(values(pages[node], "emu_request_seconds_count").values()) > 0, node
    for node in ("web-1", "db-1", "dns-1", "lb-1"):
        assert values(pages[node], "emu_request_errors_total"), node
    assert sum(values(pages["lb-1"], "emu_connections_total").values()) > 0
    users = values(pages["users-local-1"], "emu_user_requests_total")
    assert users[("read", "users-local-1", "home", "ok", "local", "users-local")] > 0
    assert users[("read", "users-local-1", "home", "error", "local", "users-local")] == 0
    assert users[("write", "users-local-1", "post", "ok", "local", "users-local")] > 0


def test_what_nobody_asked_for_costs_no_histogram_and_admin_calls_are_no_traffic(
    pages: dict[str, bytes],
):
    page = pages["web-1"].decode()
    assert 'method="home"' in page
    assert 'emu_request_seconds_count{method="site.login"' not in page
    assert 'method="metrics"' not in page and 'method="ping"' not in page


async def up_and_faults(c: emu.Scenario, exposition: Exposition) -> list[bytes]:
    await c.sleep(1)
    pages = [await exposition.render()]
    await c.kill("one web")
    await c.partition("lb", "web")
    await c.scale("web", 4)
    pages.append(await exposition.render())
    await c.start("web")
    pages.append(await exposition.render())
    await c.heal()
    return [*pages, await exposition.render()]


def test_a_fault_is_a_series_while_it_lasts_with_the_nodes_it_met():
    before, during, started, after = observed(up_and_faults)
    up = [sum(values(page, "emu_node_up").values()) for page in (before, during, started, after)]
    assert up == [7, 7, 8, 7]  # three web servers, one of four killed, all four; heal undid scaling
    assert values(before, "emu_fault_active") == {}
    kinds = dict(values(during, "emu_fault_active"))
    (killed,) = (target for kind, target in kinds if kind == "kill")
    assert killed.startswith("web-")
    assert ("partition", "lb / web") in kinds
    assert list(values(started, "emu_fault_active")) == [("partition", "lb / web")]
    assert values(after, "emu_fault_active") == {}
    assert values(after, "emu_faults_total")[("kill",)] == 1
    assert values(during, "emu_link_cuts")[("lb", "web")] >= 3


async def flood(c: emu.Scenario, exposition: Exposition) -> bytes:
    for number in range(1, MAX_FAULT_SERIES + 51):
        words = ",".join(["web-1"] * number)
        await c.cluster.inject(faults.Slow(words, latency_s=1e-6))
    return await exposition.render()


def test_a_flood_of_faults_is_counted_but_bounded_in_series():
    page = observed(flood)
    assert len(values(page, "emu_fault_active")) == MAX_FAULT_SERIES
    assert values(page, "emu_faults_active") == {(): MAX_FAULT_SERIES + 50}


async def removed(c: emu.Scenario, exposition: Exposition) -> tuple[bytes, bytes]:
    await exposition.render()
    await c.scale("web", 5)
    more = await exposition.render()
    await c.scale("web", 1)
    return more, await exposition.render()


def test_a_node_that_left_leaves_no_series():
    more, fewer = observed(removed)
    assert b'node="web-5"' in more
    assert b'node="web-5"' not in fewer and b'node="web-1"' in fewer
