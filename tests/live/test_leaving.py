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
from tests.live.leaving import Door, Leaver, asks, gets, resolves, tcp
from tests.live.running import Running, emu_up

pytestmark = pytest.mark.slow
HOUSE = """
name: house
tiers:
  dns: {kind: dns, public: true, zone: example.test, answers: lb}
  lb: {kind: balancer, public: true, balances: web, check: http, check_path: /health/live}
  web: {kind: web, public: true, uses: db}
  db: {kind: database, nodes: 1}
  kv: {kind: kv, public: true, shards: 1, replicas: 1, coordinators: 1}
accepts: {single-point: a test}
"""
SITE = asks(("site.home", []), ("site.profile", ["ada"]), ("ping", []), ("no.such", [1]))
PAGES = gets("/", "/api/home", "/u/ada", "/health/live", "/static/mark.svg", "/nothing")


LINES = {"near": "", "far": "outside: {link: {latency: 3ms, jitter: 1ms, bandwidth: 2MB/s}}\n"}
"""How far off the clients are: what comes over a line that takes time is held, and ends, apart."""


@pytest.fixture(scope="module", params=LINES)
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("house")
    (folder / "house.yaml").write_text(HOUSE + LINES[request.param])
    with emu_up(folder, str(folder / "house.yaml")) as running:
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
    observe = running.observe.removeprefix("http://").rpartition(":")
    store = running.address("kv-shard-1-1")
    verbs = asks(
        ("ps", ["all"]),
        ("events", [0, True, "db"]),
        ("describe", ["web-1"]),
        ("sql", ["db", "SELECT 1", {}]),
        ("call", ["lb", "ping", []]),
        ("resolve", ["nobody"]),
    )
    seen = gets("/", "/live", "/metrics", "/metrics/web-1", "/status", "/nodes", "/events?since=0")
    return [
        Door("control", socket.AF_UNIX, str(control(running)), verbs),
        tcp("observe", (observe[0], int(observe[2])), seen),
        tcp("web by HTTP", running.address("web-1"), PAGES),
        tcp("web by RPC", running.address("web-1"), SITE),
        tcp("balancer by HTTP", running.address("lb-1"), PAGES),
        tcp("balancer by RPC", running.address("lb-1"), SITE),
        tcp("dns", running.address("dns-1"), resolves("www.example.test", "no.example.test")),
        tcp("store", store, asks(("get", ["k"]), ("set", ["k", "v" * 900]), ("scan", [""]))),
        tcp("private", running.address("db-1"), asks(("ping", []))),
    ]


def all_is_well(running: Running) -> None:
    """Every door still answers, no node was restarted, and none logged an error."""
    assert running.process.poll() is None, (running.state / "up.log").read_text()
    with ControlClient(control(running), timeout_s=10) as client:
        assert {row["state"] for row in client.call("ps", "all")} == {"up"}
        assert client.call("sql", "db", "SELECT 1", {})["rows"] == [[1]]
        assert client.call("call", "kv", "ping", [])
    for node in ("lb-1", "web-1"):
        with urllib.request.urlopen(running.url(node, "/api/home"), timeout=10) as answer:
            assert json.loads(answer.read())["posts"]
    host, port = running.address("dns-1")
    question = dns.message.make_query("www.example.test", "A")
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
    leave_everywhere(house, leaver, 80)


@pytest.mark.soak
def test_fifty_thousand_who_leave_end_nothing_but_their_own_sessions(
    house: Running, leaver: Leaver, record_property: Any
) -> None:
    for _ in range(10):
        leave_everywhere(house, leaver, 575)
    record_property("figures", {"sessions": leaver.sessions})
    assert leaver.sessions > 50_000
