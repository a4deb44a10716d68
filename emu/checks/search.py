"""Wing and Gong's search for a linearization, with Lowe's cache of configurations. Knows no model.

Depth first, without recursion. A configuration is (which operations are done, state); none is
entered twice. What may never have happened (`info`) is tried last, and never has to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from emu.checks.history import FAIL, OK, Operation
from emu.checks.result import Undecided
from emu.checks.values import freeze

MAX_STEPS: Final = 1_000_000
"""Per object. A step is one attempt to let one operation happen next: about 1 to 3 µs."""
MAX_SHOWN_STATES: Final = 8

State = Any
ILLEGAL: Final = object()
Apply = Callable[[State], State]
"""The state after the operation, or ILLEGAL if its answer does not fit the state."""


class Effect(NamedTuple):
    """What an operation does to the state. `pure`: it never changes any state."""

    apply: Apply
    pure: bool = False


Model = Callable[[Operation], Effect | None]
"""The effect of an operation (of unknown outcome: as if it had happened), or None if it has none
and saw nothing."""


class Stuck(NamedTuple):
    """Why there is no linearization: by its end `operation` fits none of the possible states."""

    operation: Operation
    states: list[tuple[State, Operation | None]]
    """Each with the operation that made it so (None: the initial state)."""


class _Step(NamedTuple):
    operation: Operation
    begin: int
    end: int
    apply: Apply
    pure: bool


class _Configuration(NamedTuple):
    """`first`: all known operations before it are done; `done` and `taken` are bit sets of the
    known ones from `first` on and of the uncertain ones."""

    first: int
    done: int
    taken: int
    state: State
    changer: Operation | None


def linearize(
    operations: Sequence[Operation], model: Model, initial: State, *, max_steps: int = MAX_STEPS
) -> Stuck | None:
    """None if the operations on one object are linearizable. Raises Undecided."""
    return _Search(operations, model, initial, max_steps).run()


class _Search:
    def __init__(
        self, operations: Sequence[Operation], model: Model, initial: State, max_steps: int
    ) -> None:
        self.known: list[_Step] = []
        self.uncertain: list[_Step] = []
        for operation in sorted(operations, key=lambda each: each.begin):
            effect = None if operation.outcome == FAIL else model(operation)
            if effect is not None and (operation.outcome == OK or not effect.pure):
                into = self.known if operation.outcome == OK else self.uncertain
                into.append(_Step(operation, operation.begin, operation.end, *effect))
        self.alike_before = _alike_before(self.uncertain)
        self.initial = initial
        self.max_steps = max_steps
        self.steps = 0
        self.seen: set[tuple[int, int, int, State]] = set()
        self.stuck_end = -1
        self.stuck_at: _Step | None = None
        self.states: dict[State, Operation | None] = {}

    def run(self) -> Stuck | None:
        here = self._settle(_Configuration(0, 0, 0, self.initial, None))
        if here is None:
            return None
        stack = [self._moves(here)]
        while stack:
            there = next(stack[-1], None)
            if there is None:
                stack.pop()
                continue
            there = self._settle(there)
            if there is None:
                return None
            if there[:4] not in self.seen:
                self.seen.add(there[:4])
                stack.append(self._moves(there))
        assert self.stuck_at is not None
        return Stuck(self.stuck_at.operation, list(self.states.items())[:MAX_SHOWN_STATES])

    def _settle(self, here: _Configuration) -> _Configuration | None:
        """Let happen what can at once and changes nothing; None when everything known is done."""
        first, done, taken, state, changer = here
        known = self.known
        while True:
            while done & 1:
                first, done = first + 1, done >> 1
            if first == len(known):
                return None
            before = done
            for place, step in self._candidates(first, done):
                if step.pure:
                    self.steps += 1
                    if step.apply(state) is not ILLEGAL:
                        done |= 1 << place
            if done == before:
                return _Configuration(first, done, taken, state, changer)

    def _candidates(self, first: int, done: int) -> list[tuple[int, _Step]]:
        """The known operations that may be the next, by the order of real time."""
        known = self.known
        earliest_end = known[first].end
        found = []
        for place in range(first, len(known)):
            step = known[place]
            if step.begin > earliest_end:
                break
            if not done >> (place - first) & 1:
                found.append((place - first, step))
                if step.end < earliest_end:
                    earliest_end = step.end
        return found

    def _moves(self, here: _Configuration) -> Iterator[_Configuration]:
        """The configurations that may follow, the likeliest first."""
        first, done, taken, state, _ = here
        candidates = self._candidates(first, done)
        candidates.sort(key=_by_end)
        limit = candidates[0][1]
        self._note(limit, here)
        for place, step in candidates:
            if not step.pure:
                after = self._try(step, state)
                if after is not ILLEGAL:
                    yield _Configuration(first, done | 1 << place, taken, after, step.operation)
        for place, step in enumerate(self.uncertain):
            if step.begin > limit.end:
                break
            alike = self.alike_before[place]
            if not taken >> place & 1 and (alike is None or taken >> alike & 1):
                after = self._try(step, state)
                if after is not ILLEGAL and after != state:
                    yield _Configuration(first, done, taken | 1 << place, after, step.operation)

    def _try(self, step: _Step, state: State) -> State:
        self.steps += 1
        if self.steps > self.max_steps:
            raise Undecided
        return step.apply(state)

    def _note(self, limit: _Step, here: _Configuration) -> None:
        """`limit` must happen now at the latest: remember the states in which it was to."""
        if limit.end > self.stuck_end:
            self.stuck_end, self.stuck_at = limit.end, limit
            self.states = {}
        if limit.end == self.stuck_end and len(self.states) < MAX_SHOWN_STATES:
            self.states.setdefault(here.state, here.changer)


def _alike_before(steps: list[_Step]) -> list[int | None]:
    """For each uncertain operation the one before it that does the same, if there is one: whatever
    can be explained by the later one alone can be explained by the earlier one."""
    last: dict[Any, int] = {}
    found = []
    for place, step in enumerate(steps):
        does = step.operation.f, freeze(step.operation.value)
        found.append(last.get(does))
        last[does] = place
    return found


def _by_end(candidate: tuple[int, _Step]) -> int:
    return candidate[1].end
