"""A queue: what goes in comes out, once, and in order. (Records with offsets are partitions.py's.)

An element that nobody has taken yet is not lost. It is lost when a taker found the queue empty, or
was given something younger, and it never came out. A `drain` takes until it finds nothing. Where
order counts, nobody may find a queue empty that is not, even if what was in it comes out later.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, NamedTuple

from emu.checks.history import FAIL, INFO, NEVER, Operation
from emu.checks.partitions import DRAIN, OPERATIONS, check_partitions
from emu.checks.result import Finding, at, known_at, show, who
from emu.checks.values import freeze

DEQUEUE: Final = "dequeue"
OUT_OF_SEQUENCE: Final = "out_of_sequence"
EMPTY: Final = None
"""What `dequeue` answers when there is nothing."""
MAX_SHOWN: Final = 3


@dataclass(slots=True)
class _Element:
    """Everything that happened to one value."""

    value: Any
    puts: list[Operation] = field(default_factory=list)
    takes: list[Operation] = field(default_factory=list)


def check_queue(
    operations: Sequence[Operation], *, once: bool = True, ordered: bool = True
) -> Iterator[Finding]:
    """Phantoms and losses; duplicates unless they are permitted (`once`); order if `ordered`."""
    yield from _forgotten(operations)
    if any(operation.f in OPERATIONS for operation in operations):
        yield from check_partitions(operations)
        return
    elements: dict[Any, _Element] = {}
    empties = []
    uncertain = 0
    for operation in operations:
        if operation.f == DRAIN:
            uncertain += (operation.outcome == INFO) * len(operations)
            for value in operation.result or () if operation.is_ok else ():
                _element(elements, value).takes.append(operation)
            empties += [operation] if operation.is_ok else []
        elif operation.f != DEQUEUE:
            _element(elements, operation.value).puts.append(operation)
        elif operation.outcome == INFO:
            uncertain += 1
        elif operation.is_ok and operation.result is EMPTY:
            empties.append(operation)
        elif operation.is_ok:
            _element(elements, operation.result).takes.append(operation)
    for element in elements.values():
        yield from _phantom(element)
        if once:
            yield from _duplicate(element)
    lost = list(_lost(elements.values(), empties, ordered))
    if len(lost) > uncertain:  # so many may have gone to a taker whose answer got lost
        yield from lost
    if ordered:
        yield from _reordered(elements.values())
    if ordered and once and not lost:
        yield from _not_empty(list(_stays(elements.values(), uncertain)), empties)


def _forgotten(operations: Sequence[Operation]) -> Iterator[Finding]:
    """Who puts in numbers what it does, and goes on once it is answered: a queue that finds its
    next number out of sequence forgot what it acknowledged, and may take a retry for a new one."""
    for operation in operations:
        if operation.outcome == FAIL and operation.reason == OUT_OF_SEQUENCE:
            numbered = "out of sequence, with the number after those that had been acknowledged"
            yield Finding(f"{who(operation)} was {numbered}", (operation,))


def _element(elements: dict[Any, _Element], value: Any) -> _Element:
    return elements.setdefault(freeze(value), _Element(value))


def _phantom(element: _Element) -> Iterator[Finding]:
    if not element.takes:
        return
    take = min(element.takes, key=lambda each: each.end)
    text = f"{take.process} took {show(element.value)} at {at(take.completed_s)}, "
    if not element.puts:
        yield Finding(f"{text}which nobody put in", (take,))
        return
    if any(each.outcome != FAIL and each.begin < take.end for each in element.puts):
        return
    put = element.puts[0]
    if put.outcome == FAIL:
        yield Finding(f"{text}but {who(put)} did not happen", (put, take))
    else:
        later = f"which {put.process} began to put in only at {at(put.invoked_s)}"
        yield Finding(f"{text}{later}", (take, put))


def _duplicate(element: _Element) -> Iterator[Finding]:
    put_in = sum(put.outcome != FAIL for put in element.puts)
    if element.puts and len(element.takes) > max(put_in, 1):
        first, second = element.takes[0], element.takes[put_in or 1]
        text = (
            f"{show(element.value)} came out {len(element.takes)} times, for {first.process} at "
            f"{at(first.completed_s)} and for {second.process} at {at(second.completed_s)}"
        )
        yield Finding(text, (element.puts[0], first, second))


def _lost(
    elements: Sequence[_Element] | Any, empties: list[Operation], ordered: bool
) -> Iterator[Finding]:
    """Acknowledged, never taken, and somebody was told that there was nothing (so old) in it."""
    last_empty = max(empties, key=lambda each: each.begin, default=None)
    taken = [each for each in elements if each.takes and each.puts]
    youngest = max(taken, key=lambda each: each.puts[0].begin, default=None)
    for element in elements:
        put = next((each for each in element.puts if each.is_ok), None)
        if put is None or element.takes:
            continue
        text = f"{show(element.value)} was lost: its enqueue by {put.process} was {known_at(put)}, "
        if last_empty is not None and last_empty.begin > put.end:
            told = f"and {last_empty.process} found the queue empty at {at(last_empty.completed_s)}"
            yield Finding(text + told, (put, last_empty))
        elif ordered and youngest is not None and youngest.puts[0].begin > put.end:
            take, younger = youngest.takes[0], youngest.puts[0]
            told = f"and {show(youngest.value)}, put in later, came out at {at(take.completed_s)}"
            yield Finding(text + told, (put, younger, take))


def _reordered(elements: Sequence[_Element] | Any) -> Iterator[Finding]:
    """Two elements of which one was put in wholly before the other and came out wholly after it."""
    whole = [each for each in elements if len(each.puts) == 1 and each.takes]
    by_put_end = sorted(whole, key=lambda each: each.puts[0].end)
    latest: _Element | None = None
    place = 0
    for younger in sorted(whole, key=lambda each: each.puts[0].begin):
        while by_put_end[place].puts[0].end < younger.puts[0].begin:
            older = by_put_end[place]
            if latest is None or older.takes[0].begin > latest.takes[0].begin:
                latest = older
            place += 1
        if latest is not None and younger.takes[0].end < latest.takes[0].begin:
            yield _reversal(latest, younger)


class _Stay(NamedTuple):
    """From `begin` to `end` the element was in the queue, in whatever order all happened."""

    begin: int
    end: int
    element: _Element


def _stays(elements: Sequence[_Element] | Any, uncertain: int) -> Iterator[_Stay]:
    for each in elements:
        if len(each.puts) != 1 or not each.puts[0].is_ok or len(each.takes) > 1:
            continue
        begin, end = each.puts[0].end, each.takes[0].begin if each.takes else NEVER
        if begin < end and (each.takes or not uncertain):
            yield _Stay(begin, end, each)


def _not_empty(stays: list[_Stay], empties: list[Operation]) -> Iterator[Finding]:
    """Takers that found nothing, though at no moment of their asking there was nothing."""
    stays.sort(key=lambda each: each.begin)
    begins = [stay.begin for stay in stays]
    longest = list(accumulate(stays, _longer))
    for empty in empties:
        reached, seen = empty.begin, []
        while reached < empty.end:
            place = bisect_left(begins, reached)
            stay = longest[place - 1] if place else None
            if stay is None or stay.end <= reached:
                break
            reached = stay.end
            seen.append(stay.element)
        else:
            yield _found_empty(empty, seen)


def _longer(one: _Stay, other: _Stay) -> _Stay:
    return one if one.end >= other.end else other


def _found_empty(empty: Operation, seen: list[_Element]) -> Finding:
    stays = []
    for element in seen:
        put, take = element.puts[0], next(iter(element.takes), None)
        left = "was never taken" if take is None else f"came out at {at(take.completed_s)}"
        stays.append(f"{show(element.value)}, whose enqueue was {known_at(put)}, {left}")
    text = (
        f"{empty.process} found the queue empty at {at(empty.completed_s)}, and it never was: "
        f"{'; '.join(stays[:MAX_SHOWN])}"
    )
    shown = [each for element in seen[:MAX_SHOWN] for each in (*element.puts, *element.takes)]
    return Finding(text, (empty, *shown))


def _reversal(older: _Element, younger: _Element) -> Finding:
    text = (
        f"{show(older.value)} came out at {at(older.takes[0].completed_s)}, after "
        f"{show(younger.value)} ({at(younger.takes[0].completed_s)}), though its enqueue had been "
        f"{known_at(older.puts[0])}, before the other's was invoked"
    )
    shown = (older.puts[0], younger.puts[0], younger.takes[0], older.takes[0])
    return Finding(text, shown)
