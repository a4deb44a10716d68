"""At which rates a site is measured: low, at more than half of its ceiling, and close below it.
That is known only when it was measured: so it is looked at, and again where it was elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from emu.model.topology import Topology
from emu.planning.measuring import MOST_REQUESTS, Load, Measured, measure, rate_of
from emu.planning.plan import Model, model

FIRST_S: Final = 5.0
LOOKED_S: Final = 20.0
CLOSE_S: Final = 5.0
LONGEST_S: Final = 120.0
LEAST_REQUESTS: Final = 300
"""Fewer arrive too unevenly: a run is longer than these times for them."""
LEAST_PER_S: Final = 20.0
MOST_PER_S: Final = 600.0
Share = tuple[float, float, float]
LOW: Final = (0.08, 0.2, 0.3)
"""Of the ceiling: from, best, to."""
HIGH: Final = (0.55, 0.7, 0.8)
CLOSE: Final = (0.88, 0.92, 0.95)
FULL: Final = 0.98
"""So busy, more than it bears is asked of it."""
LESS: Final = 0.9
LEAST: Final = 0.1
"""Where nobody waits for long enough to be answered, it bears more than it answers."""
TRIES: Final = 6
HIGHEST_PER_S: Final = MOST_PER_S / HIGH[1]
"""A ceiling that is higher is taken for this one."""


def find(topology: Topology, starts: Callable[[float], Callable[[float], object]]) -> Model:
    """Measure it; `starts` is told the requests a second of each run, and answers whom to tell how
    far it is. Raises NoUsers, ValueError where it answers no more when it is asked more."""
    seen: list[Measured] = []

    def at(rate_per_s: float, for_s: float) -> Measured:
        passes = starts(rate_per_s)
        for_s = max(for_s, min(LONGEST_S, LEAST_REQUESTS / rate_per_s))
        return measure(topology, rate_per_s, for_s, passes=passes)

    def near(ceiling_per_s: float, share: Share, for_s: float) -> Measured:
        """What was measured where that is near enough; else, measured now."""
        ceiling_per_s = min(ceiling_per_s, HIGHEST_PER_S)
        known = [each for each in seen if _is_at(each, ceiling_per_s, share)]
        if not known:
            known = [at(share[1] * ceiling_per_s, for_s)]
            seen.extend(known)
        return max(known, key=lambda each: each.requests_per_s)

    own_per_s = min(max(LEAST_PER_S, rate_of(topology)), MOST_PER_S)
    first = at(own_per_s, FIRST_S)
    if own_per_s * FIRST_S >= MOST_REQUESTS:
        seen.append(first)  # no run is longer
    found = model(_nothing(first), first)
    ceiling_per_s = found.ceiling_per_s if found.bottleneck else own_per_s / HIGH[1]
    if _is_full(first):
        ceiling_per_s = _borne_per_s(first)
    most_per_s = math.inf
    for _ in range(TRIES):
        low, high = (near(ceiling_per_s, share, LOOKED_S) for share in (LOW, HIGH))
        if _is_full(high):
            most_per_s, ceiling_per_s = high.requests_per_s, _borne_per_s(high)
            continue
        found = replace(model(low, high), most_per_s=most_per_s)
        thought_per_s, ceiling_per_s = ceiling_per_s, found.ceiling_per_s
        if found.bottleneck is None or min(thought_per_s, ceiling_per_s) >= HIGHEST_PER_S:
            break
        if not _is_at(high, ceiling_per_s, HIGH):
            continue
        close = near(ceiling_per_s, CLOSE, CLOSE_S)
        if _is_full(close):
            most_per_s, ceiling_per_s = close.requests_per_s, _borne_per_s(close)
            continue
        found = replace(model(low, high, close), most_per_s=most_per_s)
        ceiling_per_s = found.ceiling_per_s
        if _is_at(high, ceiling_per_s, HIGH) and _is_at(close, ceiling_per_s, CLOSE):
            break
    return found


def _is_at(seen: Measured, ceiling_per_s: float, share: Share) -> bool:
    return share[0] <= seen.requests_per_s / ceiling_per_s <= share[2]


def _is_full(seen: Measured) -> bool:
    """Whether some tier had no core free."""
    return any(each.cores and each.utilization >= FULL for each in seen.tiers.values())


def _borne_per_s(full: Measured) -> float:
    """About what a site bears of which more is asked: not much more than it answers."""
    return min(LESS * full.requests_per_s, max(full.ok_per_s, LEAST * full.requests_per_s))


def _nothing(seen: Measured) -> Measured:
    """Of nobody who asks, as if nothing was done without them."""
    tiers = {
        name: replace(each, members=(Load(0.0, 0.0, 0.0),) * len(each.members), written_bytes=0.0)
        for name, each in seen.tiers.items()
    }
    return Measured(0.0, 0.0, 0.0, 0.0, tiers)
