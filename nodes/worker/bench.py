"""What a worker decides: which job is next, how many it may fetch, which locks to renew, how long
a failed one rests, and when nothing is left to be done here. Pure: it is told the time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from nodes.queue.work import Job

RENEWALS: Final = 3
"""A lock is renewed when so many parts of it are left, less one."""
MAX_DOUBLINGS: Final = 20


class Held:
    """A job that this worker has: waiting for a hand, or in one."""

    __slots__ = ("due_s", "job", "lock_s", "lost")

    def __init__(self, job: Job, lock_s: float, now_s: float) -> None:
        self.job = job
        self.lock_s = lock_s
        self.due_s = now_s + lock_s / RENEWALS
        """When its lock is to be renewed."""
        self.lost = False
        """It is another's by now: whatever is done with it here is done twice."""


class Bench:
    """The jobs of one worker. `prefetch`: how many of each topic may wait here for a free hand."""

    def __init__(self, topics: Sequence[str], concurrency: int, prefetch: int) -> None:
        self._waiting: dict[str, deque[Held]] = {topic: deque() for topic in topics}
        self._in_hand: dict[Held, None] = {}
        self._concurrency = concurrency
        self._prefetch = prefetch
        self._turn = 0
        self.draining = False
        """No job is begun any more."""

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def in_hand(self) -> int:
        return len(self._in_hand)

    def room(self, topic: str) -> int:
        """How many more of the topic may be fetched now."""
        return 0 if self.draining else self._prefetch - len(self._waiting[topic])

    def take(self, jobs: Iterable[Job], lock_s: float, now_s: float) -> None:
        """These were fetched; their locks began at `now_s` or later."""
        for job in jobs:
            self._waiting[job.topic].append(Held(job, lock_s, now_s))
            assert len(self._waiting[job.topic]) <= self._prefetch

    def begin(self) -> Held | None:
        """The next job, if a hand is free: the oldest of each topic in turn."""
        if self.draining or len(self._in_hand) >= self._concurrency:
            return None
        topics = list(self._waiting)
        for place in range(len(topics)):
            queue = self._waiting[topics[(self._turn + place) % len(topics)]]
            if queue:
                self._turn += place + 1
                held = queue.popleft()
                self._in_hand[held] = None
                return held
        return None

    def end(self, held: Held) -> None:
        """It has left the hand."""
        del self._in_hand[held]

    # --- locks ---------------------------------------------------------------------------

    def due(self, now_s: float) -> list[Held]:
        """Those whose locks are to be renewed now."""
        return [each for each in self._held() if each.due_s <= now_s and not each.lost]

    @property
    def next_due_s(self) -> float | None:
        return min((each.due_s for each in self._held() if not each.lost), default=None)

    def renewed(self, held: Held, now_s: float) -> None:
        """Its lock has its whole length from `now_s` on."""
        held.due_s = now_s + held.lock_s / RENEWALS

    def lost(self, held: Held) -> None:
        """It is another's: one that waits is left, one in hand cannot be undone."""
        held.lost = True
        if held in self._waiting[held.job.topic]:
            self._waiting[held.job.topic].remove(held)

    def _held(self) -> list[Held]:
        return [*self._in_hand, *(each for queue in self._waiting.values() for each in queue)]

    # --- the end -------------------------------------------------------------------------

    def drain(self) -> None:
        """Begin nothing more: what waits is to be given back."""
        self.draining = True
        for queue in self._waiting.values():
            queue.clear()


def retry_delay_s(failed: int, first_s: float, most_s: float) -> float:
    """How long a job rests that has failed now, and `failed` times before."""
    return float(min(most_s, first_s * 2.0 ** min(failed, MAX_DOUBLINGS)))
