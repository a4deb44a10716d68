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


class Possible(NamedTuple):
    """A state in which an object may be when nothing is under way."""

    state: State
    changer: Operation | None = None
    """The operation that made it so (None: the initial state)."""
    uncertain: tuple[Operation, ...] = ()
    """Operations of unknown outcome that may still happen, in the order of their invocations."""


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


def possible_after(
    operations: Sequence[Operation],
    model: Model,
    before: Sequence[Possible],
    *,
    max_steps: int = MAX_STEPS,
) -> list[Possible] | Stuck:
    """How an object may be after all of these, of which the known ones have ended. Whatever is
    linearizable afterwards from one of them is so with these before, and the other way round.

    Raises Undecided.
    """
    found: dict[State, list[Possible]] = {}
    stuck = None
    for each in before:
        search = _Search([*each.uncertain, *operations], model, each.state, max_steps, each.changer)
        stuck = search.run_on(found)
        max_steps -= search.steps
    return [each for alike in found.values() for each in alike] or stuck or []


class _Search:
    def __init__(
        self,
        operations: Sequence[Operation],
        model: Model,
        initial: State,
        max_steps: int,
        changer: Operation | None = None,
    ) -> None:
        self.known: list[_Step] = []
        self.uncertain: list[_Step] = []
        self.changer = changer
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
        return self._stuck()

    def run_on(self, found: dict[State, list[Possible]]) -> Stuck | None:
        """Like `run`, but every way is gone to its end, and what is there is added to `found`. A
        way on which more may still happen stands for those on which less may."""
        taken_at: dict[tuple[int, int, State], list[int]] = {}
        todo = [_Configuration(0, 0, 0, self.initial, self.changer)]
        ended = False
        while todo:
            here = todo.pop()
            there = self._settle(here)
            if there is None:
                ended = True
                self._end(here, found)
                continue
            before = taken_at.setdefault((there.first, there.done, there.state), [])
            if not any(taken & there.taken == taken for taken in before):
                before.append(there.taken)
                todo += reversed(list(self._moves(there)))
        return None if ended or self.stuck_at is None else self._stuck()

    def _end(self, here: _Configuration, found: dict[State, list[Possible]]) -> None:
        left = tuple(
            step.operation
            for place, step in enumerate(self.uncertain)
            if not here.taken >> place & 1
        )
        alike = found.setdefault(here.state, [])
        if not any(set(left) <= set(each.uncertain) for each in alike):
            alike[:] = [each for each in alike if not set(each.uncertain) <= set(left)]
            alike.append(Possible(here.state, here.changer, left))

    def _stuck(self) -> Stuck:
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
