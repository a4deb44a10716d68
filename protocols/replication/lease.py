"""A primary's lease: it runs from the *sending* of a renewal round that a majority answered."""

from __future__ import annotations

from collections import deque

from protocols.replication.config import NEVER, GroupConfig

MARGIN = 0.02
"""Of the detection time: so long before its lease ends, a primary steps down."""


class Lease:
    """Until when nobody else can be elected, by this machine's own clock."""

    __slots__ = (
        "_config",
        "_leaseless_since_s",
        "_length_s",
        "_margin_s",
        "_rounds",
        "round",
        "until_s",
    )

    def __init__(self, config: GroupConfig, now_s: float) -> None:
        self._config = config
        self._length_s = config.detection_timeout_s * (1 - config.max_clock_drift)
        self._length_s /= 1 + config.max_clock_drift
        self._margin_s = MARGIN * config.detection_timeout_s
        self._rounds: deque[tuple[int, float]] = deque()
        self.round = 0
        """Of the latest renewal; counts within the primary's epoch."""
        self.until_s = 0.0
        self._leaseless_since_s = now_s

    def is_for(self, alone: bool, now_s: float) -> None:
        """Who is alone needs nobody's promise; whoever is no more must ask for them first."""
        if alone:
            self.until_s = NEVER
        elif self.until_s == NEVER:
            self.until_s, self._leaseless_since_s = 0.0, now_s

    def ask(self, now_s: float) -> None:
        """A renewal round leaves now."""
        self.round += 1
        self._rounds.append((self.round, now_s))

    def renew(self, answered_round: int) -> None:
        """A majority has answered this round, and so all before it."""
        while self._rounds and self._rounds[0][0] <= answered_round:
            _, sent_s = self._rounds.popleft()
            self.until_s = max(self.until_s, sent_s + self._length_s)

    def give_up(self) -> None:
        """For good."""
        self.until_s = 0.0

    def holds(self, now_s: float) -> bool:
        return not self._config.lease or now_s < self.until_s - self._margin_s

    def is_fresh(self, now_s: float) -> bool:
        """Whether no more than half of it is over."""
        return not self._config.lease or now_s < self.until_s - 0.5 * self._length_s

    @property
    def ends_s(self) -> float:
        """When to step down unless it is renewed; without one yet, how long that is borne."""
        if not self._config.lease:
            return NEVER
        if self.until_s == 0.0:
            return self._leaseless_since_s + self._config.detection_timeout_s
        return self.until_s - self._margin_s
