"""What a client that is no node feels of links and their faults: plain sockets, a running emu."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dns.message
import pytest

from tests.live.running import Running, emu_up

pytestmark = pytest.mark.slow
FAR = """
name: far
tiers:
  dns: {kind: dns, public: true, zone: example.test, answers: web, ttl: 5s}
  web: {kind: web, public: true, uses: db}
  db: {kind: database}
outside: {link: {latency: 20ms}}
"""
ACCESS_S = 0.040
"""There and back over the access line."""
LATE_S = 0.060
"""How late a busy laptop may be and still prove the point."""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("far")
    (folder / "far.yaml").write_text(FAR)
    with emu_up(folder, str(folder / "far.yaml")) as running:
        yield running


@contextmanager
def broken(running: Running, verb: str, **options: Any) -> Iterator[None]:
    running.inject(verb, **options)
    try:
        yield
    finally:
        running.inject("heal", what="all")


class Client:
    """One kept HTTP connection."""

    def __init__(self, running: Running, node: str = "web-1", *, timeout_s: float = 5.0) -> None:
        self.socket = socket.create_connection(running.address(node), timeout=timeout_s)
        self.received = b""

    def ask(self, path: str = "/static/mark.svg") -> None:
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())

    def answer(self) -> bytes:
        """One whole answer; TimeoutError where there is silence."""
        while b"\r\n\r\n" not in self.received:
            self._more()
        head, _, rest = self.received.partition(b"\r\n\r\n")
        (size,) = [int(line[15:]) for line in head.lower().split(b"\r\n")
                   if line.startswith(b"content-length:")]  # fmt: skip
        self.received = rest
        while len(self.received) < size:
            self._more()
        body, self.received = self.received[:size], self.received[size:]
        return body

    def _more(self) -> None:
        data = self.socket.recv(65536)
        assert data, "the connection has ended"
        self.received += data

    def round_trip_s(self, times: int = 4) -> float:
        """The quickest of some: what the laptop is busy with besides counts little."""
        found = []
        for _ in range(times):
            began_s = time.perf_counter()
            self.ask()
            self.answer()
            found.append(time.perf_counter() - began_s)
        return min(found)

    def is_silent(self, for_s: float = 0.3) -> bool:
        self.socket.settimeout(for_s)
        try:
            self.answer()
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(10.0)
        return False


Connect = Callable[..., Client]


@pytest.fixture
def connect(far: Running) -> Iterator[Callable[..., Client]]:
    """Opens connections; all are closed after the test."""
    clients: list[Client] = []

    def make(**options: Any) -> Client:
        clients.append(Client(far, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.socket.close()


def served(running: Running) -> float:
    with urllib.request.urlopen(running.observe + "/metrics/web-1", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    found = [float(each.rpartition(" ")[2]) for each in lines
             if each.startswith("emu_requests_total") and 'method="static"' in each]  # fmt: skip
    return sum(found)


def test_every_client_from_outside_crosses_the_access_line(far: Running, connect: Connect) -> None:
    assert ACCESS_S <= connect().round_trip_s() < ACCESS_S + LATE_S
    query = dns.message.make_query("www.example.test", "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(5)
        began_s = time.perf_counter()
        datagrams.sendto(query, far.address("dns-1"))
        datagrams.recv(512)
        assert time.perf_counter() - began_s >= ACCESS_S


def test_a_slow_link_is_felt_on_a_connection_that_was_there_before(
    far: Running, connect: Connect
) -> None:
    client = connect()
    with broken(far, "slow", target="web", latency_s=0.05, to="outside"):
        assert ACCESS_S + 0.1 <= client.round_trip_s() < ACCESS_S + 0.1 + LATE_S
    assert client.round_trip_s() < ACCESS_S + LATE_S


@pytest.mark.parametrize("connections", [1, 2])
def test_all_connections_share_the_bandwidth_of_a_link(
    far: Running, connect: Connect, connections: int
) -> None:
    clients = [connect() for _ in range(connections)]
    with broken(far, "throttle", target="web", bandwidth_bytes_per_s=200_000.0, to="outside"):
        began_s, total_bytes = time.perf_counter(), 0
        for _ in range(12 // connections):
            for client in clients:
                client.ask("/static/style.css")
        for _ in range(12 // connections):
            total_bytes += sum(len(client.answer()) for client in clients)
        took_s = time.perf_counter() - began_s
    assert total_bytes / 200_000 * 0.9 < took_s < total_bytes / 200_000 + 0.5


def test_a_held_partition_is_silence_and_healing_restores_the_old_connection(
    far: Running, connect: Connect
) -> None:
    client = connect()
    with broken(far, "partition", between=["outside", "web"]):
        client.ask()
        assert client.is_silent()
        newcomer = connect()
        newcomer.ask()
        assert newcomer.is_silent(), "accepted, then silence"
    assert client.answer().startswith(b"<svg")
    assert newcomer.answer().startswith(b"<svg")
    assert client.round_trip_s() < ACCESS_S + LATE_S


def test_a_one_way_cut_cuts_one_way(far: Running, connect: Connect) -> None:
    client, before = connect(), served(far)
    with broken(far, "partition", between=["outside", "web"], one_way=True):
        client.ask()
        assert client.is_silent()
        assert served(far) == before, "the request did not arrive"
    assert client.answer()
    assert served(far) == before + 1
    with broken(far, "partition", between=["web", "outside"], one_way=True):
        client.ask()
        assert client.is_silent()
        assert served(far) == before + 2, "the request arrived, its answer does not"
    assert client.answer()


def test_a_rejecting_partition_resets(far: Running, connect: Connect) -> None:
    client = connect()
    with (
        broken(far, "partition", between=["outside", "web"], mode="reject"),
        pytest.raises((ConnectionError, AssertionError)),
    ):
        client.ask()
        client.answer()


def test_loss_loses_datagrams_and_only_delays_streams(far: Running, connect: Connect) -> None:
    client, answered = connect(timeout_s=30.0), 0
    query = dns.message.make_query("www.example.test", "A").to_wire()
    with (
        broken(far, "loss", target="all", loss_ratio=0.4, to="outside"),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        for _ in range(60):
            datagrams.sendto(query, far.address("dns-1"))
        datagrams.settimeout(0.4)
        try:
            while datagrams.recv(512):
                answered += 1
        except TimeoutError:
            pass
        for _ in range(4):
            client.ask()
            assert client.answer().startswith(b"<svg"), "late perhaps, but whole"
    assert 5 <= answered <= 45, "60 × 0.6 × 0.6, give or take"


def test_a_private_node_refuses_a_stranger_and_says_which_edge_to_declare(far: Running) -> None:
    try:
        with socket.create_connection(far.address("db-1"), timeout=5) as stranger:
            assert stranger.recv(100) == b""
    except ConnectionResetError:
        pass
    events = far.get_json("/events?since=0")
    (refused,) = [each for each in events if each.get("node") == "db-1" and "refused" in
                  each["event"]]  # fmt: skip
    assert "give tier `db` `public: true`" in str(refused)


@pytest.mark.parametrize("node", ["web-1", "dns-1", "db-1"])
def test_nobody_from_outside_reaches_an_admin_listener(far: Running, node: str) -> None:
    try:
        with socket.create_connection((far.address(node)[0], 7900), timeout=5) as stranger:
            stranger.sendall(b"\x94\x00\x01\xa4ping\x90")
            assert stranger.recv(100) == b""
    except (ConnectionResetError, BrokenPipeError):
        pass
