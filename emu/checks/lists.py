"""Linearizability of a list that is appended to and read whole.

The longest read tells the order of the appends, so every operation has its slot in the only order
there can be; then no operation may have ended before one of an earlier slot began. O(n log n) in
the size of all reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from emu.checks.history import FAIL, Operation
from emu.checks.result import Finding, at, known_at, show, what, who
from emu.checks.search import ILLEGAL, MAX_STEPS, Effect, linearize
from emu.checks.values import freeze

READ: Final = "read"


class _Read(NamedTuple):
    operation: Operation
    seen: tuple[Any, ...]


def check_list(operations: Sequence[Operation], *, max_steps: int = MAX_STEPS) -> Iterator[Finding]:
    """One list. Raises Undecided (only where an element was appended twice)."""
    appends: dict[Any, Operation] = {}
    for operation in operations:
        if operation.f != READ:
            element = freeze(operation.value)
            if element in appends:
                yield from _search(operations, max_steps)
                return
            appends[element] = operation
    reads = [_Read(each, freeze(each.result or [])) for each in operations if _has_seen(each)]
    strange = [finding for read in reads for finding in _strangers(read, appends)]
    if strange:
        yield from strange
        return
    reads.sort(key=lambda read: len(read.seen))
    apart = next((pair for pair in pairwise(reads) if _differ(*pair)), None)
    if apart is not None:
        yield _disagreement(*apart)
        return
    yield from _out_of_order(reads, appends)


def _has_seen(operation: Operation) -> bool:
    return operation.f == READ and operation.is_ok


def _strangers(read: _Read, appends: dict[Any, Operation]) -> Iterator[Finding]:
    """Elements that this read should not have seen, whatever the others saw."""
    text = f"read by {read.operation.process} at {at(read.operation.completed_s)} shows "
    if len(set(read.seen)) < len(read.seen):
        twice = next(each for place, each in enumerate(read.seen) if each in read.seen[:place])
        source = appends.get(twice)
        shown = (read.operation,) if source is None else (source, read.operation)
        yield Finding(f"{text}{show(twice)} twice, though it was appended once", shown)
    for element in read.seen:
        source = appends.get(element)
        if source is None:
            yield Finding(f"{text}{show(element)}, which nobody appended", (read.operation,))
        elif source.outcome == FAIL:
            yield Finding(f"{text}{show(element)}, but {who(source)} did not happen",
                          (source, read.operation))  # fmt: skip
        elif source.begin > read.operation.end:
            later = f"{show(element)}, which {source.process} began to append only at "
            yield Finding(f"{text}{later}{at(source.invoked_s)}", (read.operation, source))


def _differ(shorter: _Read, longer: _Read) -> bool:
    return longer.seen[: len(shorter.seen)] != shorter.seen


def _disagreement(one: _Read, other: _Read) -> Finding:
    place = next(
        place for place, pair in enumerate(zip(one.seen, other.seen, strict=False))
        if pair[0] != pair[1]
    )  # fmt: skip
    text = (
        f"two reads disagree about element {place}: {_saw(one, place)}, {_saw(other, place)}; "
        f"so the list was not only appended to"
    )
    return Finding(text, (one.operation, other.operation))


def _saw(read: _Read, place: int) -> str:
    operation = read.operation
    return f"{show(read.seen[place])} for {operation.process} at {at(operation.completed_s)}"


def _out_of_order(reads: list[_Read], appends: dict[Any, Operation]) -> Iterator[Finding]:
    """Go through the slots in order: reads of length 0, append 0, reads of length 1, ..."""
    order = reads[-1].seen if reads else ()
    slots: list[Operation] = []
    place = 0
    for read in reads:
        slots += [appends[element] for element in order[place : len(read.seen)]]
        place = len(read.seen)
        slots.append(read.operation)
    in_order = set(order)
    unseen = [each for element, each in appends.items() if element not in in_order and each.is_ok]
    slots += sorted(unseen, key=lambda each: each.begin)
    latest = None
    for operation in slots:
        if latest is not None and operation.end < latest.begin:
            yield _reversal(operation, latest, in_order)
            return
        if latest is None or operation.begin > latest.begin:
            latest = operation


def _reversal(early: Operation, late: Operation, seen: set[Any]) -> Finding:
    """`early` ended before `late` began, and yet takes effect after it."""
    if late.f == READ:
        length = len(late.result or [])
        text = f"read by {late.process} at {at(late.completed_s)} shows {length} elements, "
        if early.f == READ:
            text += f"but {early.process} had already read {len(early.result)} "
            text += f"at {at(early.completed_s)}"
        else:
            text += f"without {show(early.value)}, which had been {known_at(early)}"
    elif freeze(early.value) in seen:
        text = (
            f"{show(early.value)} comes after {show(late.value)} in the list, though {what(early)} "
            f"had been {known_at(early)}, before {who(late)} was invoked at {at(late.invoked_s)}"
        )
    else:
        text = (
            f"{show(early.value)} is missing, though {what(early)} had been {known_at(early)}, "
            f"before {who(late)} was invoked at {at(late.invoked_s)}, which can be seen"
        )
    return Finding(text, (early, late))


# --- elements that were appended more than once ------------------------------------------------


def _search(operations: Sequence[Operation], max_steps: int) -> Iterator[Finding]:
    stuck = linearize(operations, list_effect, (), max_steps=max_steps)
    if stuck is not None:
        read = stuck.operation
        possible = " or ".join(show(state) for state, _ in stuck.states)
        text = f"read by {read.process} at {at(read.completed_s)} shows {show(read.result)}, "
        yield Finding(f"{text}but in every order that fits all else it was {possible}", (read,))


def list_effect(operation: Operation) -> Effect | None:
    """What an operation does to a list that is a tuple (emu.checks.search.Model)."""
    if operation.f != READ:
        element = freeze(operation.value)
        return Effect(lambda state: (*state, element))
    if not operation.is_ok:
        return None
    seen = freeze(operation.result or [])
    return Effect(lambda state: state if state == seen else ILLEGAL, pure=True)
