"""When records were appended: how far behind a replica is (the age of the oldest record that it
does not have), and where the log ended at a time. Pure."""

from __future__ import annotations

from collections import deque

REMEMBERED = 4096
"""Batches whose time is kept; of a replica behind all of them only a lower bound is known."""
MARKS = 1024
"""Times to go back to that are kept; of the older half every other goes when they are full."""
APART_S = 0.05
"""The least between two of them."""


class LagClock:
    """Told when records were appended; asked how old those after a position are."""

    def __init__(self) -> None:
        self._appended: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)
        self._office_lsn = 0
        self._marks: list[tuple[float, int]] = []
        """(time, where the log ended then), the latest always among them."""

    def appended(self, last_lsn: int, now_s: float) -> None:
        """The log now ends at `last_lsn` (which may be lower than before: it was cut)."""
        while self._appended and self._appended[-1][0] >= last_lsn:
            self._appended.pop()
        self._appended.append((last_lsn, now_s))
        self._mark(last_lsn, now_s)

    def _mark(self, last_lsn: int, now_s: float) -> None:
        marks = self._marks
        while marks and marks[-1][1] >= last_lsn:
            marks.pop()
        if len(marks) > 1 and now_s - marks[-2][0] < APART_S:
            marks.pop()
        marks.append((now_s, last_lsn))
        if len(marks) > MARKS:
            del marks[1 : MARKS // 2 : 2]

    def cut(self, from_lsn: int) -> None:
        """The records from there on are no more: nobody goes back to them."""
        while self._marks and self._marks[-1][1] >= from_lsn:
            self._marks.pop()

    def marks_until(self, lsn: int, now_s: float) -> list[tuple[float, int]]:
        """(how long ago, the last record that was there then), the oldest first, up to `lsn`."""
        return [(now_s - at_s, last_lsn) for at_s, last_lsn in self._marks if last_lsn <= lsn]

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
