"""Our MessagePack-RPC service against a bare Trio echo of the same bytes: what the wire costs.

Both servers are asked by the same kind of client process; the echo parses nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from tests.bench import alternate, measured_by
from tests.bench.balancer import process

RIG: Final = [sys.executable, "-m", "tests.bench.rpc_rig"]
MEASURE_S: Final = 1.0
SHAPES: Final = ((50, 1), (50, 16))


def measured(server: dict[str, Any], connections: int, depth: int) -> Callable[[], float]:
    where = [server["address"], str(server["port"])]

    def once() -> float:
        command = [*RIG, "client", *where, str(connections), str(depth), str(MEASURE_S)]
        return float(measured_by(*command)["per_s"])

    return once


def run(*, runs: int = 5) -> dict[str, Any]:
    """Rows: 50 connections with 1 and with 16 requests in flight each."""
    with process(*RIG, "emu") as ours, process(*RIG, "bare") as bare:
        rows = [
            alternate(
                f"rpc {connections} x {depth}",
                "requests/s",
                measured(ours, connections, depth),
                measured(bare, connections, depth),
                runs,
            )
            for connections, depth in SHAPES
        ]
    return {**rows[0], "rows": rows}
