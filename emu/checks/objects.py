"""Objects that one operation at a time changes: register, compare-and-set register, key of a kv.

Each is a sequential specification for the search; here too is how a failed search is put in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from emu.checks.history import FAIL, Operation
from emu.checks.result import Finding, at, show, what, who
from emu.checks.search import ILLEGAL, MAX_STEPS, Effect, Stuck, linearize
from emu.checks.values import freeze
from emu.checks.zones import check_zones

READS: Final = ("read", "get")
WRITES: Final = ("write", "set")
COMPUTING: Final = ("incr", "append")
SHOWN_STATES: Final = 3
ABSENT: Final = None
"""The value before the first write, and of a key that was deleted."""


def check_object(
    operations: Sequence[Operation], *, max_steps: int = MAX_STEPS
) -> Iterator[Finding]:
    """Linearizability of one register or key. Raises Undecided."""
    if _is_plain(operations):
        yield from check_zones(operations)
        return
    impossible = _out_of_nowhere(operations)
    if impossible is not None:
        yield impossible
        return
    stuck = linearize(operations, effect, ABSENT, max_steps=max_steps)
    if stuck is not None:
        yield explain(stuck, operations)


def _is_plain(operations: Sequence[Operation]) -> bool:
    """Only reads and writes, and no value (nor null) is written twice."""
    written: set[Any] = {ABSENT}
    for operation in operations:
        if operation.f in WRITES:
            value = freeze(operation.value)
            if value in written:
                return False
            written.add(value)
        elif operation.f not in READS:
            return False
    return True


def _out_of_nowhere(operations: Sequence[Operation]) -> Finding | None:
    """A read of a value that nobody can have written: no search is needed to see that."""
    written: set[Any] = {ABSENT}
    for operation in operations:
        if operation.f in COMPUTING:
            return None
        if operation.f in WRITES:
            written.add(freeze(operation.value))
        elif operation.f == "cas":
            written.add(freeze(operation.value[1]))
    for read in operations:
        if read.f in READS and read.is_ok and freeze(read.result) not in written:
            text = f"{what(read)} by {read.process} at {at(read.completed_s)} cannot be: "
            return Finding(f"{text}nobody wrote {show(read.result)}", (read,))
    return None


# --- the sequential specification --------------------------------------------------------------


class Appended(NamedTuple):
    """What appends made of `base`: as a text or as a list, as whoever reads it sees it."""

    base: Any
    parts: tuple[Any, ...]


def effect(operation: Operation) -> Effect | None:
    """What an operation on a register or key does (emu.checks.search.Model)."""
    match operation.f:
        case "read" | "get":
            return _read(operation)
        case "write" | "set":
            value = freeze(operation.value)
            return Effect(lambda state: value)
        case "cas":
            return _compare_and_set(operation)
        case "delete":
            return _delete(operation)
        case "incr":
            return _increment(operation)
        case "append":
            part = freeze(operation.value)
            return Effect(lambda state: _appended(state, part))
    raise ValueError(f"`{operation.f}` is no operation of a register or key")


def _read(operation: Operation) -> Effect | None:
    if not operation.is_ok:
        return None
    seen = freeze(operation.result)
    return Effect(lambda state: state if _same(state, seen) else ILLEGAL, pure=True)


def _compare_and_set(operation: Operation) -> Effect:
    old, new = (freeze(each) for each in operation.value)

    def done(state: Any) -> Any:
        return new if _same(state, old) else ILLEGAL

    if not operation.is_ok:
        return Effect(lambda state: new if _same(state, old) else state)
    if operation.result[2]:
        return Effect(done)
    return Effect(lambda state: ILLEGAL if _same(state, old) else state, pure=True)


def _delete(operation: Operation) -> Effect:
    existed = operation.result
    if not operation.is_ok or existed is None:
        return Effect(lambda state: ABSENT)
    if existed:
        return Effect(lambda state: ABSENT if state is not ABSENT else ILLEGAL)
    return Effect(lambda state: state if state is ABSENT else ILLEGAL, pure=True)


def _increment(operation: Operation) -> Effect:
    amount = 1 if operation.value is None else operation.value
    seen = freeze(operation.result) if operation.is_ok else None

    def apply(state: Any) -> Any:
        number = _as_number(state)
        if number is None:
            return ILLEGAL if operation.is_ok else state
        after = number + amount
        return after if seen is None or after == seen else ILLEGAL

    return Effect(apply)


def _as_number(state: Any) -> Any:
    """What `incr` starts from: 0 where there is nothing, None where there is no number."""
    if state is ABSENT:
        return 0
    if isinstance(state, str):
        try:
            return int(state)
        except ValueError:
            return None
    return state if isinstance(state, int | float) else None


def _appended(state: Any, part: Any) -> Any:
    if isinstance(state, Appended):
        return Appended(state.base, (*state.parts, part))
    return Appended(state, (part,))


def _same(state: Any, seen: Any) -> bool:
    """Whether `seen` is a way to see the state."""
    if state == seen:
        return True
    if isinstance(state, Appended):
        return seen in (
            _as_list(state, state.parts),
            _as_list(state, _flat(state)),
            _as_text(state),
        )
    return isinstance(state, int) and isinstance(seen, str) and str(state) == seen


def _as_list(state: Appended, parts: tuple[Any, ...]) -> tuple[Any, ...] | None:
    if state.base is ABSENT or type(state.base) is tuple:
        return (*(state.base or ()), *parts)
    return None


def _flat(state: Appended) -> tuple[Any, ...]:
    """The parts where a list was appended, not one element."""
    return tuple(
        each for part in state.parts for each in (part if isinstance(part, tuple) else (part,))
    )


def _as_text(state: Appended) -> str | None:
    texts = ["" if state.base is ABSENT else state.base, *state.parts]
    return "".join(texts) if all(isinstance(each, str) for each in texts) else None


# --- words -------------------------------------------------------------------------------------


def explain(stuck: Stuck, operations: Sequence[Operation]) -> Finding:
    operation = stuck.operation
    sources = [each for each in operations if _could_write(each, operation)]
    text = f"{what(operation)} by {operation.process} at {at(operation.completed_s)} cannot be: "
    refused = [each for each in sources if each.outcome == FAIL]
    if operation.f in READS and sources and len(refused) == len(sources):
        return Finding(f"{text}{who(refused[0])} did not happen", (refused[0], operation))
    certain = [each for each in stuck.states if each[1] is None or each[1].is_ok]
    told = (certain or stuck.states)[:SHOWN_STATES]
    text += "in every order that fits all else, the value by then was "
    text += " or ".join(_possible(state, changer) for state, changer in told)
    if len(told) < len(stuck.states):
        text += ", or what others of unknown outcome made of it"
    changers = [changer for _, changer in told if changer is not None]
    twin = _same_answer(operation, operations)
    if twin is not None:
        text += f"; {twin.process} had been answered the same at {at(twin.completed_s)}"
        sources = [twin]
    shown = dict.fromkeys([*sources[-1:], *changers, operation])
    return Finding(text, tuple(sorted(shown, key=lambda each: each.begin)))


def _same_answer(operation: Operation, operations: Sequence[Operation]) -> Operation | None:
    """An increment that was given this very number before."""
    if operation.f != "incr" or operation.result is None:
        return None
    given = (each for each in operations if each.f == "incr" and each.result == operation.result)
    return next((each for each in given if each.end < operation.end), None)


def _possible(state: Any, changer: Operation | None) -> str:
    if changer is None:
        return f"{_shown(state)} (as at the beginning)"
    return f"{_shown(state)} (after {who(changer)})"


def _shown(state: Any) -> str:
    if isinstance(state, Appended):
        seen = _as_text(state)
        return show(_as_list(state, state.parts) if seen is None else seen)
    return show(state)


def _could_write(operation: Operation, reader: Operation) -> bool:
    """Whether the operation leaves behind what the other one read."""
    if operation.begin > reader.end:
        return False
    if operation.f in WRITES:
        return bool(freeze(operation.value) == freeze(reader.result))
    if operation.f == "cas":
        return bool(freeze(operation.value[1]) == freeze(reader.result))
    return operation.f in ("incr", "append", "delete")
