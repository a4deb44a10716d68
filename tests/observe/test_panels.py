"""Every panel's and rule's query, on a real Prometheus that scrapes a real run with failures.

One run of everything: a web server and all of them, a primary, a link, a disk, names. Whatever asks
for what nobody says, or asks it wrongly, gets nothing, and fails here.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from dashboards.board import annotation_queries, filled_in, panel_queries
from tests.observe.running import Running, start
from tests.observe.test_dashboards import MODELS, rules
from tests.peers import need

pytestmark = pytest.mark.slow

EVERYTHING: Final = "tests/observe/topologies/everything.yaml"
VALUES: Final = {"__rate_interval": "4s", "cluster": "everything", "tier": ".+", "node": ".+"}
RARE: Final = frozenset({"emu / Overview / Alerts / A"})
"""Panels of what is so just now: they are empty when all is well again."""
MUST_FIRE: Final = ("EmuNodeDown", "EmuNoPrimary")


@dataclass(frozen=True)
class Watched:
    """A run that is over (its Prometheus is not), and when its story began and ended."""

    running: Running
    began_s: float
    ended_s: float

    def ask(self, path: str, **fields: Any) -> Any:
        words = urllib.parse.urlencode(fields)
        address = f"{self.running.facts['prometheus']}/api/v1/{path}?{words}"
        with urllib.request.urlopen(address, timeout=20) as answer:
            return json.load(answer)["data"]

    def is_scraping(self) -> bool:
        """Whether Prometheus has started and looked at us more than once."""
        try:
            return self.points("sum(emu_node_up)") >= 3
        except urllib.error.URLError:
            return False

    def points(self, query: str) -> int:
        """How many values a query has over the whole story."""
        found = self.ask("query_range", query=query, start=self.began_s, end=self.ended_s, step=1)[
            "result"
        ]
        return sum(len(each["values"]) for each in found)


def play(running: Running) -> None:
    """Break something of every tier, in some ten seconds."""

    def break_it(verb: str, for_s: float, **fields: Any) -> None:
        running.ask("inject", {"verb": verb, **fields}, for_s)

    for method, *params in [("set", "user:1", "Ada"), *[("get", "user:1")] * 50]:
        running.ask("call", "kv-router", method, params)
    running.ask("inject", {"verb": "reshard", "tier": "kv", "to": 3})
    break_it("kill", 4.0, target="db primary")
    break_it("kill", 3.0, target="one web")
    time.sleep(4.5)  # its node is back: now most of three are gone for as long as an alert needs
    break_it("kill", 2.0, target="web")
    break_it("kill", 3.5, target="majority db")
    break_it("slow", 3.0, target="db", latency_s=0.02)
    break_it("loss", 3.0, target="users-us", loss_ratio=0.3)
    break_it("disk", 2.0, target="kv-shard-1-1", fail="reads")
    time.sleep(3.5)
    break_it("partition", 1.5, between=["lb", "web"])
    time.sleep(3.0)


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    need("prometheus")
    block = start(EVERYTHING, "--prometheus")
    running = next(block)
    began_s = time.time()
    seen = Watched(running, began_s, began_s + 120)
    give_up_s = time.monotonic() + 40
    while not seen.is_scraping():
        assert time.monotonic() < give_up_s
        time.sleep(0.3)
    play(running)
    running.until("status", lambda status: not status["faults"])
    time.sleep(1.5)
    yield Watched(running, began_s, time.time())
    with pytest.raises(StopIteration):
        next(block)


def test_every_target_is_scraped_without_a_complaint(watched: Watched):
    targets = watched.ask("targets")["activeTargets"]
    assert len(targets) > 15
    complaints = {each["labels"]["instance"]: each["lastError"] for each in targets}
    assert all(not each or "503" in each for each in complaints.values()), complaints


def test_every_panel_and_annotation_shows_something(watched: Watched):
    empty = []
    for model in MODELS.values():
        for where, query in (*panel_queries(model), *annotation_queries(model)):
            if not watched.points(filled_in(query, VALUES)) and where not in RARE:
                empty.append(f"{where}: {query}")
    assert not empty, "\n".join(empty)


def test_every_rule_is_well_and_what_a_kill_of_the_primary_must_raise_was_raised(
    watched: Watched,
):
    for group in watched.ask("rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule
    for rule in rules():
        if "record" in rule:
            assert watched.points(rule["record"]), rule["record"]
    for name in MUST_FIRE:
        assert watched.points(f'ALERTS{{alertname="{name}",alertstate="firing"}}'), name


def test_the_variables_offer_clusters_tiers_and_nodes(watched: Watched):
    def offered(query: str, label: str) -> set[str]:
        return {each["metric"][label] for each in watched.ask("query", query=query)["result"]}

    for model in MODELS.values():
        for variable in model["templating"]["list"][1:]:
            text = variable["query"]["query"].removeprefix("label_values(").removesuffix(")")
            query, _, label = text.rpartition(", ")
            found = offered(filled_in(query, VALUES), label)
            assert found, f"{model['title']}: {variable['name']}"
            if variable["name"] == "cluster":
                assert found == {"everything"}
