"""What one client may expect of replicas that lag: its own writes, and time that never runs back.

A process is a session. The order of two writes is known only where one ended before the other
began (or from the longest read of a list), so what is found here is certain; what is not may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from emu.checks.history import Operation
from emu.checks.result import Finding, at, known_at, show
from emu.checks.values import freeze

READS: Final = ("read", "get")
WRITES: Final = ("write", "set")
GROWING: Final = ("append", "add")

Older = Callable[[Operation, Operation], bool]
"""(a, b) → whether `a` read a state that is certainly older than the one `b` read or made."""


def check_read_your_writes(operations: Sequence[Operation]) -> Iterator[Finding]:
    """No process reads a state from before its own last acknowledged write."""
    older = _order(operations)
    last_write: dict[str | int, Operation] = {}
    for operation in _in_session_order(operations):
        if operation.f not in READS:
            last_write[operation.process] = operation
            continue
        write = last_write.get(operation.process)
        if write is not None and older(operation, write):
            text = (
                f"{operation.process} read {show(operation.result)} at "
                f"{at(operation.completed_s)}, without its own {write.f} {show(write.value)} "
                f"that had been {known_at(write)}"
            )
            yield Finding(text, (write, operation))


def check_monotonic_reads(operations: Sequence[Operation]) -> Iterator[Finding]:
    """No process reads an older state than it has read before."""
    older = _order(operations)
    last_read: dict[str | int, Operation] = {}
    for operation in _in_session_order(operations):
        if operation.f not in READS:
            continue
        before = last_read.get(operation.process)
        if before is not None and older(operation, before):
            text = (
                f"{operation.process} read {show(operation.result)} at "
                f"{at(operation.completed_s)}, older than {show(before.result)} "
                f"that it had read at {at(before.completed_s)}"
            )
            yield Finding(text, (before, operation))
        else:
            last_read[operation.process] = operation


def check_monotonic_writes(operations: Sequence[Operation]) -> Iterator[Finding]:
    """A list shows the appends of one process in the order in which it made them."""
    lists = [each for each in operations if each.f in READS and isinstance(each.result, list)]
    longest = max(lists, key=lambda each: len(each.result), default=None)
    if longest is None:
        return
    place = {freeze(element): number for number, element in enumerate(longest.result)}
    last: dict[str | int, Operation] = {}
    for operation in _in_session_order(operations):
        if operation.f != "append" or freeze(operation.value) not in place:
            continue
        before = last.get(operation.process)
        if before is not None and place[freeze(before.value)] > place[freeze(operation.value)]:
            text = (
                f"{operation.process} appended {show(before.value)} before "
                f"{show(operation.value)}, but {longest.process} read them the other way round "
                f"at {at(longest.completed_s)}"
            )
            yield Finding(text, (before, operation, longest))
        last[operation.process] = operation


def check_session(operations: Sequence[Operation]) -> Iterator[Finding]:
    """All session guarantees."""
    yield from check_read_your_writes(operations)
    yield from check_monotonic_reads(operations)
    yield from check_monotonic_writes(operations)


def _in_session_order(operations: Sequence[Operation]) -> list[Operation]:
    """What was acknowledged, as each process saw it."""
    return sorted((each for each in operations if each.is_ok), key=lambda each: each.begin)


def _order(operations: Sequence[Operation]) -> Older:
    """How to compare states: lists by what they hold, sets likewise, registers by their writes."""
    if any(each.f in GROWING for each in operations):
        return lambda a, b: not _holds(b) <= _holds(a)
    writes = {freeze(each.value): each for each in operations if each.f in WRITES}
    emptied = None in writes or any(each.f == "delete" for each in operations)

    def older(a: Operation, b: Operation) -> bool:
        ours = b if b.f not in READS else writes.get(freeze(b.result))
        shown = freeze(a.result)
        theirs = writes.get(shown)
        if ours is None or theirs is ours:
            return False
        if theirs is None:
            return shown is None and not emptied
        return theirs.end < ours.begin

    return older


def _holds(operation: Operation) -> frozenset[Any]:
    """The elements of a read, or the one that was added."""
    if operation.f in READS:
        return frozenset(freeze(each) for each in operation.result or [])
    return frozenset((freeze(operation.value),))
