"""Who waits for a position of a log to be reached in the epoch in which they began to. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from protocols.errors import RpcError

Callback = Callable[[RpcError | None], object]
"""Called once: with None when the position is reached, with an error if it may never be."""


class Waiters:
    """One kind of position: what is acknowledged, what is visible."""

    def __init__(self, lost_code: str, lost_why: str) -> None:
        """What those hear whose epoch was over first."""
        self._lost = (lost_code, lost_why)
        self._heap: list[tuple[int, int, int, Callback]] = []
        self._order = count()

    def add(self, lsn: int, epoch: int, callback: Callback) -> None:
        heappush(self._heap, (lsn, next(self._order), epoch, callback))

    def reached(self, lsn: int, epoch: int, in_office: bool) -> None:
        """Call those that got what they wait for, and, once out of office, all others."""
        heap = self._heap
        while heap and (heap[0][0] <= lsn or not in_office or heap[0][2] != epoch):
            wanted_lsn, _, its_epoch, callback = heappop(heap)
            lost = its_epoch != epoch or wanted_lsn > lsn
            callback(RpcError(*self._lost) if lost else None)
