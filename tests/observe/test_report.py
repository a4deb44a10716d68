"""The report of a run: what it says of faults, failovers and lost writes; one whole page."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import emu
from emu.observe import charts, explaining
from emu.observe.charts import Line
from emu.observe.record import record
from emu.observe.report import render
from emu.observe.sampling import Sampler
from emu.observe.shown import duration, number
from tests.observe.running import Running
from tests.observe.test_page import read

REPLICAS = "tests/observe/topologies/replicas.yaml"


async def broken(c: emu.Scenario) -> dict[str, Any]:
    """A primary is killed for a while, then all web servers."""
    sampler = Sampler(c.cluster)
    c.cluster.nursery.start_soon(sampler.run)
    await c.sleep(4)
    await c.kill("db primary", for_s=5)
    await c.sleep(8)
    await c.kill("web", for_s=2)
    await c.sleep(5)
    await c.cluster.refresh_roles()
    return record(c.cluster, sampler, await c.finish())


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return json.loads(json.dumps(emu.run(broken, REPLICAS)))


def test_each_fault_is_told_with_what_it_cost_and_what_followed(told: dict[str, Any]):
    primary, web = explaining.consequences(told)
    assert primary.text.startswith("kill db-") and primary.text.endswith("(db primary)")
    assert primary.end_s is not None and primary.end_s - primary.start_s == pytest.approx(5, abs=1)
    assert any("is promoted to primary (epoch 2)" in text for text in primary.follow_ups)
    assert web.text == "kill web-1 (web)" and web.errors > 20
    assert not any("promoted" in text for text in web.follow_ups)


def test_what_is_read_back_at_the_end_is_marked_on_the_charts_and_is_no_load(told: dict[str, Any]):
    record = copy.deepcopy(told)
    over_s = record["ready_s"] + record["summary"]["ran_s"]
    for time_s, marked in ((over_s + 2, True), (over_s, False)):
        record["status"]["time_s"] = time_s
        assert ("the end: faults are healed, clients read back" in render(record)) is marked


def test_a_failover_is_told_with_its_cause_and_its_time(told: dict[str, Any]):
    (failover,) = explaining.failovers(told)
    assert "became primary of db, epoch 2" in failover
    assert "ms after `kill db-" in failover or "s after `kill db-" in failover
    planned = copy.deepcopy(told)
    planned["spans"] = []
    assert "nothing was broken just before" in explaining.failovers(planned)[0]


def test_a_failover_is_the_work_of_the_fault_that_met_its_tier(told: dict[str, Any]):
    """Another tier was slowed in between."""
    record = copy.deepcopy(told)
    kill = next(span for span in record["spans"] if span["kind"] == "fault")
    slow = {**kill, "start_s": kill["start_s"] + 0.1, "text": "slow web", "names": ["web"]}
    record["spans"].append(slow)
    (failover,) = explaining.failovers(record)
    assert "after `kill db-" in failover
    followed = {each.text: " ".join(each.follow_ups) for each in explaining.consequences(record)}
    assert "promoted" in followed[kill["text"]] and "promoted" not in followed["slow web"]


def test_an_operation_is_told_with_what_it_cost_or_what_it_mended(told: dict[str, Any]):
    """Whoever scales a tier to nothing reads why there were errors; what mends, what was before."""
    record = copy.deepcopy(told)
    kill, web = (span for span in record["spans"] if span["kind"] == "fault")
    undone_s = web["start_s"] + 9
    web |= {"kind": "operation", "text": "scale web: nodes 0", "end_s": undone_s}
    record["spans"].append({**web, "text": "heal all", "start_s": web["start_s"] + 4})
    paid = explaining.consequences(record)
    assert [each.text for each in paid] == [kill["text"], "scale web: nodes 0", "heal all"]
    scaled, healed = paid[1:]
    assert scaled.errors > 20 and scaled.before is None
    assert (scaled.end_s, scaled.within_s) == (undone_s, pytest.approx(4)), "until it was healed"
    assert healed.before is not None
    requests, errors = healed.before
    assert errors / requests > healed.errors / healed.requests


def test_a_fault_says_the_figures_of_those_who_could_notice_it(told: dict[str, Any]):
    """Of three sites side by side each fault told the figure of all three."""
    record = copy.deepcopy(told)
    tiers, users = (
        record["status"]["tiers"],
        next(each for each in record["status"]["tiers"] if each["clients"]),
    )
    tiers.append({**users, "name": "others"})
    record["status"]["edges"].append(["others", "web"])
    for _, _, counts in record["samples"]:
        counts["others"] = counts.get(users["name"], [0, 0, []])
    both, one = explaining.consequences(record), explaining.consequences(told)
    assert [each.of for each in both] == [(), ()]
    assert [each.requests for each in both] == [2 * each.requests for each in one]
    record["status"]["edges"][-1] = ["others", "elsewhere"]
    apart = explaining.consequences(record)
    assert [each.of for each in apart] == [(users["name"],)] * 2
    assert [each.requests for each in apart] == [each.requests for each in one]
    assert not any(each.shared for each in apart)


def test_faults_that_last_together_say_that_they_share_what_failed(told: dict[str, Any]):
    record = copy.deepcopy(told)
    kill = next(span for span in record["spans"] if span["kind"] == "fault")
    record["spans"].append(
        {**kill, "start_s": kill["start_s"] + 1, "text": "kill web", "names": []}
    )
    assert [each.shared for each in explaining.consequences(record)] == [True, True, False]
    assert explaining.SHARED[1:] in render(record)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lost_acknowledged_writes": None}, ["unknown"]),
        ({"lost_acknowledged_writes": 0}, ["7 writes were acknowledged", "0 were lost"]),
        ({"lost_acknowledged_writes": 3, "divergent_records": 4},
         ["3 were lost", "`ack: quorum` would have waited", "4 records were cut",
          "Lost by key: k1 v1, post-7 and 1 more."]),
        ({"lost_acknowledged_writes": 0, "duplicated_writes": 2}, ["2 writes were stored twice"]),
    ],
)  # fmt: skip
def test_lost_writes_are_explained_and_unknown_is_not_zero(fields: dict, words: list[str]):
    lost = [{"key": "k1", "value": "v1"}, {"key": "post-7"}]
    summary = {"acknowledged_writes": 7, "duplicated_writes": 0, "divergent_records": 0}
    summary |= {"lost_writes": lost, **fields}
    text = " ".join(explaining.writes(summary))
    assert all(word in text for word in words), text


def test_the_page_is_whole_needs_nobody_and_carries_the_record(told: dict[str, Any]):
    page = render(told)
    found = read(page)
    text = found.text
    for words in (
        "replicas",
        "What users saw",
        "What was done, and what users paid",
        "Failovers and writes",
    ):
        assert words in text, words
    kinds = [tag for tag, _ in found.tags]
    assert kinds.count("svg") >= 6
    for tag, attributes in found.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "data:,") == "data:,", (tag, attributes)
    assert "@import" not in page and "url(" not in page
    data = page.partition('id="run">')[2].partition("</script>")[0]
    assert json.loads(data) == told


def test_nothing_that_a_run_says_is_markup(told: dict[str, Any]):
    hostile = "</script><img src=x onerror=alert(1)>"
    bad = copy.deepcopy(told)
    bad["file"] = bad["summary"]["name"] = hostile
    bad["spans"][0]["text"] = bad["events"][3]["event"] = bad["events"][4]["node"] = hostile
    bad["summary"]["reasons"], bad["summary"]["trustworthy"] = [hostile], False
    bad["summary"]["expectations"] = [
        {"text": hostile, "held": False, "actual": None, "told": hostile}
    ]
    bad["summary"]["anomalies"] = [{"kind": hostile, "text": hostile}]
    for tier in bad["status"]["tiers"]:
        tier["kind"] = hostile
    found = read(render(bad))
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert not [name for _, attributes in found.tags for name in attributes if name[:2] == "on"]


@pytest.mark.parametrize("verdict", ["passed", "failed", "untrusted", "unknown"])
def test_every_verdict_is_drawn_even_of_a_run_that_saw_nothing(told: dict[str, Any], verdict: str):
    empty = copy.deepcopy(told)
    empty["samples"], empty["spans"], empty["events"] = [], [], []
    empty["summary"] |= {"verdict": verdict, "requests": 0, "availability": None,
                         "latency_s": {"p50": None, "p99": None}, "expectations": []}  # fmt: skip
    assert verdict in read(render(empty)).text


def drawn(points: list[charts.Point], **fields: Any) -> ElementTree.Element:
    spans = [
        {"start_s": 2.0, "end_s": 4.0, "active": False, "kind": "fault", "text": "kill <x>"},
        {"start_s": 9.0, "end_s": None, "active": True, "kind": "fault", "text": "slow y"},
        {"start_s": 5.0, "end_s": None, "active": False, "kind": "promotion", "text": "z"},
    ]
    line = Line("p99", "late", points, filled=True)
    return ElementTree.fromstring(charts.draw([line], spans, 0.0, 10.0, number))


def test_a_chart_has_a_band_for_each_fault_and_a_gap_where_nothing_was_measured():
    svg = drawn([(1, 5.0), (2, 7.0), (3, None), (4, 104.0), (5, 3.0)])
    assert [rect.attrib["class"] for rect in svg.iter("rect")] == ["band fault", "band fault"]
    lines = [path for path in svg.iter("path") if path.attrib["class"].startswith("line")]
    assert len(lines) == 2, "the gap parts it"
    titles = [title.text for title in svg.iter("title")]
    assert titles == ["2.0 s: kill <x>", "9.0 s: slow y", "5.0 s: z"]
    ticks = [text.text for text in svg.iter("text") if text.attrib["class"] == "tick"]
    assert ticks == ["0", "30", "60", "90", "120"], "round numbers, and little room wasted"


def test_words_of_faults_that_begin_together_stand_below_each_other():
    begun_s = (2.0, 2.1, 2.2, 9.0)
    spans = [{"start_s": at_s, "end_s": at_s + 3, "active": False, "kind": "fault",
              "text": "partition a / b"} for at_s in begun_s]  # fmt: skip
    svg = ElementTree.fromstring(charts.draw([], spans, 0.0, 20.0, number))
    words = [each for each in svg.iter("text") if each.attrib["class"] == "cause fault"]
    heights = [float(each.attrib["y"]) for each in words]
    assert heights[0] == heights[3] < heights[1] < heights[2]


def test_reads_and_writes_of_clients_have_lines_and_figures_of_their_own(told: dict[str, Any]):
    shown = read(render(told)).text
    assert "What users saw" in shown and "p99 of reads" in shown and "p99 of writes" in shown
    (reads, writes) = told["summary"]["by_clients"]
    assert f"users-localreads{reads['requests']}{reads['errors']}" in shown
    assert f"users-localwrites{writes['requests']}{writes['errors']}" in shown


@pytest.mark.parametrize("points", [[], [(1, None)], [(1, 0.0)], [(3, 1e-9)], [(3, 5e8)]])
def test_a_chart_of_little_or_much_stays_in_its_frame(points: list[charts.Point]):
    svg = drawn(points)
    for path in svg.iter("path"):
        numbers = path.attrib["d"].replace("M", " ").replace("L", " ").replace("H", " ")
        for each in numbers.replace("V", " ").replace("Z", " ").split():
            assert -1 <= float(each) <= charts.WIDTH


def test_large_numbers_are_for_people():
    assert [number(each) for each in (9999, 12_345, 40_000, 999_949, 10_000_000, 2_500_000)] == [
        "9999", "12.3k", "40k", "999.9k", "10M", "2.5M"]  # fmt: skip


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(None, "–"), (0, "0 s"), (0.00085, "850 µs"), (0.0123, "12.3 ms"), (4.06, "4.1 s"),
     (200, "3 m 20 s"), (7300, "2 h 1 m")],
)  # fmt: skip
def test_durations_are_for_people(value_s: float | None, text: str):
    assert duration(value_s) == text


@pytest.mark.slow
def test_the_command_writes_a_page_of_a_running_cluster_and_of_a_kept_record(
    running: Running, tmp_path: Path
):
    page, kept = tmp_path / "now.html", tmp_path / "run.json"
    assert running.emu("report", "-o", str(page)).returncode == 0
    assert "load-balancer" in read(page.read_text()).text
    kept.write_text(running.emu("report", "--json").stdout)
    found = running.emu("report", str(kept), "-o", str(tmp_path / "later.html"))
    assert found.returncode == 0 and "is in" in found.stderr
    kept.write_text("{}")
    found = running.emu("report", str(kept))
    assert found.returncode == 2 and "is no record; `emu report --json` writes one" in found.stderr
