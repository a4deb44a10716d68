"""Whole load runs against a small server in a thread: what is counted, and from when."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import pytest

from emu import load
from emu.load.plan import Endpoint, Plan
from nodes.parts.changing import Constant, Step, rate_of
from tests.cli.conftest import Verb

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


class Server(asyncio.Protocol):
    """Answers HTTP and MessagePack-RPC as its class says."""

    answers = OK
    seen: list[int]
    stall_at, stall_s = -1, 0.0
    hang_up_after = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.unpacker = msgpack.Unpacker()
        self.count = 0

    def data_received(self, data: bytes) -> None:
        self.count += 1
        self.seen.append(len(data))
        if len(self.seen) == self.stall_at:
            time.sleep(self.stall_s)
        if data[:1] in b"GP":
            self.transport.write(self.answers)
        else:
            self.unpacker.feed(data)
            for _, msgid, method, _params in self.unpacker:
                error = None if method == "ping" else ["no_such_method", method]
                self.transport.write(msgpack.packb([1, msgid, error, "pong"]))
        if self.hang_up_after and self.count >= self.hang_up_after:
            self.transport.close()


@contextmanager
def serving(**options: Any) -> Iterator[tuple[int, list[int]]]:
    """The port of a server that runs in a thread, and the sizes of what it has read."""
    kind = type("Server", (Server,), {**options, "seen": []})
    ready: list[Any] = []
    stop = threading.Event()

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(kind, "127.0.0.1", 0)
        ready.append(server.sockets[0].getsockname()[1])
        while not stop.is_set():  # noqa: ASYNC110 - it is set in another thread
            await asyncio.sleep(0.005)
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        while not ready:
            time.sleep(0.001)
        yield ready[0], kind.seen
    finally:
        stop.set()
        thread.join()


def plan(port: int, protocol: Any = "http", **options: Any) -> Plan:
    options = {"for_s": 0.25, "connections": 4, **options}
    return Plan((Endpoint(protocol, "127.0.0.1", port),), **options)


def test_a_closed_loop_asks_as_fast_as_it_is_answered() -> None:
    with serving() as (port, seen):
        summary = load.run(plan(port))
    assert summary["loop"] == "closed" and summary["uvloop"]
    assert summary["errors"] == 0
    assert 50 < summary["requests"] <= len(seen)
    assert 0 < summary["latency_s"]["p50"] <= summary["latency_s"]["p99"]


def test_an_open_loop_sends_its_rate_and_no_more() -> None:
    with serving() as (port, _):
        summary = load.run(plan(port, rate=Constant(200.0), for_s=0.5))
    assert summary["errors"] == 0
    assert 90 <= summary["requests"] <= 102


def test_a_rate_may_change_while_it_runs() -> None:
    steps = rate_of((Step(0.0, 20.0), Step(0.3, 400.0)))
    with serving() as (port, _):
        summary = load.run(plan(port, rate=steps, for_s=0.5))
    assert 70 <= summary["requests"] <= 120
    assert (summary["loop"], summary["rate_per_s"]) == ("open", 400.0)


def test_an_open_loop_counts_the_waiting_that_a_stall_causes() -> None:
    """No coordinated omission: what was due during the stall waited, and counts from then."""
    with serving(stall_at=20, stall_s=0.4) as (port, _):
        opened = load.run(plan(port, rate=Constant(200.0), for_s=0.6))
    with serving(stall_at=20, stall_s=0.4) as (port, _):
        closed = load.run(plan(port, for_s=0.6, connections=1))
    assert opened["latency_s"]["p50"] > 0.05
    assert closed["latency_s"]["p50"] < 0.05


def test_rpc_goes_in_depth_and_errors_have_codes() -> None:
    with serving() as (port, seen):
        deep = load.run(plan(port, "rpc", depth=16, connections=2))
    assert deep["errors"] == 0 and deep["requests"] > 100
    assert max(seen) > 16 * 5  # several in one write
    with serving() as (port, _):
        wrong = load.run(plan(port, "rpc", method="fly", for_s=0.1))
    assert wrong["errors_by_code"].keys() == {"no_such_method"}
    assert wrong["latency_s"]["p50"] is None


def test_statuses_and_ends_are_told_apart() -> None:
    with serving(answers=OK.replace(b"200", b"503")) as (port, _):
        assert set(load.run(plan(port, for_s=0.1))["errors_by_code"]) == {"http_503"}
    with serving(hang_up_after=3) as (port, _):
        assert set(load.run(plan(port, for_s=0.2))["errors_by_code"]) <= {"closed", "reset"}
    with serving(answers=b"SSH-2.0\r\n\r\n") as (port, _):
        assert set(load.run(plan(port, for_s=0.1))["errors_by_code"]) == {"protocol"}


def test_nobody_there_is_refused_and_silence_times_out() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        refused = load.run(plan(port, for_s=0.15))
        silent.listen()
        quiet = load.run(plan(port, for_s=0.2, timeout_s=0.1, rate=Constant(100.0)))
    assert set(refused["errors_by_code"]) == {"refused"}
    assert 4 <= refused["errors"] <= 12  # it waits between attempts
    assert quiet["errors"] == quiet["requests"] > 0
    assert quiet["errors_by_code"]["timeout"] >= 4


def test_the_verb_prints_one_object_and_fails_where_nothing_is_answered(emu: Verb) -> None:
    with serving() as (port, _):
        url = f"http://127.0.0.1:{port}/"
        told = emu("load", url, "--for", "100ms", "--connections", "2", "--json")
        assert told.exit_code == 0
        assert json.loads(told.stdout)["target"] == [url]
        shown = emu("load", url, "--for", "100ms", "--rate", "100/s")
        assert [line.split()[0] for line in shown.stdout.splitlines()] == [
            "requests", "answered", "errors", "latency", "slowest",
        ]  # fmt: skip
    nobody = emu("load", url, "--for", "100ms")
    assert nobody.exit_code == 1
    assert "nothing was answered well" in nobody.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("http://h", "--rate", "fast"), "write"),
        (("http://h", "--rate", "[[0s, 5/s], [9, 5/s]]"), "write"),
        (("http://h", "--rate", "[[9s, 5/s], [1s, 5/s]]"), "follow each other"),
        (("http://h", "--rate", "[5/s]"), "is not [at, rate]"),
        (("http://h", "--rate", "{shape: round}"), "is not known"),
        (("ftp://h",), "write http://HOST:PORT/PATH"),
        (("rpc://h", "--params", "1"), "is no JSON list"),
        (("http://h", "--header", "x"), "write 'name: value'"),
        (("http://h", "--depth", "2"), "one request at a time"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_a_wrong_option_is_a_usage_error(emu: Verb, words: tuple[str, ...], complaint: str) -> None:
    result = emu("load", *words)
    assert result.exit_code == 2
    assert complaint in result.stderr
