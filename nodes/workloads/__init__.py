"""What the clients kind runs: a small table of workloads, by the kind of tier that they ask.

A workload says what comes next and does it; counting, recording and stopping are clients.py's. A
new tier adds a module here and a line to FAMILIES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from nodes.workloads import kv, sql
from nodes.workloads.base import Options, Setting, Workload

__all__ = ["FAMILIES", "NAMES", "Options", "Setting", "Workload"]

Family = Mapping[str, Callable[[Setting], Workload]]

FAMILIES: Final[Mapping[str, Family]] = {
    "database": sql.WORKLOADS,
    "kv_router": kv.WORKLOADS,
    "kv_shard": kv.WORKLOADS,
}
"""Kind of the tier that is asked → workload name → how to make it."""
NAMES: Final = tuple(dict.fromkeys(name for family in FAMILIES.values() for name in family))
