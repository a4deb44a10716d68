"""When is a server up? Rise and fall of active checks, and ejection for consecutive failures.

Pure: the caller probes, and says what it saw and what time it is.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

AWAITED_INTERVAL_S: Final = 0.1
"""At most so long between checks of a server that has never been up."""
MIN_INTERVAL_S: Final = 0.001
"""More checks than this would be all that a laptop does."""


def expect_checks(*, rise: int, fall: int, **intervals_s: float) -> None:
    """Raises ValueError for checks that a Config asks for, and that cannot be."""
    if min(rise, fall) < 1:
        raise ValueError("`rise` and `fall` must be at least 1")
    for name, interval_s in intervals_s.items():
        if interval_s < MIN_INTERVAL_S:
            raise ValueError(f"`{name}` must be at least {MIN_INTERVAL_S * 1000:g}ms")


@dataclass(frozen=True, slots=True)
class CheckTimes:
    """How often to look. HAProxy's words: inter, fastinter, downinter, spread-checks."""

    interval_s: float = 2.0
    fast_interval_s: float = 1.0
    """While neither surely up nor surely down."""
    jitter: float = 0.2
    """Each wait is multiplied by 1 ± this, at random: checks of many balancers drift apart."""

    def next_wait_s(self, health: Health, rng: random.Random) -> float:
        """How long to wait before the next check of this server."""
        base_s = self.interval_s
        if health.in_transition:
            base_s = min(base_s, self.fast_interval_s)
        if health.awaited:
            base_s = min(base_s, AWAITED_INTERVAL_S)
        return base_s * (1 + rng.uniform(-self.jitter, self.jitter))


class Health:
    """Up after `rise` successes in a row, down after `fall` failures in a row.

    A new server is up at once, and on probation: its first failed check takes it down (unless it is
    `trusted`: then it takes `fall`). With `starts_up` false it is down until its first success, and
    looked at often until then.
    """

    __slots__ = ("_score", "awaited", "fall", "rise", "why")

    def __init__(
        self, rise: int = 2, fall: int = 3, *, starts_up: bool = True, trusted: bool = False
    ) -> None:
        assert rise >= 1 and fall >= 1, (rise, fall)
        self.rise = rise
        self.fall = fall
        self._score = rise if starts_up else rise - 1
        if trusted:
            self._score = rise + fall - 1
        self.awaited = not starts_up
        """No check has passed yet."""
        self.why = ""
        """Why the last check failed; empty if it passed."""

    def forget(self) -> None:
        """It was started anew: down until its first success."""
        self._score, self.awaited = self.rise - 1, True

    @property
    def up(self) -> bool:
        return self._score >= self.rise

    @property
    def in_transition(self) -> bool:
        """Neither all of the last checks passed nor all failed, or none has passed yet."""
        return self.awaited or 0 < self._score < self.rise + self.fall - 1

    def passed(self) -> bool:
        """A check passed; True if that brought the server up."""
        was_up = self.up
        self.why = ""
        self.awaited = False
        self._score += 1
        if self._score >= self.rise:
            self._score = self.rise + self.fall - 1
        return self.up and not was_up

    def failed(self, why: str) -> bool:
        """A check failed; True if that took the server down."""
        was_up = self.up
        self.why = why
        if self.awaited:
            return False
        self._score -= 1
        if self._score < self.rise:
            self._score = 0
        return was_up and not self.up


class Outlier:
    """Failures of real traffic in a row, and the ejections they led to."""

    __slots__ = ("ejected_until_s", "ejections", "failures_in_a_row")

    def __init__(self) -> None:
        self.failures_in_a_row = 0
        self.ejections = 0
        self.ejected_until_s = float("-inf")

    def ejected(self, now_s: float) -> bool:
        return now_s < self.ejected_until_s

    def succeeded(self) -> None:
        self.failures_in_a_row = 0

    def failed(self) -> int:
        """Count a failure of real traffic; returns how many there are in a row."""
        self.failures_in_a_row += 1
        return self.failures_in_a_row

    def eject(self, now_s: float, base_s: float) -> float:
        """Take it out for `base_s` times the number of ejections; returns until when.

        The number forgets one ejection for each `base_s` of good conduct since the last.
        """
        if self.ejections:
            forgiven = int((now_s - self.ejected_until_s) / base_s) if base_s > 0 else 0
            self.ejections = max(0, self.ejections - max(0, forgiven))
        self.ejections += 1
        self.failures_in_a_row = 0
        self.ejected_until_s = now_s + base_s * self.ejections
        return self.ejected_until_s
