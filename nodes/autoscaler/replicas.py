"""How many members one metric asks for: Kubernetes' replica calculator, to the letter. Pure.

Values are whole thousandths, as there (a core is 1000). Members that are not ready yet, or of whom
nothing is known, are set against the change: they may make it smaller, never turn it round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import ceil, inf
from typing import Final, NamedTuple

MILLI: Final = 1000

_Ratio = Callable[[Mapping[str, int]], float]
"""What these values come to, against what is wanted."""


class NoReading(Exception):
    """Nothing is known by which to decide."""


class Sample(NamedTuple):
    """What was measured of one member, up to `at_s` and over the time `window_s` before."""

    value: int
    at_s: float = 0.0
    window_s: float = 0.0


class Seen(NamedTuple):
    """A member, as it is known to whoever decides."""

    name: str
    sample: Sample | None = None
    has: int = 0
    """What it has of the resource."""
    leaving: bool = False
    pending: bool = False
    """Not started."""
    ready: bool | None = True
    """None: nobody knows."""
    started_s: float | None = 0.0
    turned_s: float = 0.0
    """When it last became ready, or ceased to be."""


class Rules(NamedTuple):
    """What may be told of how one counts."""

    tolerance_up: float = 0.1
    tolerance_down: float = 0.1
    initial_readiness_s: float = 30.0
    cpu_initialization_s: float = 300.0

    def near(self, ratio: float) -> bool:
        """Whether the change would be too small."""
        return 1.0 - self.tolerance_down <= ratio <= 1.0 + self.tolerance_up


class Asked(NamedTuple):
    """What one metric comes to."""

    nodes: int
    ratio: float
    """Measured against wanted, before anything was corrected."""
    why: str


class _Sorted(NamedTuple):
    ready: int
    unready: list[str]
    missing: list[str]
    values: dict[str, int]
    """Of those that count."""


def by_utilization(
    current: int, target_percent: int, members: Iterable[Seen], rules: Rules, now_s: float
) -> Asked:
    """The average use of a resource that each member has, in percent. Raises NoReading."""
    members = list(members)
    has = {each.name: each.has for each in members}
    full = max(100, target_percent)

    def percent(values: Mapping[str, int]) -> int:
        there = sum(has[name] for name in values)
        if not there:
            raise NoReading("no member has any of it")
        return sum(values.values()) * 100 // there

    def ratio(values: Mapping[str, int]) -> float:
        return percent(values) / target_percent

    found = _sorted(members, rules, now_s, by_cpu=True)
    shown = f"{percent(found.values)}% of {target_percent}%"
    fallback = {name: has[name] * full // 100 for name in found.missing}
    asked = _corrected(current, found, ratio, fallback, rules, shown, at_one=False)
    return _not_turned(current, found, asked)


def by_average(
    current: int, target: int, members: Iterable[Seen], rules: Rules, now_s: float
) -> Asked:
    """The average of a value that members have. Raises NoReading."""

    def average(values: Mapping[str, int]) -> int:
        return sum(values.values()) // len(values)

    found = _sorted(list(members), rules, now_s, by_cpu=False)
    shown = f"{average(found.values) / MILLI:g} of {target / MILLI:g}"
    fallback = dict.fromkeys(found.missing, target)
    asked = _corrected(
        current, found, lambda values: average(values) / target, fallback, rules, shown, at_one=True
    )
    return _not_turned(current, found, asked)


def by_total(current: int, target_each: int, total: int, rules: Rules) -> Asked:
    """A value of the whole, of which each member should have its part."""
    ratio = total / (target_each * current) if current else (inf if total else 0.0)
    nodes = current if rules.near(ratio) else ceil(total / target_each)
    shown = f"{total / MILLI:g} by {target_each / MILLI:g} each"
    return Asked(nodes, ratio, f"{shown} → {nodes}")


def _not_turned(current: int, found: _Sorted, asked: Asked) -> Asked:
    """Whoever is not known makes a change smaller, and no more."""
    if found.missing or found.unready:
        assert asked.ratio <= 1.0 or asked.nodes >= current, asked.why
        assert asked.ratio >= 1.0 or asked.nodes <= current, asked.why
    return asked


def _sorted(members: list[Seen], rules: Rules, now_s: float, *, by_cpu: bool) -> _Sorted:
    if not members:
        raise NoReading("it has no members")
    ready, unready, missing, values = 0, [], [], {}
    for each in members:
        if each.leaving:
            continue
        if each.pending:
            unready.append(each.name)
        elif each.sample is None:
            missing.append(each.name)
        elif by_cpu and _is_unready(each, each.sample, rules, now_s):
            unready.append(each.name)
        else:
            ready += 1
            values[each.name] = each.sample.value
    if not values:
        raise NoReading("nothing is known of any member that is ready")
    return _Sorted(ready, unready, missing, values)


def _is_unready(member: Seen, sample: Sample, rules: Rules, now_s: float) -> bool:
    """A processor that starts is busy with itself: that is no demand."""
    if member.ready is None or member.started_s is None:
        return True
    if member.started_s + rules.cpu_initialization_s > now_s:
        return not member.ready or sample.at_s < member.turned_s + sample.window_s
    return not member.ready and member.started_s + rules.initial_readiness_s > member.turned_s


def _corrected(
    current: int,
    found: _Sorted,
    ratio_of: _Ratio,
    fallback: Mapping[str, int],
    rules: Rules,
    shown: str,
    *,
    at_one: bool,
) -> Asked:
    """The number by the ready members; then by all, where some are unready or missing. `at_one`:
    where all is as wanted, who is missing counts as idle."""
    ratio = ratio_of(found.values)
    assert ratio >= 0.0, f"{shown}: measured below 0"
    with_unready = bool(found.unready) and ratio > 1.0
    if not with_unready and not found.missing:
        if rules.near(ratio):
            return Asked(current, ratio, f"{shown}, near enough")
        nodes = ceil(ratio * found.ready)
        return Asked(nodes, ratio, f"{shown}: ceil({ratio:.4g} * {found.ready}) = {nodes}")
    values = dict(found.values)
    if ratio < 1.0:
        values |= fallback
    elif ratio > 1.0 or at_one:
        values |= dict.fromkeys(found.missing, 0)
    if with_unready:
        values |= dict.fromkeys(found.unready, 0)
    again = ratio_of(values)
    told = f"{shown}, {ratio:.4g}; with {len(values) - found.ready} not known {again:.4g}"
    if rules.near(again):
        return Asked(current, ratio, f"{told}, near enough")
    if (ratio < 1.0 < again) or (again < 1.0 < ratio):
        return Asked(current, ratio, f"{told}, which turns round")
    nodes = ceil(again * len(values))
    if (again < 1.0 and nodes > current) or (again > 1.0 and nodes < current):
        return Asked(current, ratio, f"{told}: {nodes} turns round")
    return Asked(nodes, ratio, f"{told}: ceil({again:.4g} * {len(values)}) = {nodes}")
