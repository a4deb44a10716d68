"""A virtual hour of a replicated database, its clients and its faults: seconds of one core.

Three nodes, ten clients with one operation a second each, and every 30 s something breaks. The hour
counts only if it was clean: every history is checked, and the replicas must agree at its end.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, Final

import emu
from emu.model.faults import Crash, Fault, Kill, Partition, Pause
from emu.model.topology import FaultItem
from emu.topology.loading import loads

HOUR_S: Final = 3600.0
EVERY_S: Final = 30.0
LASTS_S: Final = 5.0
PLAN: Final = """
name: hour
links:
  defaults: {within: 0.3ms}
tiers:
  db: {kind: database, nodes: 3, restart: on-failure}
  load: {kind: clients, asks: db, workload: register, processes: 10, think_time: 1s}
"""
FAULTS: Final[tuple[Fault, ...]] = (
    Kill("db primary"),
    Partition(("db primary", "all")),
    Crash("db replica"),
    Pause("db primary"),
    Crash("db primary"),
    Partition(("one db", "db"), one_way=True),
)


def timeline(for_s: float) -> tuple[FaultItem, ...]:
    """One fault after the other, each undone after a few seconds."""
    times = (EVERY_S * number for number in range(1, int(for_s / EVERY_S)))
    return tuple(
        FaultItem(FAULTS[number % len(FAULTS)], at_s, for_s=LASTS_S)
        for number, at_s in enumerate(times)
    )


def live_through(for_s: float) -> dict[str, Any]:
    """The summary of that much virtual time."""

    async def script(c: emu.Scenario) -> dict[str, Any]:
        c.start_playing(timeline(for_s))
        await c.sleep(for_s)
        return await c.finish()

    return emu.run(script, loads(PLAN), seed=5)


def seconds(for_s: float = HOUR_S) -> float:
    """What a clean run costs one core. Raises RuntimeError if it was not clean."""
    began_s = time.process_time()
    summary = live_through(for_s)
    took_s = time.process_time() - began_s
    if summary["verdict"] != "passed" or summary["requests"] < 8 * for_s:
        raise RuntimeError(f"not a clean hour: {summary}")
    return took_s


def run(*, runs: int = 3) -> dict[str, Any]:
    """No peer: the bar is 60 s."""
    found = [seconds() for _ in range(runs)]
    return {
        "name": "hour",
        "ours": round(statistics.median(found), 3),
        "peer": None,
        "ratio": None,
        "unit": "s",
        "runs": runs,
        "ours_runs": [round(each, 3) for each in found],
    }
