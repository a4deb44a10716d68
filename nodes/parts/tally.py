"""What a run of users saw: counts, latencies, the longest outage, and which posts must be there.

Pure: it is told the time. Judging the numbers is for whoever asked for the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nodes.parts.histogram import LogHistogram

OK: Final = "ok"
ERROR: Final = "error"
"""Refused, for certain: it did not happen."""
UNKNOWN: Final = "unknown"
"""A timeout, or a connection that broke: nobody knows whether it happened."""
SHED: Final = "shed"
"""Not even sent: as many requests as the users may have were in flight already."""
READ: Final = "read"
WRITE: Final = "write"
ANY: Final = "any"
"""The effect of what was shed before it chose one."""
MAX_POSTS: Final = 1_000_000
SHOWN_IDS: Final = 10


class _Part:
    """The operations with one effect."""

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.latency = LogHistogram()

    def summary(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "errors": self.errors,
            "latency_wire": self.latency.to_wire(),
        }


class Tally:
    """Add each operation's outcome; `summary` gives the numbers so far."""

    def __init__(self, now_s: float) -> None:
        self.began_s = now_s
        self.ended_s: float | None = None
        self.outcomes: dict[str, int] = dict.fromkeys((OK, ERROR, UNKNOWN, SHED), 0)
        self.reasons: dict[str, int] = {}
        self.parts: dict[str, _Part] = {}
        self.retries = 0
        self.sessions_lost = 0
        self.outage_s = 0.0
        """The longest time from one success to the next with failures in between."""
        self._last_ok_s = now_s
        self._failed_since_ok = False

    @property
    def requests(self) -> int:
        return sum(self.outcomes.values())

    @property
    def errors(self) -> int:
        return self.requests - self.outcomes[OK]

    def add(
        self, outcome: str, reason: str, scheduled_s: float, now_s: float, effect: str = ANY
    ) -> None:
        """Count one operation, and its latency since the time at which it was due."""
        self.outcomes[outcome] += 1
        part = self.parts.get(effect)
        if part is None:
            part = self.parts[effect] = _Part()
        part.requests += 1
        part.errors += outcome != OK
        if outcome == OK:
            part.latency.observe(now_s - scheduled_s)
            if self._failed_since_ok:
                self.outage_s = max(self.outage_s, now_s - self._last_ok_s)
                self._failed_since_ok = False
            self._last_ok_s = now_s
        else:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
            self._failed_since_ok = True

    def summary(self, now_s: float) -> dict[str, Any]:
        """The run's numbers; `latency_wire` is for merging several users' (LogHistogram)."""
        end_s = now_s if self.ended_s is None else self.ended_s
        requests, ok = self.requests, self.outcomes[OK]
        outage_s = self.outage_s
        if self._failed_since_ok:
            outage_s = max(outage_s, end_s - self._last_ok_s)
        lasted_s = max(end_s - self.began_s, 1e-9)
        latency = LogHistogram()
        for part in self.parts.values():
            latency.merge(part.latency)
        return {
            "requests": requests,
            "ok": ok,
            "errors": self.errors,
            "unknown": self.outcomes[UNKNOWN],
            "shed": self.outcomes[SHED],
            "reasons": dict(sorted(self.reasons.items())),
            "retries": self.retries,
            "sessions_lost": self.sessions_lost,
            "availability": ok / requests if requests else None,
            "throughput_per_s": ok / lasted_s,
            "duration_s": end_s - self.began_s,
            "outage_s": outage_s,
            "latency_s": {
                "p50": latency.quantile(0.5),
                "p99": latency.quantile(0.99),
                "max": latency.maximum if latency.total else None,
            },
            "latency_wire": latency.to_wire(),
            "by_effect": {effect: part.summary() for effect, part in sorted(self.parts.items())},
        }


class Posts:
    """The posts that were tried, and what the final reads must find.

    An acknowledged post must be there once; one of unknown outcome may be there once; one that was
    refused must not be there.
    """

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.token = 0
        """The newest write's: reads with it include every write that we know of."""
        self.forgotten = 0
        self.found: dict[str, int] = {}

    def settle(self, post: str, outcome: str, token: int = 0) -> None:
        if len(self.outcomes) >= MAX_POSTS:
            self.forgotten += 1
            return
        self.outcomes[post] = outcome
        self.token = max(self.token, token)

    def missing(self) -> list[str]:
        """Acknowledged posts that no read has found yet."""
        acknowledged = (post for post, outcome in self.outcomes.items() if outcome == OK)
        return [post for post in acknowledged if not self.found.get(post)]

    def shown(self) -> list[str]:
        """All that was found, each as often as it is there."""
        return [name for name, count in self.found.items() for _ in range(count)]

    def is_read(self) -> bool:
        """Whether each was looked for."""
        return len(self.found) >= len(self.outcomes)

    def is_right(self) -> bool:
        """What must be there is there, once; what must not be is not."""
        return all(
            self.found.get(post, 0) <= 1
            and (outcome != OK or self.found.get(post) == 1)
            and (outcome != ERROR or not self.found.get(post))
            for post, outcome in self.outcomes.items()
        )

    def verdict(self, complete: bool) -> dict[str, Any]:
        """`lost` and `duplicated` count posts; None when the reads could not be completed."""
        acknowledged = sum(outcome == OK for outcome in self.outcomes.values())
        lost = self.missing()
        doubled = [post for post, count in self.found.items() if count > 1]
        ghosts = [post for post, outcome in self.outcomes.items()
                  if outcome == ERROR and self.found.get(post)]  # fmt: skip
        return {
            "posts": len(self.outcomes),
            "acknowledged": acknowledged,
            "found": sum(count > 0 for count in self.found.values()),
            "lost": len(lost) if complete else None,
            "duplicated": len(doubled) if complete else None,
            "refused_but_found": len(ghosts) if complete else None,
            "lost_ids": lost[:SHOWN_IDS] if complete else [],
            "duplicated_ids": doubled[:SHOWN_IDS],
            "final_read": "complete" if complete else "failed",
        }


def merged(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several sorts of things as one; what of one is not known is not known."""
    total = dict(verdicts[0])
    for each in verdicts[1:]:
        for key, value in each.items():
            if key == "final_read":
                total[key] = value if total[key] == "complete" else total[key]
            elif value is None or total[key] is None:
                total[key] = None
            elif isinstance(value, list):
                total[key] = [*total[key], *value][:SHOWN_IDS]
            else:
                total[key] += value
    return total
