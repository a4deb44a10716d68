"""What an expression comes to at a time: Prometheus' own arithmetic. Pure.

Extrapolation, stale series, buckets and matching are as in Prometheus 2.42, which tests ask the
same questions.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final

from emu.alerts.language import Aggregate, Binary, Call, Expression, Labels, Number, Select
from emu.alerts.series import Store

Vector = dict[Labels, float]
Pair = tuple[Labels, float, float]
"""The labels of what comes of it, and both sides' values."""

COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
    ">": operator.gt, "<": operator.lt,
}  # fmt: skip
NEAR: Final = 1.1
"""A series that begins (or ends) within so many of its intervals from the edge of a range is taken
to go on to it."""


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    return math.nan if not left or math.isnan(left) else math.copysign(math.inf, left)


def _modulo(left: float, right: float) -> float:
    return math.fmod(left, right) if right and math.isfinite(left) else math.nan


ARITHMETIC: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": _divide, "%": _modulo,
}  # fmt: skip
AGGREGATED: Final[Mapping[str, Callable[[list[float]], float]]] = {
    "sum": sum, "max": max, "min": min, "count": lambda values: float(len(values)),
    "avg": lambda values: sum(values) / len(values),
}  # fmt: skip


def evaluate(tree: Expression, store: Store, now_s: float) -> Vector | float:
    """A number, or the series that are there. Raises ValueError where series do not match."""
    match tree:
        case Number():
            return tree.value
        case Select():
            return dict(store.latest(tree, now_s))
        case Call():
            return _call(tree, store, now_s)
        case Aggregate():
            return _aggregate(tree, vector(tree.over, store, now_s))
        case Binary():
            left, right = (evaluate(each, store, now_s) for each in (tree.left, tree.right))
            return _binary(tree, left, right)


def vector(tree: Expression, store: Store, now_s: float) -> Vector:
    """The same of what must be series. Raises ValueError."""
    found = evaluate(tree, store, now_s)
    if isinstance(found, float):
        raise ValueError(f"{found:g} is a number, where series are needed")
    return found


def _call(call: Call, store: Store, now_s: float) -> Vector:
    last = call.arguments[-1]
    if call.function == "histogram_quantile":
        fraction = call.arguments[0]
        assert isinstance(fraction, Number)
        return _quantiles(fraction.value, vector(last, store, now_s))
    assert isinstance(last, Select)
    found = {}
    for labels, samples in store.over(last, now_s):
        if len(samples) > 1:
            until_s = now_s - last.offset_s
            grown = increase(samples, until_s - last.range_s, until_s)
            found[labels] = grown / last.range_s if call.function == "rate" else grown
    return found


def increase(samples: list[tuple[float, float]], since_s: float, now_s: float) -> float:
    """How much a counter grew between two times, of which it has some samples; it may have begun
    again from 0."""
    (first_s, first), (last_s, last) = samples[0], samples[-1]
    grown = last - first
    grown += sum(before for (_, before), (_, after) in pairwise(samples) if after < before)
    sampled_s = last_s - first_s
    apart_s = sampled_s / (len(samples) - 1)
    before_s, after_s = first_s - since_s, now_s - last_s
    if grown > 0 and first >= 0:  # it was not below 0 before
        before_s = min(before_s, sampled_s * (first / grown))
    covered_s = sampled_s
    for gap_s in (before_s, after_s):
        covered_s += gap_s if gap_s < apart_s * NEAR else apart_s / 2
    return grown * (covered_s / sampled_s)


def _aggregate(tree: Aggregate, found: Vector) -> Vector:
    groups: dict[Labels, list[float]] = {}
    for labels, value in found.items():
        groups.setdefault(_only(labels, tree.by), []).append(value)
    return {labels: AGGREGATED[tree.operation](values) for labels, values in groups.items()}


def _only(labels: Labels, names: tuple[str, ...]) -> Labels:
    return tuple(each for each in labels if each[0] in names)


# --- two sides -------------------------------------------------------------------------------


def _binary(tree: Binary, left: Vector | float, right: Vector | float) -> Vector | float:
    if tree.operator == "and":
        if isinstance(left, float) or isinstance(right, float):
            raise ValueError("`and` is of series on both sides")
        there = {_key(labels, tree.on): None for labels in right}
        return {each: value for each, value in left.items() if _key(each, tree.on) in there}
    if isinstance(left, float) and isinstance(right, float):
        return ARITHMETIC[tree.operator](left, right)
    return _compute(tree.operator, list(_pairs(tree, left, right)), isinstance(left, float))


def _key(labels: Labels, on: tuple[str, ...] | None) -> Labels:
    return labels if on is None else _only(labels, on)


def _pairs(tree: Binary, left: Vector | float, right: Vector | float) -> list[Pair]:
    if isinstance(right, float):
        assert isinstance(left, dict)
        return [(labels, value, right) for labels, value in left.items()]
    if isinstance(left, float):
        return [(labels, left, value) for labels, value in right.items()]
    others = _unique(right, tree.on)
    return [
        (key if tree.on is not None else labels, value, others[key][1])
        for key, (labels, value) in _unique(left, tree.on).items()
        if key in others
    ]


def _unique(side: Vector, on: tuple[str, ...] | None) -> dict[Labels, tuple[Labels, float]]:
    found: dict[Labels, tuple[Labels, float]] = {}
    for labels, value in side.items():
        key = _key(labels, on)
        if key in found:
            raise ValueError(f"two series are alike in {dict(key)}: one side must have one each")
        found[key] = labels, value
    return found


def _compute(sign: str, pairs: list[Pair], swapped: bool) -> Vector:
    """`swapped`: the left side is a number; what a comparison keeps is the right one's value."""
    holds = COMPARISONS.get(sign)
    if holds is None:
        count = ARITHMETIC[sign]
        return {labels: count(first, second) for labels, first, second in pairs}
    return {
        labels: second if swapped else first
        for labels, first, second in pairs
        if holds(first, second)
    }


# --- histograms ------------------------------------------------------------------------------


def _quantiles(fraction: float, buckets: Vector) -> Vector:
    histograms: dict[Labels, list[tuple[float, float]]] = {}
    for labels, count in buckets.items():
        bound = dict(labels).get("le")
        if bound is not None:
            rest = tuple(each for each in labels if each[0] != "le")
            histograms.setdefault(rest, []).append((float(bound), count))
    return {labels: quantile(fraction, found) for labels, found in histograms.items()}


def quantile(fraction: float, buckets: list[tuple[float, float]]) -> float:
    """Of cumulative buckets (upper bound, count), as straight lines between their bounds; NaN if
    nothing was observed, or not all of it is there."""
    buckets = sorted(buckets)
    if len(buckets) < 2 or buckets[-1][0] != math.inf:
        return math.nan
    counts: list[float] = []
    for _, count in buckets:  # a scrape may have caught some buckets earlier than others
        counts.append(max(count, counts[-1]) if counts else count)
    if not counts[-1]:
        return math.nan
    rank = fraction * counts[-1]
    place = next((i for i, count in enumerate(counts[:-1]) if count >= rank), len(counts) - 1)
    if place == len(counts) - 1:
        return buckets[-2][0]
    low, below = (buckets[place - 1][0], counts[place - 1]) if place else (0.0, 0.0)
    high = buckets[place][0]
    if not place and high <= 0:
        return high
    return low + (high - low) * _divide(rank - below, counts[place] - below)
