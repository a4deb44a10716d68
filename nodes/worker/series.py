"""The metrics of a worker: what it did, how long that took, what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nodes.base import Context
from nodes.metrics import Counter
from nodes.worker.bench import Bench

DONE: Final = "done"
FAILED: Final = "failed"
LOST: Final = "lost"
"""It was done, but another has the job by now and will do it again."""
OUTCOMES: Final = (DONE, FAILED, LOST)


class Series:
    """One worker's."""

    def __init__(self, ctx: Context, bench: Bench, topics: Sequence[str]) -> None:
        metrics = ctx.metrics
        self._jobs: dict[tuple[str, str], Counter] = {
            (topic, outcome): metrics.counter(
                "jobs_total", "Jobs that left a worker's hands, by what came of them.",
                topic=topic, outcome=outcome,
            )
            for topic in topics
            for outcome in OUTCOMES
        }  # fmt: skip
        self._seconds = {
            topic: metrics.histogram("job_seconds", "Seconds that a job took.", topic=topic)
            for topic in topics
        }
        self._failures = metrics.counter(
            "job_failures_total", "Jobs that failed, or were another's when they were done."
        )
        metrics.gauge("jobs_in_hand", "Jobs that are worked on now.", lambda: bench.in_hand)
        metrics.gauge("jobs_waiting", "Jobs that wait here for a hand.", lambda: bench.waiting)

    def count(self, topic: str, outcome: str, seconds: float) -> None:
        self._jobs[topic, outcome].value += 1
        self._seconds[topic].observe(seconds)
        self._failures.value += outcome != DONE

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        found = dict.fromkeys(OUTCOMES, 0)
        for (_, outcome), counter in self._jobs.items():
            found[outcome] += int(counter.value)
        return found
