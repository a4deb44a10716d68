"""MGET of 10 and of 100 keys against redis-server: one shard, and three behind a router.

50 connections, one question in flight each. All of ours, router and shards, share one process:
three shards show what a question costs that all of them have a part in, not what they gain.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.bench import alternate, find_peer, measured_by
from tests.bench.balancer import process
from tests.bench.kv import PORT, redis
from tests.bench.kv import RIG as KV_RIG

RIG = [sys.executable, "-m", "tests.bench.many_keys_rig"]
COUNTS = (10, 100)
SHARDS = 3

Where = tuple[str, int, str]
"""Address, port, protocol."""


def client(work: str, where: Where, *rest: str) -> dict[str, Any]:
    """What one client process measured."""
    address, port, protocol = where
    return measured_by(*RIG, work, address, str(port), protocol, *rest, timeout_s=120)


@contextmanager
def filled(program: str) -> Iterator[dict[str, Where]]:
    """One shard of ours, three with a router, and the peer; the same keys in each."""
    with (
        process(*KV_RIG, "emu", "none", "off", "1", "0") as one,
        process(*RIG, "shards", str(SHARDS)) as several,
        redis(program, ["--save", ""]) as port,
    ):
        places: dict[str, Where] = {
            "1 shard": (one["address"], PORT, "msgpack"),
            f"{SHARDS} shards": (several["address"], PORT, "msgpack"),
            "peer": ("127.0.0.1", port, "resp"),
        }
        for where in places.values():
            client("fill", where)
        yield places


def measured(work: str, where: Where, *rest: str) -> Callable[[], float]:
    return lambda: float(client(work, where, *rest)["per_s"])


def run(*, peer: str | None = None, runs: int = 5) -> dict[str, Any]:
    """A row for each number of keys and of shards."""
    program = find_peer(peer or "redis-server", "redis-server")
    rows = []
    with filled(program) as places:
        theirs = places.pop("peer")
        for name, where in places.items():
            for count in COUNTS:
                rows.append(
                    alternate(
                        f"mget of {count} keys, {name}",
                        "requests/s",
                        measured("mget", where, str(count)),
                        measured("mget", theirs, str(count)),
                        runs,
                    )
                )
    return {**rows[0], "rows": rows}
