"""Tasks that wait for a position of a log to be reached in the epoch in which they began to. No
I/O."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count

import trio


class _Waiter:
    __slots__ = ("done", "lost")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.lost = False


class Waiters:
    """One kind of position: what is acknowledged, what is visible."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, _Waiter]] = []
        self._order = count()

    async def wait(self, lsn: int, epoch: int) -> bool:
        """Whether the position was reached; False if the epoch was over first."""
        waiter = _Waiter()
        heappush(self._heap, (lsn, next(self._order), epoch, waiter))
        await waiter.done.wait()
        return not waiter.lost

    def reached(self, lsn: int, epoch: int, in_office: bool) -> None:
        """Wake those that got what they wait for, and, once out of office, all others."""
        heap = self._heap
        while heap and (heap[0][0] <= lsn or not in_office or heap[0][2] != epoch):
            wanted_lsn, _, its_epoch, waiter = heappop(heap)
            waiter.lost = its_epoch != epoch or wanted_lsn > lsn
            waiter.done.set()
