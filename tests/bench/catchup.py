"""Catch-up: a replica comes back 100 MB of log behind while 16 clients commit at the primary.

Twice: from the log, and where the log was cut, from a snapshot and what follows it. No peer: what
counts is how much of their commits a second the clients keep meanwhile.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable
from typing import Any, Final

from tests.bench import measured_by

RIG: Final = [sys.executable, "-m", "tests.bench.catchup_rig"]
MEGABYTES: Final = 100.0
STEADY_S: Final = 1.5
RETAINED_MB: Final = {"from the log": 4.0, "from a snapshot": 0.1}
"""Log kept for absent replicas, over what the replica lacks."""


def once(megabytes: float, retained_mb: int, steady_s: float) -> dict[str, Any]:
    return measured_by(*RIG, str(megabytes), str(retained_mb), str(steady_s), timeout_s=600)


def run(
    *,
    runs: int = 3,
    megabytes: float = MEGABYTES,
    steady_s: float = STEADY_S,
    ways: Iterable[str] = RETAINED_MB,
) -> dict[str, Any]:
    """For each way two rows: seconds until it has caught up, and the share of commits kept."""
    rows: list[dict[str, Any]] = []
    for way in ways:
        retained_mb = max(1, int(RETAINED_MB[way] * megabytes))
        found = [once(megabytes, retained_mb, steady_s) for _ in range(runs)]
        for each in found:
            if bool(each["snapshots"]) != (way == "from a snapshot"):
                raise RuntimeError(f"catch-up {way}: it installed {each['snapshots']} snapshots")
        shares = [each["during_per_s"] / each["before_per_s"] for each in found]
        name = f"catch-up {way}, {megabytes:g} MB"
        rows.append(_row(name, "s", [each["caught_up_s"] for each in found]))
        rows.append(_row(f"{name}: commits kept", "of those before", shares))
        rows[-1]["measured"] = found
    return {**rows[0], "name": "catchup", "rows": rows}


def _row(name: str, unit: str, values: list[float]) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(statistics.median(values), 3),
        "peer": None,
        "ratio": None,
        "unit": unit,
        "runs": len(values),
        "ours_runs": [round(each, 3) for each in values],
    }
