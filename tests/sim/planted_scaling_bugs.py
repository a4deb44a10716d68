"""Bugs of scaling and of overload, as somebody might have written them.

Each is a function whose docstring says what is wrong; `emu sim`'s own load, faults and verdict must
find it under tests/sim/planted/scaled.yaml. How they are hunted is test_scaling_planted.py's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emu.machine.cpu import NodeCpu
from nodes.autoscaler import measured, pace, replicas
from nodes.autoscaler.replicas import MILLI, Asked, Sample
from nodes.autoscaler.scaler import CPU, IN_FLIGHT, REQUESTS
from nodes.parts.backoff import RetryBudget
from nodes.parts.breaker import Breaker, State
from tests.planting import Bug, Swap, listed

BUGS: list[Bug] = []
bug = listed(BUGS, Bug)


# --- the pace ------------------------------------------------------------------------------------


@bug
def _down_without_a_window(swap: Swap) -> None:
    """a tier shrinks at once, whatever was wanted a moment ago"""
    sound = pace.Pace._steady

    def steady(self: Any, current: int, asked: int, now_s: float) -> int:
        found = sound(self, current, asked, now_s)
        return asked if asked < current else found

    swap.setattr(pace.Pace, "_steady", steady)


@bug
def _window_takes_the_last(swap: Swap) -> None:
    """a window takes what was asked for first in it, not the most"""

    def steady(self: Any, current: int, asked: int, now_s: float) -> int:
        down_s = now_s - self._down.window_s
        self._asked = [each for each in self._asked if each.at_s >= down_s]
        self._asked.append(pace.At(now_s, asked))
        return asked if asked > current else self._asked[0].nodes

    swap.setattr(pace.Pace, "_steady", steady)


@bug
def _no_policies(swap: Swap) -> None:
    """a tier grows as fast as it wants, whatever its policies say"""
    swap.setattr(pace.Pace, "_within", lambda self, current, wanted, now_s: wanted)


@bug
def _what_came_is_forgotten(swap: Swap) -> None:
    """a policy counts from the current number, not from that at the period's beginning"""

    def within(self: Any, current: int, wanted: int, now_s: float) -> int:
        came, self._came = self._came, []
        try:
            limit = max(current, self._limit(self._up, current, now_s, pace._grown))
        finally:
            self._came = came
        return min(wanted, limit) if wanted > current else wanted

    swap.setattr(pace.Pace, "_within", within)


@bug
def _no_least(swap: Swap) -> None:
    """a tier shrinks below its least"""
    sound = pace.Pace.limit

    def limit(self: Any, current: int, asked: int, least: int, most: int, now_s: float) -> Any:
        return sound(self, current, asked, 0, most, now_s)

    swap.setattr(pace.Pace, "limit", limit)


@bug
def _no_most(swap: Swap) -> None:
    """a tier grows beyond its most"""
    sound = pace.Pace.limit

    def limit(self: Any, current: int, asked: int, least: int, most: int, now_s: float) -> Any:
        return sound(self, current, asked, least, 1000, now_s)

    swap.setattr(pace.Pace, "limit", limit)


# --- what is measured ----------------------------------------------------------------------------


@bug
def _corrections_turn_it(swap: Swap) -> None:
    """members that are not known turn the direction"""
    sound = replicas._corrected

    def corrected(current: int, found: Any, ratio_of: Any, *rest: Any, at_one: bool) -> Asked:
        ratio = ratio_of(found.values)
        if ratio > 1.0 and (found.unready or found.missing):
            values = dict(found.values) | dict.fromkeys([*found.unready, *found.missing], 0)
            again = ratio_of(values)
            return Asked(replicas.ceil(again * len(values)), ratio, "corrected")
        return sound(current, found, ratio_of, *rest, at_one=at_one)

    swap.setattr(replicas, "_corrected", corrected)


@bug
def _an_earlier_life_counts(swap: Swap) -> None:
    """counters of a member's earlier life are taken for this one's"""

    def told(self: Any, totals: Mapping[str, float], now_s: float) -> None:
        before, self.before = self.before, (now_s, totals)
        self.cores = round(totals[measured.CPU_CORES] * MILLI)
        self.samples = {IN_FLIGHT: Sample(round(totals[measured.IN_HAND] * MILLI), now_s)}
        if before is None or before[0] >= now_s:
            return
        window_s = now_s - before[0]
        for metric, family in ((CPU, measured.CPU_BUSY), (REQUESTS, measured.ANSWERED)):
            value = round((totals[family] - before[1][family]) / window_s * MILLI)
            self.samples = {**self.samples, metric: Sample(value, now_s, window_s)}

    def follow(self: Any, members: Any, now_s: float) -> None:
        known = {}
        for member in members:
            found = self._known.get(member.name) or measured._Known(member, now_s)
            found.member = member
            known[member.name] = found
        self._known = known

    swap.setattr(measured._Known, "told", told)
    swap.setattr(measured.Measured, "follow", follow)


# --- overload ------------------------------------------------------------------------------------


@bug
def _charged_late(swap: Swap) -> None:
    """a retry is charged when it leaves, not when it is decided"""
    sound = RetryBudget.made

    def take(self: Any) -> bool:
        if self.tokens >= 1.0:
            return True
        self.refused += 1
        return False

    def made(self: Any) -> None:
        self.tokens -= 1.0
        sound(self)

    swap.setattr(RetryBudget, "take", take)
    swap.setattr(RetryBudget, "made", made)


@bug
def _never_charged(swap: Swap) -> None:
    """retries are counted, and never charged"""
    swap.setattr(RetryBudget, "take", lambda self: self.tokens >= 1.0)


@bug
def _half_open_for_ever(swap: Swap) -> None:
    """a trial that fails leaves the breaker half-open, and nobody may try again"""
    sound = Breaker.failure

    def failure(self: Any, now_s: float) -> None:
        if self.state is not State.HALF_OPEN:
            sound(self, now_s)

    def allow(self: Any, now_s: float) -> bool:
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN and now_s >= self._until_s:
            self.state = State.HALF_OPEN
            return True
        return False

    swap.setattr(Breaker, "failure", failure)
    swap.setattr(Breaker, "allow", allow)


@bug
def _cores_leak(swap: Swap) -> None:
    """a core that worked for somebody who left is never free again"""

    def give_up(self: Any, work: Any) -> None:
        if work in self._queue:
            del self._queue[work]
        elif work.timer is not None:
            work.timer.cancel()

    swap.setattr(NodeCpu, "_give_up", give_up)
