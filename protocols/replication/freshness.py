"""How old a replica's state may be, whatever its clock and the primary's say of each other.

A replica stamps its replies with its own clock; the primary, under a valid lease, echoes the stamp
with what is visible by then. Whoever has applied that is as fresh as the stamp.
"""

from __future__ import annotations

from collections import deque

from protocols.replication.config import NEVER

MAX_STAMPS = 64


class Freshness:
    """The stamps that came back."""

    __slots__ = ("_fresh_us", "_stamps")

    def __init__(self) -> None:
        self._stamps: deque[tuple[int, int]] = deque()
        """(what must be applied, to be as fresh as this stamp of ours)"""
        self._fresh_us = 0
        """Our state has all that had been acknowledged at this time of our clock; 0: never yet."""

    def note(self, visible_lsn: int, stamp_us: int) -> None:
        """The primary echoes a stamp of ours; 0: none."""
        if stamp_us <= self._fresh_us:
            return
        stamps = self._stamps
        if len(stamps) >= MAX_STAMPS:
            stamps.pop()
        stamps.append((visible_lsn, stamp_us))

    def lag_s(self, applied_lsn: int, now_s: float) -> float:
        """How old our state may be at most: it has all that had been acknowledged so long ago."""
        stamps = self._stamps
        while stamps and stamps[0][0] <= applied_lsn:
            self._fresh_us = max(self._fresh_us, stamps.popleft()[1])
        return now_s - self._fresh_us / 1e6 if self._fresh_us else NEVER
