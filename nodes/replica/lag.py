"""How far behind a replica is: the age of the oldest record that it does not have. Pure."""

from __future__ import annotations

from collections import deque

REMEMBERED = 4096
"""Batches whose time is kept; of a replica behind all of them only a lower bound is known."""


class LagClock:
    """Told when records were appended; asked how old those after a position are."""

    def __init__(self) -> None:
        self._appended: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)
        self._office_lsn = 0

    def appended(self, last_lsn: int, now_s: float) -> None:
        """The log now ends at `last_lsn` (which may be lower than before: it was cut)."""
        while self._appended and self._appended[-1][0] >= last_lsn:
            self._appended.pop()
        self._appended.append((last_lsn, now_s))

    def begin_office(self, last_lsn: int) -> None:
        """This node leads from here on, and has heard from nobody what they have."""
        self._office_lsn = last_lsn

    def behind_s(self, lsn: int, now_s: float) -> float:
        """The age of the first record after `lsn` (0: not heard yet, so that only records of this
        office count); 0 if there is none."""
        lsn = lsn or self._office_lsn
        oldest_s = now_s
        for last_lsn, at_s in reversed(self._appended):
            if last_lsn <= lsn:
                break
            oldest_s = at_s
        return now_s - oldest_s
