"""One KV shard against redis-server: GET and SET, 50 connections, one and sixteen in flight.

Twice: memory only on both sides, and with a log that is synced each second and one replica (ours
`ack: off, sync_interval: 1s`, theirs `appendonly everysec`). Both are asked by the same kind of
client process. The `bare` rows are what is left of redis-server by a loop of epoll, msgpack and a
dict alone: the most that Python can do here.
"""

from __future__ import annotations

import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.bench import alternate, find_peer, free_port, measured_by
from tests.bench.balancer import process

RIG = [sys.executable, "-m", "tests.bench.kv_rig"]
ROOT = Path(__file__).parents[2]
PORT = 7000
CONNECTIONS = 50
DEPTHS = (1, 16)
SETTINGS = {
    "memory": (["none", "off", "1"], ["--save", ""]),
    "log + replica": (
        ["log", "off", "2"],
        ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"],
    ),
}
REPLICATED = "log + replica"


@contextmanager
def redis(program: str, options: list[str]) -> Iterator[int]:
    """A redis-server in a folder of its own, at a free port of loopback."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        where = [
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            folder,
            "--loglevel",
            "warning",
        ]
        with process(program, *where, *options, wait_for_line=False):
            for _ in range(100):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield port


@contextmanager
def redis_of(setting: str, program: str, options: list[str]) -> Iterator[int]:
    """The server to ask; with a replica that follows it, where the setting has one."""
    with redis(program, options) as port:
        if setting != REPLICATED:
            yield port
            return
        with redis(program, [*options, "--replicaof", f"127.0.0.1 {port}"]):
            time.sleep(2.0)  # its first synchronisation
            yield port


def measured(
    address: str, port: int, protocol: str, depth: int, work: str, *, rig: Sequence[str] = RIG
) -> Callable[[], float]:
    def once() -> float:
        command = [*rig, "client", address, str(port), protocol, str(depth), work]
        return float(measured_by(*command)["per_s"])

    return once


def run(*, peer: str | None = None, runs: int = 5) -> dict[str, Any]:
    """A row for each setting, depth and command; and ours with a 0.3 ms link."""
    program = find_peer(peer or "redis-server", "redis-server")
    rows: list[dict[str, Any]] = []

    def compare(name: str, address: str, ours: int, theirs: int) -> None:
        for depth in DEPTHS:
            for work in ("set", "get"):
                rows.append(
                    alternate(
                        f"kv {name}, {work} x {depth}",
                        "requests/s",
                        measured(address, ours, "msgpack", depth, work),
                        measured("127.0.0.1", theirs, "resp", depth, work),
                        runs,
                    )
                )

    for setting, (ours, theirs) in SETTINGS.items():
        with process(*RIG, "emu", *ours, "0") as emu, redis_of(setting, program, theirs) as port:
            compare(setting, emu["address"], PORT, port)
    with process(*RIG, "bare") as bare, redis(program, SETTINGS["memory"][1]) as port:
        compare("bare", bare["address"], bare["port"], port)
    with process(*RIG, "emu", "none", "off", "1", "0.3") as linked:
        for work in ("set", "get"):
            once = measured(linked["address"], PORT, "msgpack", 16, work)
            mine = [once() for _ in range(runs)]
            rows.append(
                {
                    "name": f"kv memory, {work} x 16, 0.3 ms link",
                    "ours": round(statistics.median(mine), 1),
                    "peer": None,
                    "ratio": None,
                    "unit": "requests/s",
                    "runs": runs,
                }
            )
    return {**rows[0], "rows": rows}
