"""What one client may expect of replicas that lag: its own writes, and time that never runs back.

A process is a session. The order of two changes is known only where one ended before the other
began (or from the longest read of a list), so what is found here is certain; what is not may be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from emu.checks.history import FAIL, Operation
from emu.checks.result import Finding, at, known_at, show
from emu.checks.values import freeze

READS: Final = ("read", "get")
WRITES: Final = ("write", "set")
GROWING: Final = ("append", "add")
NOTHING: Final = object()
ANYTHING: Final = object()

Older = Callable[[Operation, Operation], bool]
"""(a, b) → whether `a` read a state that is certainly older than the one `b` read or made."""


def check_read_your_writes(operations: Sequence[Operation]) -> Iterator[Finding]:
    """No process reads a state from before its own last acknowledged write; of what only grows,
    from before any of them."""
    lacks = _first_lacking if _only_grows(operations) else _last_if(_order(operations))
    writes: dict[str | int, list[Operation]] = {}
    for operation in _in_session_order(operations):
        if operation.f not in READS:
            if _made(operation) is not NOTHING:
                writes.setdefault(operation.process, []).append(operation)
            continue
        write = lacks(operation, writes.get(operation.process, []))
        if write is not None:
            text = (
                f"{operation.process} read {show(operation.result)} at "
                f"{at(operation.completed_s)}, without its own {write.f} {show(write.value)} "
                f"that had been {known_at(write)}"
            )
            yield Finding(text, (write, operation))


def _first_lacking(read: Operation, writes: Sequence[Operation]) -> Operation | None:
    """The first of these whose element the read has not."""
    there = _holds(read)
    return next((each for each in writes if freeze(each.value) not in there), None)


def _last_if(older: Older) -> Callable[[Operation, Sequence[Operation]], Operation | None]:
    """The last of some writes, if what was read is older."""
    return lambda read, writes: writes[-1] if writes and older(read, writes[-1]) else None


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
    if not _only_grows(operations):
        return
    lists = [each for each in operations if each.f in READS and isinstance(each.result, list)]
    longest = max(lists, key=lambda each: len(each.result), default=None)
    if longest is None:
        return
    place = {freeze(element): number for number, element in enumerate(longest.result)}
    made = Counter(freeze(each.value) for each in operations if each.f == "append")
    last: dict[str | int, Operation] = {}
    for operation in _in_session_order(operations):
        value = freeze(operation.value)
        if operation.f != "append" or value not in place or made[value] > 1:
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


def check_written(operations: Sequence[Operation]) -> Iterator[Finding]:
    """No process reads what nobody had begun to write by then. Before that nothing was there,
    and no element."""
    grows = _only_grows(operations)
    first: dict[Any, int] = {}
    """Of each value, where the first that may have made it began."""
    for operation in operations:
        made = _made(operation)
        if grows and made is ANYTHING:
            made = freeze(operation.value)
        if made is not NOTHING:
            first[made] = min(operation.begin, first.get(made, operation.begin))
    for operation in _in_session_order(operations):
        if operation.f not in READS:
            continue
        key = freeze if grows else _value
        for each in (operation.result or ()) if grows else (operation.result,):
            begun = (first.get(made, operation.end) for made in (key(each), ANYTHING))
            if each not in (None, []) and min(begun) >= operation.end:
                text = (
                    f"{operation.process} read {show(operation.result)} at "
                    f"{at(operation.completed_s)}: nobody had written {show(each)} by then"
                )
                yield Finding(text, (operation,))
                break


def check_session(operations: Sequence[Operation]) -> Iterator[Finding]:
    """All session guarantees."""
    yield from check_written(operations)
    yield from check_read_your_writes(operations)
    yield from check_monotonic_reads(operations)
    yield from check_monotonic_writes(operations)


def _in_session_order(operations: Sequence[Operation]) -> list[Operation]:
    """What was acknowledged, as each process saw it."""
    return sorted((each for each in operations if each.is_ok), key=lambda each: each.begin)


def _order(operations: Sequence[Operation]) -> Older:
    """How to compare states: lists and sets, which only grow, by what they hold; others by what
    may have made them."""
    if _only_grows(operations):
        return lambda a, b: not _holds(b) <= _holds(a)
    return _Sources(operations).is_older


def _only_grows(operations: Sequence[Operation]) -> bool:
    return any(each.f in GROWING for each in operations) and all(
        each.f in GROWING or (each.f in READS and isinstance(each.result, list | None))
        for each in operations
    )


class _Sources:
    """Of each value, whatever may have made it: a state is older than another for certain only if
    all of its own sources had ended before any of the other's began."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._of: dict[Any, list[Operation]] = {}
        self._any: list[Operation] = []
        """They may have made any value."""
        for operation in operations:
            made = _made(operation)
            if made is ANYTHING:
                self._any.append(operation)
            elif made is not NOTHING:
                self._of.setdefault(made, []).append(operation)

    def is_older(self, a: Operation, b: Operation) -> bool:
        shown = _value(a.result)
        theirs = [*self._of.get(shown, ()), *self._any]
        if b in theirs or not (theirs or shown is None):
            return False
        ours = [b]
        if b.f in READS:
            seen = _value(b.result)
            ours = [*self._of.get(seen, ()), *self._any]
            if seen == shown or seen is None or not ours:
                return False  # null was there before anything
        return max((each.end for each in theirs), default=-1) < min(each.begin for each in ours)


def _made(operation: Operation) -> Any:
    """The value that is there behind it, if it had an effect; NOTHING if it had none."""
    if operation.f in READS or operation.outcome == FAIL:
        return NOTHING
    answer = operation.result if operation.is_ok else None
    if operation.f in WRITES:
        return _value(operation.value)
    if operation.f == "cas":
        refused = answer is not None and not answer[2]
        return NOTHING if refused else _value(operation.value[1])
    if operation.f == "delete":
        return NOTHING if answer is False else None
    if operation.f == "incr" and type(answer) in (int, float):
        return _value(answer)
    return ANYTHING


def _value(shown: Any) -> Any:
    """As it is compared: a number may be shown as a text."""
    return str(shown) if type(shown) in (int, float) else freeze(shown)


def _holds(operation: Operation) -> frozenset[Any]:
    """The elements of a read, or the one that was added."""
    if operation.f in READS:
        return frozenset(freeze(each) for each in operation.result or [])
    return frozenset((freeze(operation.value),))
