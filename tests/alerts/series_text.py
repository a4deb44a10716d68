"""promtool's series, `0+100x120`, `1x9 stale _x18`, as samples in time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from emu.alerts.language import Labels, parse
from emu.alerts.states import Alerts

STALE = "stale"
Values = list[float | str | None]


def values(text: str) -> Values:
    """None: nothing was scraped; STALE: the series has ended."""
    return [value for word in text.split() for value in _word(word)]


def _word(word: str) -> Iterator[float | str | None]:
    if word == STALE:
        yield STALE
    elif word.startswith("_"):
        yield from [None] * int(word[2:] or 1)
    else:
        found = re.fullmatch(r"(-?[\d.]+)(?:([+-])([\d.]+))?(?:x(\d+))?", word)
        assert found is not None, word
        step = float(f"{found[2]}{found[3]}") if found[2] else 0.0
        yield from (float(found[1]) + step * turn for turn in range(int(found[4] or 0) + 1))


def series(text: str) -> tuple[str, Labels]:
    found: Any = parse(text)
    return found.metric, tuple(sorted((each.label, each.value) for each in found.matchers))


def feed(alerts: Alerts, given: Mapping[str, Values], turn: int) -> None:
    """What there is at that second."""
    for text, points in given.items():
        point = points[turn] if turn < len(points) else None
        metric, labels = series(text)
        if isinstance(point, float):
            alerts.store.scraped(text, float(turn), [(metric, labels, point)])
        elif point == STALE:
            alerts.store.scraped(text, float(turn), [])
