"""Steps 5, 10 and 11 as they are shipped, with their own load, on a real Prometheus: the query of
every panel and rule has something to show in one of them. (test_panels.py: the short form.)
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest

from dashboards.board import annotation_queries, filled_in, panel_queries
from tests.observe.running import Running, start
from tests.observe.test_dashboards import MODELS, rules
from tests.observe.test_panels import RARE, VALUES, Watched
from tests.peers import need

pytestmark = [pytest.mark.slow, pytest.mark.soak]

QUIET_S: Final = 60.0
"""For the faults' end, and for what they broke to be well again."""


def breaking(running: Running) -> Callable[..., None]:
    def break_it(verb: str, for_s: float, **fields: object) -> None:
        running.ask("inject", {"verb": verb, **fields}, for_s)

    return break_it


def has_primary(running: Running) -> None:
    running.until("ps", lambda rows: any(row["role"] == "primary" for row in rows), QUIET_S)


def replication_breaks(running: Running) -> None:
    has_primary(running)
    break_it = breaking(running)
    break_it("kill", 4.0, target="db primary")
    break_it("kill", 3.0, target="one web")
    time.sleep(5)
    has_primary(running)
    break_it("kill", 2.0, target="web")
    break_it("slow", 3.0, target="db", latency_s=0.02)
    break_it("loss", 3.0, target="users-local", loss_ratio=0.3)
    break_it("disk", 2.0, target="one db replica", fail="reads")
    time.sleep(4)
    break_it("partition", 1.5, between=["lb", "web"])
    time.sleep(3)


def sharding_breaks(running: Running) -> None:
    has_primary(running)
    (router,) = (row["name"] for row in running.ask("ps") if row["kind"] == "kv_router")
    running.ask("call", router, "set", ["user:1", "Ada"])
    for _ in range(50):
        running.ask("call", router, "get", ["user:1"])
    break_it = breaking(running)
    break_it("kill", 4.0, target="kv-shard-1 primary")
    time.sleep(14)  # the file's own reshardings


def queue_breaks(running: Running) -> None:
    has_primary(running)
    breaking(running)("kill", 3.0, target="queue-broker-1 primary")
    time.sleep(14)


def shown(topology: str, name: str, breaks: Callable[[Running], None]) -> Counter[str]:
    """By panel and rule, how many values it had over one run."""
    points: Counter[str] = Counter()
    block = start(topology, "--prometheus")
    running = next(block)
    began_s = time.time()
    while not Watched(running, began_s, began_s + QUIET_S).is_scraping():
        assert time.time() < began_s + QUIET_S
        time.sleep(0.3)
    breaks(running)
    running.until("status", lambda status: not status["faults"], QUIET_S)
    time.sleep(2)
    watched, values = Watched(running, began_s, time.time()), {**VALUES, "cluster": name}
    for model in MODELS.values():
        for where, query in (*panel_queries(model), *annotation_queries(model)):
            points[where] += watched.points(filled_in(query, values))
    for rule in rules():
        if "record" in rule:
            points[rule["record"]] += watched.points(rule["record"])
    for group in watched.ask("rules")["groups"]:
        assert all(rule["health"] == "ok" for rule in group["rules"]), group
    with pytest.raises(StopIteration):
        next(block)
    return points


def test_every_panel_and_rule_shows_something_of_steps_5_10_or_11():
    need("prometheus")
    points = shown("topologies/05-replication.yaml", "replication", replication_breaks)
    points.update(shown("topologies/10-message-queue.yaml", "message-queue", queue_breaks))
    points.update(shown("topologies/11-sharding.yaml", "sharding", sharding_breaks))
    assert [where for where, many in points.items() if not many and where not in RARE] == []
