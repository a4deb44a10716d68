"""A circuit breaker, pure: closed, open after failures in a row, half-open for one trial at a time.

It is given the time; what counts as a failure is the caller's to say (refusals of
bad requests do not).
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Ask `allow` before each call and report `success` or `failure` after it."""

    def __init__(
        self,
        *,
        failures: int = 5,
        open_s: float = 0.5,
        trials: int = 1,
        trial_timeout_s: float = 10.0,
    ) -> None:
        assert failures > 0 and open_s > 0 and trials > 0 and trial_timeout_s > 0
        self.limit = failures
        self.open_s = open_s
        self.trial_timeout_s = trial_timeout_s
        """A trial of which nothing is heard for so long makes room for another: else one lost call
        would keep it half-open for ever."""
        self.trials = trials
        """Successful trials in half-open before it closes."""
        self.state = State.CLOSED
        self.opened = 0
        """How many times it has opened."""
        self._failures = 0
        self._successes = 0
        self._trial_running = False
        self._trial_until_s = 0.0
        self._until_s = 0.0

    def allow(self, now_s: float) -> bool:
        """Whether the call may be made. In half-open only one at a time is let through."""
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN:
            if now_s < self._until_s:
                return False
            self.state = State.HALF_OPEN
            self._successes = 0
            self._trial_running = False
        if self._trial_running and now_s < self._trial_until_s:
            return False
        self._trial_running = True
        self._trial_until_s = now_s + self.trial_timeout_s
        return True

    def success(self) -> None:
        self._failures = 0
        self._trial_running = False
        if self.state is State.HALF_OPEN:
            self._successes += 1
            if self._successes >= self.trials:
                self.state = State.CLOSED

    def failure(self, now_s: float) -> None:
        self._trial_running = False
        self._failures += 1
        if self.state is State.HALF_OPEN or (
            self.state is State.CLOSED and self._failures >= self.limit
        ):
            self.state = State.OPEN
            self.opened += 1
            self._until_s = now_s + self.open_s

    def ended(self) -> None:
        """The call is over, whatever came of it (it may have been cancelled): another may try."""
        self._trial_running = False
