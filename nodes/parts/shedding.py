"""What an overloaded server refuses first: the least urgent of what it is asked for. Pure.

While work waits longer than it may, so many of those that come are let in as were served of late,
the most urgent ones. Among those that are as urgent their trace decides, so that all servers on
the way of a request are of one mind, and none works for what the next one refuses. (DAGOR; Zhou
and others, SoCC 2018. Urgency is RFC 9218's.)
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

MIDDLE: Final = 3
"""Of who says nothing."""
LEAST: Final = 7
"""0 is the most urgent."""
SHARES: Final = 128
"""Parts of those that are as urgent."""
NOBODY: Final = (LEAST + 1) * SHARES
"""From this rank on all are refused: there is none."""
WINDOW_S: Final = 0.25
FEWEST: Final = 8
MOST: Final = 2000
"""How many come in a window: before so many have it is not over, and at the latest then."""
DRAINING: Final = 0.95
"""So much of what is served is let in: the others are those that wait already."""
GROWTH: Final = 0.1
"""Of those that came so many more are let in next time, while nobody waits for long."""


def rank_of(urgency: int, trace: int | None) -> int:
    """Of two the higher one is refused first. `urgency`: 0 to 7."""
    share = SHARES // 2 if trace is None else trace % SHARES
    return urgency * SHARES + share


class Shedder:
    """One server's. `wait_s`: what its work may wait on average for a core."""

    def __init__(self, wait_s: float) -> None:
        assert wait_s > 0
        self._wait_s = wait_s
        self.level = NOBODY
        """Lower ranks are let in, higher ones refused; of this one a share is let in."""
        self._share = self._credit = 0.0
        self._since_s: float | None = None
        self._came: list[int] = []
        self._admitted = 0
        self._served = 0
        self._waited_s = 0.0

    @property
    def refused_urgency(self) -> int:
        """The most urgent that is refused, in part at least; 8: none is."""
        return self.level // SHARES

    def admits(self, rank: int, now_s: float) -> bool:
        """Somebody comes."""
        if self._since_s is None:
            self._since_s = now_s
        elif len(self._came) >= (FEWEST if now_s - self._since_s >= WINDOW_S else MOST):
            self._decide()
            self._since_s = now_s
        self._came.append(rank)
        admitted = rank < self.level
        if rank == self.level:
            self._credit += self._share
            admitted = self._credit >= 1.0
            self._credit -= admitted
        self._admitted += admitted
        return admitted

    def keeps(self, rank: int) -> bool:
        """Whether who was let in before, and waits, is still to be served."""
        return rank <= self.level

    def began(self, waited_s: float) -> None:
        """Somebody has a core."""
        self._served += 1
        self._waited_s += waited_s

    def _decide(self) -> None:
        came, admitted = sorted(self._came), self._admitted
        served, waited_s = self._served, self._waited_s
        self._came, self._admitted, self._served, self._waited_s = [], 0, 0, 0.0
        if not served:
            return  # it hangs, or has one long piece of work: that says nothing of what it can do
        if waited_s > self._wait_s * served:
            room = max(1, round(DRAINING * min(admitted, served)))
        else:
            room = admitted + max(1, round(GROWTH * len(came)))
        if room >= len(came):
            self.level = NOBODY
            return
        self.level = came[room]
        first, end = bisect_left(came, self.level), bisect_right(came, self.level)
        self._share = (room - first) / (end - first)
