"""Random, oversized, nested, truncated and slow input at every port: the nodes go on answering."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import msgpack
import pytest

from tests.live import garbage
from tests.live.garbage import Attacker
from tests.live.running import Running, emu_up

pytestmark = pytest.mark.slow
TARGET = """
name: target
tiers:
  dns: {kind: dns, public: true, zone: example.test, answers: lb}
  lb: {kind: balancer, public: true, balances: web, check: http, check_path: /health/live}
  web: {kind: web, public: true, uses: db, nodes: 2}
  db: {kind: database}
"""
MAX_GROWTH_BYTES = 100 << 20
"""Of the whole process: hundreds of hanging connections with their half messages are in it."""
ADMIN_PORT = 7900


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("target")
    (folder / "target.yaml").write_text(TARGET)
    with emu_up(folder, str(folder / "target.yaml")) as running:
        yield running


@pytest.fixture
def attacker(request: pytest.FixtureRequest) -> Iterator[Attacker]:
    made = Attacker(request.node.name)
    yield made
    made.close()


def memory_bytes(running: Running, field: str = "VmRSS") -> int:
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    (line,) = [each for each in status.splitlines() if each.startswith(field + ":")]
    return int(line.split()[1]) * 1024


def answers_well(running: Running) -> None:
    """Every node still does its work, none was restarted, and none logged an error."""
    for node in ("lb-1", "web-1", "web-2"):
        with urllib.request.urlopen(running.url(node, "/api/home"), timeout=10) as answer:
            assert json.loads(answer.read())["posts"]
        assert call(running.address(node), "ping") == "pong"
        assert call(running.address(node), "site.profile", "ada")["name"] == "ada"
    host, port = running.address("dns-1")
    question = dns.message.make_query("www.example.test", "A")
    for ask in (dns.query.udp, dns.query.tcp):
        answer = ask(question, host, timeout=10, port=port)
        assert answer.answer[0][0].to_text() == running.address("lb-1")[0]
    rows = running.get_json("/nodes")
    assert {(row["state"], row["generation"]) for row in rows} == {("up", 1)}
    errors = [each for each in running.get_json("/events?since=0") if each["level"] == "error"]
    assert errors == []


def call(address: tuple[str, int], method: str, *params: Any) -> Any:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(msgpack.packb([0, 1, method, list(params)]))
        unpacker = msgpack.Unpacker()
        while data := connection.recv(65536):
            unpacker.feed(data)
            for _, _, error, result in unpacker:
                assert error is None
                return result
    raise AssertionError(f"{address} closed without an answer to {method}")


def attack_everything(running: Running, attacker: Attacker, times: int) -> None:
    """So many of each kind at each port."""
    for node in ("web-1", "lb-1"):
        attacker.attack(running.address(node), garbage.rpc_frame, times)
        attacker.attack(running.address(node), garbage.http_message, times)
    attacker.attack(running.address("dns-1"), garbage.dns_stream, times)
    attacker.datagrams(running.address("dns-1"), garbage.dns_message, times)
    observe = running.observe.removeprefix("http://").rpartition(":")
    attacker.attack((observe[0], int(observe[2])), garbage.http_message, times)
    for node in ("db-1", "web-1", "dns-1"):
        host, port = running.address(node)
        private = port if node == "db-1" else ADMIN_PORT
        attacker.attack((host, private), garbage.rpc_frame, times // 5)


def test_a_sample_of_garbage_at_every_port_hurts_nobody(
    target: Running, attacker: Attacker
) -> None:
    answers_well(target)
    before_bytes = memory_bytes(target)
    attack_everything(target, attacker, 60)
    answers_well(target)
    assert memory_bytes(target) - before_bytes < MAX_GROWTH_BYTES


def test_hundreds_of_clients_that_never_finish_do_not_keep_others_from_being_served(
    target: Running, attacker: Attacker
) -> None:
    half = [
        b"GET / HTTP/1.1\r\nHo",
        b"\x94\x00\x01\xa4pi",
        b"",
        b"\r\n\r\n\x00\r\nQU",
        b"\x00\x40ab",
    ]
    connections = []
    try:
        for number in range(300):
            node = ("web-1", "lb-1", "dns-1")[number % 3]
            connections.append(socket.create_connection(target.address(node), timeout=5))
            connections[-1].sendall(half[number % len(half)])
        began_s = time.monotonic()
        answers_well(target)
        assert time.monotonic() - began_s < 5
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.soak
def test_ten_thousand_of_each_kind_at_every_port_hurt_nobody(
    target: Running, attacker: Attacker, record_property: Any
) -> None:
    answers_well(target)
    before_bytes = memory_bytes(target)
    for _ in range(20):
        attack_everything(target, attacker, 500)
        answers_well(target)
    attacker.close()
    after_bytes, most_bytes = memory_bytes(target), memory_bytes(target, "VmHWM")
    sizes = {"before": before_bytes, "after": after_bytes, "most": most_bytes}
    figures = {"sent": attacker.sent, **{f"{name}_mb": size >> 20 for name, size in sizes.items()}}
    print(figures)
    record_property("figures", figures)
    assert most_bytes - before_bytes < MAX_GROWTH_BYTES
