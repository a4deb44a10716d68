"""What a database's group commit executes: transactions, and what of them is counted.

What a transaction may do is state.py's business; when writers must wait, database.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nodes.base import Context
from nodes.replica.family import Group
from nodes.sql import reach
from nodes.sql.state import SqlState, Transaction


class Writes:
    """The family of transactions (nodes/replica/group_commit.py)."""

    def __init__(self, ctx: Context, sql: SqlState) -> None:
        self._sql = sql
        self._reached = ctx.reached
        metrics = ctx.metrics
        self._commits = metrics.counter("commits_total", "Transactions acknowledged.")
        self._refused = metrics.counter("transactions_refused_total", "Transactions refused.")
        self._seconds = metrics.histogram("commit_seconds", "Seconds from execution to commit.")

    def execute(self, asked: Sequence[Transaction], lsn: int) -> Group:
        group = self._sql.execute(asked, lsn)
        for outcome in group.outcomes:
            if outcome.refusal is not None and outcome.refusal.details[:1] > (0,):
                self._reached(reach.HALF_REFUSED)  # its guard says which statement it was
        return group

    def answer(self, results: Any, lsn: int) -> dict[str, Any]:
        return {"results": results, "lsn": lsn}

    def acknowledged(self, requests: int, seconds: float) -> None:
        self._commits.value += requests
        self._seconds.observe(seconds, requests)

    def refused(self, requests: int) -> None:
        self._refused.value += requests
