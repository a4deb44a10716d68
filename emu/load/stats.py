"""What a load run counts, and how it sums up. Pure: it is handed times, it reads no clock."""

from __future__ import annotations

from heapq import heappush, heapreplace
from typing import Any, Final

from nodes.parts.histogram import LogHistogram

OK: Final = "ok"
TIMEOUT: Final = "timeout"
QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999}
SLOWEST: Final = 5
TRUSTED_LATE_P99_S: Final = 0.01


class Stats:
    """Requests by outcome. The latency of a request runs from when it was due to be sent, and
    counts what was answered well and what was waited for in vain (timeouts)."""

    def __init__(self) -> None:
        self.ok = 0
        self.errors: dict[str, int] = {}
        self.latency = LogHistogram()
        self.late = LogHistogram()
        """How late the generator itself was, tick by tick: its lag is part of the latency."""
        self._slowest: list[tuple[float, int]] = []
        """A heap, the quickest of them first."""

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def count(self, code: str, due_s: float, now_s: float, request: int | None = None) -> None:
        """`request`: its id, where it has one."""
        if code == OK:
            self.ok += 1
        else:
            self.errors[code] = self.errors.get(code, 0) + 1
        if code in (OK, TIMEOUT):
            self.latency.observe(now_s - due_s)
            if request is not None:
                self._remember(now_s - due_s, request)

    def _remember(self, seconds: float, request: int) -> None:
        if len(self._slowest) < SLOWEST:
            heappush(self._slowest, (seconds, request))
        elif seconds > self._slowest[0][0]:
            heapreplace(self._slowest, (seconds, request))

    def summary(self, ran_s: float) -> dict[str, Any]:
        latency: dict[str, float | None] = {
            name: _rounded(self.latency.quantile(fraction)) for name, fraction in QUANTILES.items()
        }
        late_p99_s = self.late.quantile(0.99) or 0.0
        return {
            "ran_s": round(ran_s, 3),
            "requests": self.ok + self.failed,
            "errors": self.failed,
            "errors_by_code": dict(sorted(self.errors.items())),
            "throughput_per_s": round(self.ok / ran_s, 1) if ran_s else 0.0,
            "latency_s": {**latency, "max": _rounded(self.latency.maximum or None)},
            "slowest": [
                {"request": f"{request:x}", "seconds": _rounded(seconds)}
                for seconds, request in sorted(self._slowest, reverse=True)
            ],
            "late_s": {"p99": _rounded(late_p99_s), "max": _rounded(self.late.maximum)},
            "trustworthy": late_p99_s <= TRUSTED_LATE_P99_S,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
