"""A set that is added to and read whole: nothing acknowledged may be gone, nothing else may appear.

An element is judged by the last read: one that is missing for a while and comes back was late, not
lost. (For a set that must never show an old state, see emu/checks/sessions.py.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from emu.checks.history import FAIL, Operation
from emu.checks.result import Finding, at, known_at, show, who
from emu.checks.values import freeze

READ: Final = "read"


def check_set(operations: Sequence[Operation]) -> Iterator[Finding]:
    """Lost, never added, duplicated."""
    adds: dict[Any, list[Operation]] = {}
    reads: list[Operation] = []
    for operation in operations:
        if operation.f == READ:
            if operation.is_ok:
                reads.append(operation)
        else:
            adds.setdefault(freeze(operation.value), []).append(operation)
    if not reads:
        return
    reads.sort(key=lambda read: read.end)
    for read in reads:
        yield from _strangers(read, adds)
    last = max(reads, key=lambda read: read.begin)
    present = set(_elements(last))
    yield from _lost(last, present, adds)
    yield from _vanished(reads, last, present, adds)


def _elements(read: Operation) -> list[Any]:
    return [freeze(each) for each in read.result or []]


def _strangers(read: Operation, adds: dict[Any, list[Operation]]) -> Iterator[Finding]:
    """Elements that this read should not show, or not twice."""
    text = f"read by {read.process} at {at(read.completed_s)} shows "
    seen: set[Any] = set()
    for element in _elements(read):
        sources = adds.get(element, [])
        if element in seen and len(sources) < 2:
            yield Finding(f"{text}{show(element)} twice: it was duplicated", (*sources, read))
        seen.add(element)
        before = [each for each in sources if each.begin < read.end and each.outcome != FAIL]
        if before:
            continue
        if not sources:
            yield Finding(f"{text}{show(element)}, which nobody added", (read,))
        elif sources[0].outcome == FAIL:
            why = f"but {who(sources[0])} did not happen"
            yield Finding(f"{text}{show(element)}, {why}", (sources[0], read))
        else:
            later = f"which {sources[0].process} began to add only at {at(sources[0].invoked_s)}"
            yield Finding(f"{text}{show(element)}, {later}", (read, sources[0]))


def _lost(
    last: Operation, present: set[Any], adds: dict[Any, list[Operation]]
) -> Iterator[Finding]:
    for element, sources in adds.items():
        done = [each for each in sources if each.is_ok and each.end < last.begin]
        if done and element not in present:
            text = (
                f"{show(element)} was lost: its add by {done[0].process} was {known_at(done[0])}, "
                f"and the last read, by {last.process} at {at(last.completed_s)}, lacks it"
            )
            yield Finding(text, (done[0], last))


def _vanished(
    reads: list[Operation], last: Operation, present: set[Any], adds: dict[Any, list[Operation]]
) -> Iterator[Finding]:
    """Elements that nobody acknowledged, but that a read has shown: those are there to stay."""
    gone: set[Any] = set()
    for read in reads:
        if read.end > last.begin:
            return
        for element in _elements(read):
            sources = adds.get(element, [])
            told = any(each.is_ok and each.end < last.begin for each in sources)
            if element in present or element in gone or told or not sources:
                continue
            gone.add(element)
            text = (
                f"{show(element)} vanished: {read.process} had read it at {at(read.completed_s)}, "
                f"and the last read, by {last.process} at {at(last.completed_s)}, lacks it"
            )
            yield Finding(text, (read, last))
