"""Failover: a writer's outage when the primary dies or stops, ours against Redis Sentinel.

Both groups have three members (and Redis three sentinels) and the same detection time. A crash is
a power cut of ours (peers hear silence) and SIGKILL there (peers hear at once); a pause is SIGSTOP.
"""

from __future__ import annotations

from typing import Any, Final

from tests.bench import alternate, find_peer
from tests.bench.failover_rig import our_group, outage_s, redis_group

DETECTION_S: Final = 1.0
FAULTS: Final = ("crash", "pause")


def run(
    *, runs: int = 5, detection_s: float = DETECTION_S, faults: tuple[str, ...] = FAULTS
) -> dict[str, Any]:
    """A row for each fault. Less is better; `over_detection` is our outage ÷ the detection time."""
    program = find_peer("redis-server", "redis-server")
    rows: list[dict[str, Any]] = []
    for fault in faults:

        def ours(fault: str = fault) -> float:
            with our_group(fault, detection_s) as (writer, break_it):
                return outage_s(writer, break_it)

        def peer(fault: str = fault) -> float:
            with redis_group(program, fault, detection_s) as (writer, break_it):
                return outage_s(writer, break_it)

        row = alternate(f"failover, {fault}", "s of outage", ours, peer, runs)
        over = round(row["ours"] / detection_s, 3)
        note = f"{row['name']}: our outage is {over:.2f} of the detection time"
        rows.append({**row, "detection_s": detection_s, "over_detection": over, "note": note})
    return {**rows[0], "name": "failover", "rows": rows}
