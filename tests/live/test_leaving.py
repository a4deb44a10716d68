"""Clients that leave anywhere, in any way, at every door: each ends its own session, no other."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest

from emu.control.client import ControlClient
from tests.live.leaving import Door, Leaver, asks, gets, knocks, resolves, tcp
from tests.live.running import Running, emu_up

pytestmark = pytest.mark.slow
HOUSE = """
name: house
tiers:
  dns: {kind: dns, public: true, zone: example.test, answers: lb}
  resolver: {kind: resolver, public: true, asks: dns}
  edge: {kind: cdn, public: true, origin: lb}
  lb: {kind: balancer, public: true, balances: web, check: http, check_path: /health/live}
  web: {kind: web, public: true, uses: [cache, db, queue], sessions: shared}
  db: {kind: database, public: true, nodes: 1, transaction_timeout: 10ms}
  cache: {kind: cache, public: true, fills_from: db}
  queue: {kind: queue, public: true, replicas: 0, topics: {left: {}, quiet: {}}}
  workers: {kind: worker, takes: queue, uses: db}
  kv: {kind: kv, public: true, shards: 1, replicas: 1, coordinators: 1}
  guest: {kind: web, public: true}
accepts: {single-point: a test, public-private: a test, no-failover: a test}
"""
SITE = asks(("site.home", []), ("site.profile", ["ada"]), ("ping", []), ("no.such", [1]))
PAGES = gets("/", "/api/home", "/u/ada", "/health/live", "/static/mark.svg", "/nothing")
VERBS = asks(
    ("ps", ["all"]),
    ("events", [0, True, "db"]),
    ("describe", ["web-1"]),
    ("sql", ["db", "SELECT 1", {}]),
    ("call", ["lb", "ping", []]),
    ("resolve", ["nobody"]),
)
SEEN = gets("/", "/live", "/metrics", "/metrics/web-1", "/status", "/nodes", "/events?since=0")
NAMES = resolves("www.example.test", "no.example.test")
STORE = asks(
    ("get", ["k"]),
    ("set", ["k", "v" * 900]),
    ("scan", [""]),
    ("transact", [[["set", "{a}b", 1], ["incr", "{a}c", 1]]]),
    ("mget", [["k", "l", "m"]]),
)
SQL = asks(
    ("query", ["SELECT name FROM sqlite_schema"]),
    ("query", ["SELECT 1", [], {"primary": True}]),
    ("write", [[["CREATE TABLE IF NOT EXISTS left_by (id INTEGER PRIMARY KEY)"]]]),
    ("write", [[["INSERT INTO left_by VALUES (NULL)"]], {"request_id": "once"}]),
    ("begin", [{"timeout_ms": 10}]),
    ("changes", [None, 0, {"wait_ms": 20}]),
)
COPIES = asks(
    ("get", ["k", {"wait_ms": 20}]),
    ("set", ["k", "v" * 900]),
    ("delete", [["k"], 0]),
    ("keys", [None]),
    ("stats", []),
)
RECORDS = asks(
    ("topics", []),
    ("publish", ["left", [["k", "v" * 300]]]),
    ("poll", ["left", 0, 0, {"max_records": 5}]),
    ("poll", ["quiet", 0, 0, {"wait_ms": 20}]),
    ("heartbeat", ["readers", "one", 0, {"topics": ["left"]}]),
    ("acquire", ["left", "workers", "one", {"wait_ms": 20}]),
    ("acquire", ["left", "workers", "two", {"max": 3}]),
    ("groups", []),
)


LINES = {"near": "", "far": "outside: {link: {latency: 3ms, jitter: 1ms, bandwidth: 2MB/s}}\n"}
"""How far off the clients are: what comes over a line that takes time is held, and ends, apart."""


@pytest.fixture(scope="module", params=[*LINES, pytest.param("joined", marks=pytest.mark.soak)])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("house")
    (folder / "house.yaml").write_text(HOUSE + LINES.get(request.param, ""))
    joined = "guest-1" if request.param == "joined" else ""
    with emu_up(folder, str(folder / "house.yaml"), joined=joined) as running:
        yield running
    assert running.process.returncode == 130, (folder / "up.log").read_text()


@pytest.fixture
def leaver(request: pytest.FixtureRequest) -> Iterator[Leaver]:
    made = Leaver(request.node.name)
    yield made
    made.close()


def control(running: Running) -> Path:
    (path,) = running.state.glob("*/control.sock")
    return path


def doors(running: Running) -> list[Door]:
    """Whatever listens, in each language that is spoken there."""
    observe = running.observe.removeprefix("http://").rpartition(":")
    (facts,) = running.state.glob("*/run.json")
    at = running.address
    found = [
        Door("control", socket.AF_UNIX, str(control(running)), VERBS),
        tcp("observe", (observe[0], int(observe[2])), SEEN),
        tcp("dns by RPC", at("dns-1"), asks(("ping", []))),
        tcp("sql", at("db-1"), SQL),
        tcp("cache", at("cache-1"), COPIES),
        tcp("store", at("kv-router-1"), STORE),
        tcp("queue", at("queue-front-1"), RECORDS),
    ]
    found += [tcp(f"{node} by HTTP", at(node), PAGES) for node in ("edge-1", "lb-1", "web-1")]
    found += [tcp(f"{node} by RPC", at(node), SITE) for node in ("edge-1", "lb-1", "web-1")]
    found += [tcp(node, at(node), NAMES) for node in ("dns-1", "resolver-1")]
    private = ("queue-broker-1-1", "workers-1", "kv-shard-1-1")
    found += [tcp(f"private {node}", at(node), asks(("ping", []))) for node in private]
    if join := json.loads(facts.read_text()).get("join"):
        host, _, port = join.rpartition(":")
        found += [tcp("join", (host, int(port)), knocks), tcp("guest", at("guest-1"), PAGES)]
    return found


def all_is_well(running: Running) -> None:
    """Every door still answers, no node was restarted, and none logged an error."""
    assert running.process.poll() is None, (running.state / "up.log").read_text()
    with ControlClient(control(running), timeout_s=10) as client:
        assert {row["state"] for row in client.call("ps", "all")} == {"up"}
        assert client.call("sql", "db", "SELECT 1", {})["rows"] == [[1]]
        for tier in ("kv", "queue", "cache"):
            assert client.call("call", tier, "ping", [])
    for node in ("edge-1", "lb-1", "web-1", "guest-1"):
        with urllib.request.urlopen(running.url(node, "/api/home"), timeout=10) as answer:
            assert json.loads(answer.read())["posts"]
    question = dns.message.make_query("www.example.test", "A")
    for node in ("dns-1", "resolver-1"):
        host, port = running.address(node)
        for ask in (dns.query.udp, dns.query.tcp):
            assert ask(question, host, timeout=10, port=port).answer
    assert {row["generation"] for row in running.get_json("/nodes")} == {1}
    errors = [each for each in running.get_json("/events?since=0") if each["level"] == "error"]
    assert not errors, json.dumps(errors[:3])


def leave_everywhere(running: Running, leaver: Leaver, times: int) -> None:
    for door in doors(running):
        leaver.visit(door, times)
        all_is_well(running)


def test_who_leaves_ends_nothing_but_its_own_session(house: Running, leaver: Leaver) -> None:
    all_is_well(house)
    leave_everywhere(house, leaver, 30)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("house", "sessions"), [("far", 50_000), ("joined", 100_000)], indirect=["house"]
)
def test_a_hundred_thousand_who_leave_end_nothing_but_their_own_sessions(
    house: Running, leaver: Leaver, sessions: int, record_property: Any
) -> None:
    while leaver.sessions < sessions:
        leave_everywhere(house, leaver, 500)
    record_property("figures", {"sessions": leaver.sessions})
