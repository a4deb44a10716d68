"""How what a cache answered is judged against the database's history. Pure.

Each write gives a key its next version, and says whether the deletes after it were confirmed by all
who may have an old one. A read says which version it got, and what it had been promised: the oldest
that a value may be, and whether what was deleted before it began may show.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from nodes.history import Did, Found, Model

CACHED: Final = "cached"
READ: Final = "read"
WRITE: Final = "write"
FAIL: Final = "fail"
ROUNDING_S: Final = 0.01
"""Of times that were told in milliseconds."""


class _Floor:
    """The newest version of writes that were over by a moment, which is a place or a time."""

    def __init__(self, ends: Sequence[tuple[float, int, Did]]) -> None:
        ordered = sorted(ends, key=lambda each: each[0])
        self._moments = [moment for moment, _, _ in ordered]
        newest = accumulate(((version, did) for _, version, did in ordered), _newer)
        self._newest = list(newest)

    def before(self, moment: float) -> tuple[int, Did | None]:
        place = bisect_left(self._moments, moment)
        return self._newest[place - 1] if place else (0, None)


def _newer(one: tuple[int, Did], other: tuple[int, Did]) -> tuple[int, Did]:
    return max(one, other, key=lambda each: each[0])


def never_older_than_promised(operations: Sequence[Did]) -> Iterator[Found]:
    """Of one key."""
    writes = [each for each in operations if each.f == WRITE and each.is_ok]
    confirmed = _Floor([(each.end, each.result[0], each) for each in writes if each.result[1]])
    committed = _Floor([(each.completed_s or 0.0, each.result[0], each) for each in writes])
    begun = sorted(each.begin for each in operations if each.f == WRITE and each.outcome != FAIL)
    for read in operations:
        if read.f != READ or not read.is_ok:
            continue
        max_age_s, is_strict = read.value
        version = read.result
        most = bisect_left(begun, read.end)
        if version > most:
            text = f"{read.process} read version {version}, but only {most} writes had begun"
            yield Found(text, (read,))
        floor, write = confirmed.before(read.begin)
        if is_strict and version < floor:
            text = f"{read.process} read version {version}: its delete for {floor} was confirmed"
            yield Found(f"{text} before that read began", (write, read))
        floor, write = committed.before(read.invoked_s - max_age_s - ROUNDING_S)
        if version < floor and write is not None:
            age_s = read.invoked_s - (write.completed_s or 0.0)
            text = f"{read.process} read version {version}, {age_s:.3f} s after {floor} was there"
            yield Found(f"{text}: no older than {max_age_s:g} s was promised", (write, read))


def count(operations: Sequence[Did]) -> dict[str, int | None]:
    """For the run's summary: how many reads got what was deleted before they began."""
    writes = [each for each in operations if each.f == WRITE and each.is_ok]
    confirmed = _Floor([(each.end, each.result[0], each) for each in writes if each.result[1]])
    reads: list[Any] = [each for each in operations if each.f == READ and each.is_ok]
    return {"stale_reads": sum(each.result < confirmed.before(each.begin)[0] for each in reads)}


MODEL: Final = Model(never_older_than_promised, operations=(READ, WRITE), count=count)
