"""How many members the lag of a queue asks for: KEDA's formula. Pure.

Lag is what is there and not read: it is never below 0, and what was dropped unread is no work.
Beyond one member for each partition nobody would have anything to read.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import NamedTuple

from nodes.autoscaler.replicas import MILLI, Asked, Rules, by_total


class Standing(NamedTuple):
    """How far a group is in one partition."""

    start: int
    committed: int
    end: int

    @property
    def lag(self) -> int:
        return max(0, self.end - max(self.committed, self.start))


class Lag(NamedTuple):
    """What waits, in how many partitions."""

    records: int
    partitions: int


def lag_of(standings: Iterable[Standing]) -> Lag:
    found = [each.lag for each in standings]
    return Lag(sum(found), len(found))


def by_lag(current: int, each: float, lag: Lag, rules: Rules, *, allow_idle: bool) -> Asked:
    """One member for each so many records. `allow_idle`: also more than partitions."""
    target = max(1, round(each * MILLI))
    wanted = ceil(lag.records * MILLI / target)
    if not allow_idle and wanted >= lag.partitions:
        # The cap is reached, and not only nearly: a lag cut down to it would be within the
        # tolerance of one member less.
        nodes = lag.partitions
        ratio = lag.records * MILLI / (target * current) if current else float(nodes)
        return Asked(nodes, ratio, f"{lag.records} by {each:g} each: {nodes}, one a partition")
    return by_total(current, target, lag.records * MILLI, rules)
