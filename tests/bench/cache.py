"""One cache node against memcached: GET (a hit) and SET, 50 connections, one in flight; and beside
a loop of epoll, msgpack and a dict alone, sixteen in flight: the most that Python can do here.

Both are asked by the same kind of client process; memcached in its own text, with one thread.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.bench import alternate, find_peer, free_port, kv
from tests.bench.balancer import process

RIG = [sys.executable, "-m", "tests.bench.cache_rig"]
PORT = 7000


@contextmanager
def memcached(program: str) -> Iterator[int]:
    """At a free port of loopback, with one thread, as Python has."""
    port = free_port()
    options = ["-l", "127.0.0.1", "-p", str(port), "-t", "1", "-U", "0", "-u", "nobody"]
    with process(program, *options, wait_for_line=False):
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port


def run(*, peer: str | None = None, runs: int = 5) -> dict[str, Any]:
    """A row for each command: at depth 1 beside memcached, at depth 16 beside the bare loop."""
    program = find_peer(peer or "memcached", "memcached")
    rows: list[dict[str, Any]] = []
    with process(*RIG, "emu") as ours:
        address = ours["address"]
        for name, depth, protocol in (("memcached", 1, "memcached"), ("bare", 16, "plain")):
            opened = memcached(program) if depth == 1 else process(*kv.RIG, "bare")
            with opened as facts:
                port = facts["port"] if isinstance(facts, dict) else facts
                for work in ("set", "get"):  # what is set first is there to be found
                    row = alternate(
                        f"cache {work} x {depth}",
                        "requests/s",
                        kv.measured(address, PORT, "msgpack", depth, work, rig=RIG),
                        kv.measured("127.0.0.1", port, protocol, depth, work, rig=RIG),
                        runs,
                    )
                    rows.append({**row, "peer_name": name})
    return {**rows[0], "rows": rows}
