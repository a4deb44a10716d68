"""SCAN by prefix against redis-server's SCAN MATCH: one shard, and three behind a router.

Four connections walk all keys, a tenth of which match, page after page; what counts is the keys
passed. Each walk must find every matching key.
"""

from __future__ import annotations

from typing import Any

from tests.bench import alternate, find_peer
from tests.bench.mget import filled, measured


def run(*, peer: str | None = None, runs: int = 5) -> dict[str, Any]:
    """A row for one shard and for three."""
    program = find_peer(peer or "redis-server", "redis-server")
    rows = []
    with filled(program) as places:
        theirs = places.pop("peer")
        for name, where in places.items():
            row = alternate(
                f"scan by prefix, {name}", "keys/s", measured("scan", where),
                measured("scan", theirs), runs,
            )  # fmt: skip
            rows.append(row)
    return {**rows[0], "rows": rows}
