"""How the work of a tier of workers is judged: each record of a topic is done, once, and a key's in
order. What was given up (dead letters) is not lost. Pure.

`work` is one execution of a job, `effects` what the store has of them where the jobs leave traces
there, `standing` how far the group was in the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from nodes.history import Did, Found, Model
from nodes.site.jobs import REPEATED

JOBS: Final = "jobs"
WORK: Final = "work"
EFFECTS: Final = "effects"
STANDING: Final = "standing"
AT_LEAST_ONCE: Final = "at-least-once"
FAIL: Final = "fail"


class Place(NamedTuple):
    """A record. Its time tells it from another that came to its offset when a log was cut."""

    partition: int
    offset: int
    time_ms: int


class Row(NamedTuple):
    """How far a group is in a partition: words.STANDING."""

    partition: int
    start: int
    floor: int
    end: int
    undone: int
    given_up: Sequence[int]

    @property
    def begun(self) -> int:
        """From where on it is known of each record, without asking others, that nobody had done it
        when this was told."""
        given_up = sum(self.floor <= offset < self.end for offset in self.given_up)
        return self.floor if self.undone + given_up == self.end - self.floor else self.end


class Told(NamedTuple):
    """What the operations on one topic amount to."""

    works: dict[Place, list[Did]]
    counts: dict[Place, int]
    """How often each record is known to have had its effect."""
    stored: bool
    """Whether the store says so: then who does not know what came of a job has not done it."""
    begun: dict[int, int]
    """Partition → from where on the records are this run's: when workers first looked, nobody had
    done one of these."""
    rows: Sequence[Row] | None
    """How far the group was at last; None where nobody knows."""
    looked: Did | None
    """By whose word."""


def told(operations: Sequence[Did]) -> Told:
    works: dict[Place, list[Did]] = {}
    looks = [each for each in operations if each.f == STANDING and each.is_ok]
    effects = [each for each in operations if each.f == EFFECTS and each.is_ok]
    begun = {row.partition: row.begun for row in _rows(looks[0])} if looks else {}
    for each in operations:
        if each.f == WORK:
            works.setdefault(Place(*each.value[:3]), []).append(each)
    if effects:  # the store knows best
        counts = {Place(*row[:3]): row[3] for row in effects[-1].result}
    else:
        counts = {place: sum(each.is_ok and each.result != REPEATED for each in mine)
                  for place, mine in works.items()}  # fmt: skip
    counts = {place: number for place, number in counts.items()
              if place.offset >= begun.get(place.partition, 0)}  # fmt: skip
    last = looks[-1] if looks else None
    rows = None if last is None else _rows(last)
    return Told(works, counts, bool(effects), begun, rows, last)


def _rows(look: Did) -> list[Row]:
    return [Row(*each) for each in look.result["partitions"]]


# --- what is wrong -------------------------------------------------------------------------


class Missing(NamedTuple):
    """A record that is over, and that nobody has done."""

    partition: int
    offset: int
    dropped: bool
    """It went by age or to make room, as its topic says."""


def missing(found: Told) -> Iterator[Missing]:
    if found.looked is None:
        return
    maybe = {place[:2]: None for place, count in found.counts.items() if count}
    for place, works in found.works.items():
        if any(each.is_ok or (each.outcome != FAIL and not found.stored) for each in works):
            maybe[place[:2]] = None
    drops = bool(found.looked.result["drops"])
    for row in found.rows or ():
        if row.undone:
            continue  # the run ended before all was worked off: nothing can be told
        over = dict.fromkeys(row.given_up)
        for offset in range(found.begun.get(row.partition, 0), row.end):
            if (row.partition, offset) not in maybe and offset not in over:
                yield Missing(row.partition, offset, drops and offset < row.start)


def lost(operations: Sequence[Did]) -> Iterator[Found]:
    """Records that the group says are over, and that nobody has done."""
    found = told(operations)
    for each in missing(found):
        if not each.dropped:
            text = f"partition {each.partition} offset {each.offset} was lost: nobody did that job"
            yield Found(text, (found.looked,))


def duplicated(operations: Sequence[Did]) -> Iterator[Found]:
    """Records whose effect is there more than once."""
    found = told(operations)
    for place, count in sorted(found.counts.items()):
        if count > 1:
            works = found.works.get(place, [])
            who = " and ".join(dict.fromkeys(str(each.process) for each in works)) or "workers"
            text = f"partition {place.partition} offset {place.offset} was done {count} times"
            yield Found(f"{text}, by {who}", works)


def reordered(operations: Sequence[Did]) -> Iterator[Found]:
    """Jobs of one key of which a later one was done before an earlier one had been."""
    last: dict[tuple[int, str], tuple[int, Did]] = {}
    done = {place: min((each for each in works if each.is_ok), key=lambda each: each.end)
            for place, works in told(operations).works.items()
            if any(each.is_ok for each in works)}  # fmt: skip
    for place, first in sorted(done.items(), key=lambda item: item[1].end):
        key = first.value[3]
        if key is None:
            continue
        where = (place.partition, str(key))
        before = last.get(where)
        if before is not None and before[0] > place.offset:
            later = before[1]
            text = f"offset {place.offset} of key {str(key)[:40]!r} was done after {before[0]}"
            yield Found(f"partition {place.partition}: {text}", (later, first))
        else:
            last[where] = (place.offset, first)


def at_least_once(operations: Sequence[Did]) -> Iterator[Found]:
    """All is done; in order, where the topic is ordered."""
    yield from lost(operations)
    looked = told(operations).looked
    if looked is not None and looked.result["ordered"]:
        yield from reordered(operations)


def once(operations: Sequence[Did]) -> Iterator[Found]:
    yield from at_least_once(operations)
    yield from duplicated(operations)


def count(operations: Sequence[Did]) -> Mapping[str, int | None]:
    """For the run's summary, whether or not it may be; None where nobody can tell."""
    found = told(operations)
    worked_off = found.rows is not None and not any(row.undone for row in found.rows)
    return {
        "lost_jobs": sum(1 for _ in missing(found)) if worked_off else None,
        "duplicated_jobs": sum(number - 1 for number in found.counts.values() if number > 1),
        "reordered_jobs": sum(1 for _ in reordered(operations)),
        "given_up_jobs": None
        if found.rows is None
        else sum(len(row.given_up) for row in found.rows),
    }


def _given_up(found: Told) -> Iterator[int]:
    """In each partition, of the run's own records."""
    for row in found.rows or ():
        yield sum(offset >= found.begun.get(row.partition, 0) for offset in row.given_up)


MODEL: Final = Model(
    once,
    operations=(WORK, EFFECTS, STANDING),
    weaker={AT_LEAST_ONCE: at_least_once},
    count=count,
)
