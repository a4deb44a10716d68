"""A rate that changes while it runs: steps, days and flash crowds. Pure.

`at` gives the rate at a time since the load began, `after` the time at which so many more arrivals
are due: with 1 each they come evenly, with exponential shares they are a Poisson process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, exp, inf, pi
from typing import ClassVar, Final, Literal, Protocol

PIECE_S: Final = 0.05
"""A curve is taken for straight over so long."""
FALL_TIMES: Final = 10.0
"""After so many fall times a flash crowd has gone home."""
MAX_STEPS: Final = 1000


class Rate(Protocol):
    """So many a second, at each time since the beginning."""

    def at(self, since_s: float) -> float: ...
    def after(self, since_s: float, arrivals: float) -> float:
        """When so many more are due; infinite where they never are."""
        ...

    @property
    def peak_per_s(self) -> float: ...
    @property
    def least_per_s(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same."""

    per_s: float

    def at(self, since_s: float) -> float:
        return self.per_s

    def after(self, since_s: float, arrivals: float) -> float:
        return since_s + arrivals / self.per_s if self.per_s > 0 else inf

    @property
    def peak_per_s(self) -> float:
        return self.per_s

    @property
    def least_per_s(self) -> float:
        return self.per_s


@dataclass(frozen=True, slots=True)
class Share:
    """A part of another rate."""

    of: Rate
    ratio: float

    def at(self, since_s: float) -> float:
        return self.of.at(since_s) * self.ratio

    def after(self, since_s: float, arrivals: float) -> float:
        return self.of.after(since_s, arrivals / self.ratio)

    @property
    def peak_per_s(self) -> float:
        return self.of.peak_per_s * self.ratio

    @property
    def least_per_s(self) -> float:
        return self.of.least_per_s * self.ratio


@dataclass(frozen=True, slots=True)
class Step:
    """From a time on, so many: `[30s, 400/s]`."""

    IN_ORDER: ClassVar = True
    at_s: float
    """Since the load began."""
    rate_per_s: float
    """So many from then on, until the next step."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A rate that goes between two: as days do, or as when a page is talked about."""

    shape: Literal["diurnal", "flash_crowd"]
    """diurnal: up and down again in each `every`, from `low` on. flash_crowd: `low` until `at`,
    then within `rise` up to `high`, and away again, by two thirds in each `fall`."""
    low_per_s: float
    """The least: `low: 20/s`."""
    high_per_s: float
    """The most: `high: 400/s`."""
    every_s: float = 86400.0
    """The length of a day."""
    at_s: float = 0.0
    """When the crowd comes."""
    rise_s: float = 5.0
    """How long until all of it is there."""
    fall_s: float = 30.0
    """How long until two thirds of it have left."""

    def __post_init__(self) -> None:
        if self.low_per_s > self.high_per_s or self.high_per_s <= 0:
            raise ValueError("`low` must not be above `high`, which must be above 0")
        if self.every_s <= 0 or self.fall_s <= 0:
            raise ValueError("`every` and `fall` must be above 0")

    def at(self, since_s: float) -> float:
        return self.low_per_s + (self.high_per_s - self.low_per_s) * self._part(since_s)

    def _part(self, since_s: float) -> float:
        if self.shape == "diurnal":
            return (1.0 - cos(2.0 * pi * since_s / self.every_s)) / 2.0
        there_s = since_s - self.at_s
        if there_s < 0.0:
            return 0.0
        return there_s / self.rise_s if there_s < self.rise_s else self._left(there_s - self.rise_s)

    def _left(self, falling_s: float) -> float:
        fallen = falling_s / self.fall_s
        return exp(-fallen) if fallen < FALL_TIMES else 0.0

    def _pieces(self, since_s: float) -> Iterator[tuple[float, float]]:
        """(end of a piece, its rate), for ever."""
        at_s = since_s
        while True:
            yield at_s + PIECE_S, self.at(at_s + PIECE_S / 2)
            if self.low_per_s <= 0 and self._is_over(at_s):
                yield inf, 0.0
            at_s += PIECE_S

    def _is_over(self, at_s: float) -> bool:
        gone_s = self.at_s + self.rise_s + FALL_TIMES * self.fall_s
        return self.shape == "flash_crowd" and at_s > gone_s

    def after(self, since_s: float, arrivals: float) -> float:
        return _after(since_s, arrivals, self._pieces(since_s))

    @property
    def peak_per_s(self) -> float:
        return self.high_per_s

    @property
    def least_per_s(self) -> float:
        return self.low_per_s


class Steps:
    """A rate for each stretch of time; none before the first."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self._steps = steps

    def at(self, since_s: float) -> float:
        return next((each.rate_per_s for each in reversed(self._steps) if each.at_s <= since_s), 0)

    def after(self, since_s: float, arrivals: float) -> float:
        return _after(since_s, arrivals, self._pieces(since_s))

    def _pieces(self, since_s: float) -> Iterator[tuple[float, float]]:
        rate_per_s = self.at(since_s)
        for each in self._steps:
            if each.at_s > since_s:
                yield each.at_s, rate_per_s
                rate_per_s = each.rate_per_s
        yield inf, rate_per_s

    @property
    def peak_per_s(self) -> float:
        return max(each.rate_per_s for each in self._steps)

    @property
    def least_per_s(self) -> float:
        return min(each.rate_per_s for each in self._steps)


def _after(since_s: float, arrivals: float, pieces: Iterator[tuple[float, float]]) -> float:
    for end_s, rate_per_s in pieces:
        fit = (end_s - since_s) * rate_per_s if rate_per_s > 0 else 0.0
        if arrivals <= fit:
            return since_s + arrivals / rate_per_s
        arrivals -= fit
        if end_s == inf:
            break
        since_s = end_s
    return inf


def rate_of(rate: float | tuple[Step, ...] | Curve) -> Rate:
    """What a topology says of a rate, as one that can be asked. Raises ValueError."""
    if isinstance(rate, Curve):
        return rate
    if not isinstance(rate, tuple):
        return Constant(rate)
    if not 0 < len(rate) <= MAX_STEPS:
        raise ValueError(f"`rate` has 1 to {MAX_STEPS} steps")
    times = [each.at_s for each in rate]
    if times != sorted(times):
        raise ValueError("the steps of a `rate` must follow each other in time")
    return Steps(rate)
