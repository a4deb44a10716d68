"""How fast a tier may follow what is asked for: stabilization windows and rate policies, as
Kubernetes' controller has them. Pure: it is told the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil
from typing import NamedTuple

from nodes.autoscaler.config import DISABLED, Behavior, Policy


class At(NamedTuple):
    """A number of members, and when it was asked for, or came or went."""

    at_s: float
    nodes: int


class Paced(NamedTuple):
    """What is left of what was asked for."""

    nodes: int
    limited: str
    """By what, for people; "": by nothing."""


class Pace:
    """It remembers what was asked for, and what was changed."""

    def __init__(self, up: Behavior, down: Behavior) -> None:
        self._up = up
        self._down = down
        self._asked: list[At] = []
        self._came: list[At] = []
        self._went: list[At] = []

    def limit(self, current: int, asked: int, least: int, most: int, now_s: float) -> Paced:
        """How many there should be now, where a metric asks for so many."""
        if not self._asked:
            self._asked.append(At(now_s, current))
        steady = self._steady(current, asked, now_s)
        nodes = min(self._within(current, steady, now_s), most)
        if steady < current:
            nodes = max(nodes, least)
        self._check(current, nodes, most, now_s)
        if nodes == asked:
            return Paced(nodes, "")
        if steady != asked and nodes == steady:
            limited = "its window"
        elif nodes in (least, most):
            limited = f"{'min' if nodes == least else 'max'}_nodes"
        else:
            limited = "its policies"
        return Paced(nodes, limited)

    def _check(self, current: int, nodes: int, most: int, now_s: float) -> None:
        """What must hold of every number, whatever came before."""
        assert nodes <= most, f"{nodes} of at most {most}"
        if nodes < current:
            since_s = now_s - self._down.window_s
            lately = [each.nodes for each in self._asked if each.at_s > since_s]
            wanted = max(lately, default=nodes)
            assert nodes >= min(wanted, most), f"{nodes}, and {wanted} were wanted of late"
        elif nodes > current and self._up.policies:
            assert nodes <= self._limit(self._up, current, now_s, _grown), "beyond its policies"

    def changed(self, before: int, after: int, now_s: float) -> None:
        """The tier was given so many."""
        if after > before:
            _remember(self._came, At(now_s, after - before), self._up.policies)
        elif after < before:
            _remember(self._went, At(now_s, before - after), self._down.policies)

    def not_changed(self, before: int, after: int, at_s: float) -> None:
        """What was told of by `changed` did not come to be."""
        changes, change = (self._came if after > before else self._went), abs(after - before)
        if At(at_s, change) in changes:
            changes.remove(At(at_s, change))

    # --- the window ----------------------------------------------------------------------

    def _steady(self, current: int, asked: int, now_s: float) -> int:
        """The number nearest to the current one that was asked for all the time."""
        up_s, down_s = now_s - self._up.window_s, now_s - self._down.window_s
        up = min([asked, *(each.nodes for each in self._asked if each.at_s > up_s)])
        down = max([asked, *(each.nodes for each in self._asked if each.at_s > down_s)])
        oldest_s = min(up_s, down_s)
        self._asked = [each for each in self._asked if each.at_s >= oldest_s]
        self._asked.append(At(now_s, asked))
        return min(max(current, up), down)

    # --- the policies --------------------------------------------------------------------

    def _within(self, current: int, wanted: int, now_s: float) -> int:
        if wanted > current:
            return min(wanted, max(current, self._limit(self._up, current, now_s, _grown)))
        if wanted < current:
            return max(wanted, min(current, self._limit(self._down, current, now_s, _shrunk)))
        return wanted

    def _limit(
        self,
        behavior: Behavior,
        current: int,
        now_s: float,
        changed: Callable[[int, Policy], int],
    ) -> int:
        if behavior.select == DISABLED:
            return current
        up = behavior is self._up
        allowed = []
        for policy in behavior.policies:
            since_s = now_s - policy.period_s
            start = current - _sum(self._came, since_s) + _sum(self._went, since_s)
            allowed.append(changed(start, policy))
        furthest, nearest = (max, min) if up else (min, max)
        if not allowed:
            return furthest((0, 1 << 30))
        return (furthest if behavior.select == "max" else nearest)(allowed)


def _remember(changes: list[At], change: At, policies: Iterable[Policy]) -> None:
    """In the place of one that no policy of its own direction looks at any more. (Those of the
    other direction may, and then miss it: so it is in Kubernetes.)"""
    since_s = change.at_s - max((each.period_s for each in policies), default=0.0)
    over = [place for place, each in enumerate(changes) if each.at_s < since_s]
    if over:
        changes[over[-1]] = change
    else:
        changes.append(change)


def _sum(changes: Iterable[At], since_s: float) -> int:
    return sum(each.nodes for each in changes if each.at_s > since_s)


def _grown(start: int, policy: Policy) -> int:
    """Rounded up: else one member would be one for ever."""
    return start + policy.nodes if policy.nodes else ceil(start * (1 + policy.percent / 100))


def _shrunk(start: int, policy: Policy) -> int:
    return start - policy.nodes if policy.nodes else int(start * (1 - policy.percent / 100))
