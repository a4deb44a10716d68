"""Time that the checkers take: long register histories, and searches that are hard.

Nothing to compare with: no usable checker for Python exists. Times are of one core.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Any, Final

from emu.checks import check
from emu.checks.history import Operation
from tests.checks.random_histories import few_values, history, register, unique_writes

REGISTER_OPERATIONS: Final = 100_000
SEARCHED_OPERATIONS: Final = 1_000
SEARCHED_CLIENTS: Final = 5
SEEDS: Final = 5


def seconds(operations: list[Operation], model: str) -> float:
    began_s = time.process_time()
    verdict = check(operations, model)
    took_s = time.process_time() - began_s
    assert not verdict.unknown
    return took_s


def registers(lies: float) -> float:
    operations = history(
        random.Random(1), register, unique_writes, clients=10, operations=REGISTER_OPERATIONS,
        lies=lies,
    )  # fmt: skip
    return seconds(operations, "register")


def searches(lies: float, losses: float) -> float:
    """The slowest of some seeds."""
    return max(
        seconds(
            history(
                random.Random(seed), register, few_values, clients=SEARCHED_CLIENTS,
                operations=SEARCHED_OPERATIONS, lies=lies, losses=losses,
            ),
            "cas-register",
        )
        for seed in range(SEEDS)
    )  # fmt: skip


def run(*, runs: int = 5) -> dict[str, Any]:
    """Rows: zones and search, on true and on wrong histories."""
    works = {
        "100k register, valid": lambda: registers(0.0),
        "100k register, wrong": lambda: registers(0.001),
        "search, 5 x 1000, valid": lambda: searches(0.0, 0.0),
        "search, 5% unknown": lambda: searches(0.0, 0.05),
        "search, wrong, 5% unknown": lambda: searches(0.1, 0.05),
    }
    rows = []
    for name, work in works.items():
        ours = [work() * 1e3 for _ in range(runs)]
        rows.append({
            "name": name, "ours": round(statistics.median(ours), 1), "peer": None, "ratio": None,
            "unit": "ms", "runs": runs, "ours_runs": [round(each, 1) for each in ours],
        })  # fmt: skip
    return {**rows[0], "name": "checks", "rows": rows}
