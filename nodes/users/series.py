"""The metrics of a users tier: operations by outcome, their latency, and why they failed.

For Prometheus; the run's own numbers are kept in nodes/parts/tally.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nodes.metrics import Counter, Metrics
from nodes.parts.tally import ANY, ERROR, OK, READ, SHED, UNKNOWN, WRITE


class UserSeries:
    """Every counter is there before the first failure, so that a rate() sees it. `writing`: the
    operations that change something."""

    def __init__(self, metrics: Metrics, operations: Iterable[str], writing: Sequence[str]) -> None:
        self._metrics = metrics
        self.effects = {each: WRITE if each in writing else READ for each in operations}
        self.effects[ANY] = ANY
        self._reasons: dict[tuple[str, str], Counter] = {}
        self._counters: dict[tuple[str, str], Counter] = {}
        pairs = [(each, outcome) for each in operations for outcome in (OK, ERROR, UNKNOWN)]
        for operation, outcome in (*pairs, (ANY, SHED)):
            self._counters[operation, outcome] = metrics.counter(
                "user_requests_total",
                "Operations of users, by what came of them.",
                operation=operation,
                effect=self.effects[operation],
                outcome=outcome,
            )
        self._seconds = {
            operation: metrics.histogram(
                "user_request_seconds",
                "Seconds from when an operation was due to its answer.",
                operation=operation,
                effect=self.effects[operation],
            )
            for operation in dict(pairs)
        }
        self.retries = metrics.counter("user_retries_total", "Attempts after the first.")

    def count(self, operation: str, outcome: str, reason: str, seconds: float) -> None:
        """One operation that is over. `reason` is one of a few, and "" if it is ok."""
        self._counters[operation, outcome].value += 1
        if outcome == OK:
            self._seconds[operation].observe(seconds)
            return
        effect = self.effects[operation]
        failures = self._reasons.get((reason, effect))
        if failures is None:
            failures = self._reasons[reason, effect] = self._metrics.counter(
                "user_failures_total",
                "Operations that failed, by why.",
                reason=reason,
                effect=effect,
            )
        failures.value += 1
