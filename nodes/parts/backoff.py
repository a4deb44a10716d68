"""When to try again: full jitter, and a budget that keeps retries from becoming the load. Pure.

Retry at one layer only (the one that knows what may be asked twice); the others fail fast.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

MAX_DOUBLINGS: Final = 20
PARTS: Final = 1_000_000
"""Of a retry: budgets are kept in whole ones, for sums of fractions drift apart."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits of a random part of a window that doubles from `first_s` to `most_s` (full jitter). The
    cap comes before the jitter: else all who have waited long come together."""

    first_s: float = 0.05
    most_s: float = 2.0
    jitter: bool = True
    """Without it all wait the whole window."""

    def wait_s(self, attempt: int, rng: random.Random) -> float:
        """How long to wait before retry number `attempt` (0: the first retry)."""
        window_s = min(self.most_s, self.first_s * 2.0 ** min(attempt, MAX_DOUBLINGS))
        return rng.uniform(0.0, window_s) if self.jitter else window_s


class RetryBudget:
    """Retries may be at most `ratio` of what succeeds, beyond a small reserve; at 1 there is no
    budget.

    A token bucket: a success deposits `ratio`, a retry takes 1 when it is decided, before it waits.
    (Where attempts deposit, as in Finagle, a server that answers nobody is asked `ratio` more for
    as long as it lasts.)
    """

    def __init__(self, ratio: float = 0.2, reserve: float = 10.0) -> None:
        assert 0.0 <= ratio <= 1.0
        assert reserve >= 0.0
        self.ratio = ratio
        self.refused = 0
        """Retries that the budget did not allow."""
        self._each = round(ratio * PARTS)
        self._most = round(max(reserve, 1.0) * 10 * PARTS)
        self._left = self._earned = round(reserve * PARTS)
        self._made = 0

    @property
    def tokens(self) -> float:
        """Retries that may be made now."""
        return self._left / PARTS

    def success(self) -> None:
        """An operation was answered."""
        self._earned += self._each
        self._left = min(self._left + self._each, self._most)

    def take(self) -> bool:
        """Whether one retry may be made; it is charged now."""
        if self.ratio >= 1.0:
            return True
        if self._left >= PARTS:
            self._left -= PARTS
            return True
        self.refused += 1
        return False

    def made(self) -> None:
        """A retry leaves, after its wait."""
        self._made += PARTS
        assert self.ratio >= 1.0 or self._made <= self._earned, "more retries than were earned"
