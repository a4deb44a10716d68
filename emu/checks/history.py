"""What clients did and saw: operations with their outcomes, kept in memory while they happen.

As a file a history is emu/checks/history_file.py's business; judging it is emu/checks'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from emu.checks.values import freeze

MAX_OPERATIONS: Final = 500_000
ASIDE_FOR_ONE: Final = 2
"""So many may be aside where one may be kept: they take a tenth of the room."""
MANY_OPERATIONS: Final = 10_000
NEVER: Final = 1 << 62
"""The `end` of an operation that may still take effect: after every event there is."""

INVOKE: Final = "invoke"
OK: Final = "ok"
FAIL: Final = "fail"
INFO: Final = "info"
OBSERVING: Final = ("read", "get", "dequeue", "balances", "delete", "incr", "drain", "poll")
"""Operations whose answer is not what they were invoked with: null is an answer of its own."""


class Operation:
    """One operation of one sequential process (nodes.base.Operation).

    `begin` and `end` are places in the order of all events; times are only for people. What has
    not been completed counts as `info`: it may take effect at any later time, or never.
    """

    __slots__ = (
        "_recorder", "begin", "completed", "completed_s", "end", "f", "invoked_s", "key", "model",
        "outcome", "process", "reason", "result", "value",
    )  # fmt: skip

    def __init__(
        self,
        process: str | int,
        f: str,
        value: Any = None,
        key: Any = None,
        *,
        model: str = "kv",
        begin: int = 0,
        invoked_s: float = 0.0,
        recorder: Recorder | None = None,
    ) -> None:
        self.process = process
        self.f = f
        self.value = value
        self.key = key
        self.model = model
        self.begin = begin
        self.end = NEVER
        self.invoked_s = invoked_s
        self.completed: int | None = None
        self.completed_s: float | None = None
        self.outcome = INFO
        self.result: Any = None
        """What was answered, once ok; the invoked value where nothing else was said."""
        self.reason = ""
        self._recorder = recorder

    def __repr__(self) -> str:
        return f"<{self.f} {self.value!r} by {self.process}: {self.outcome} {self.result!r}>"

    @property
    def is_ok(self) -> bool:
        return self.outcome == OK

    def ok(self, value: Any = None) -> None:
        self._complete(OK, value, "")

    def fail(self, reason: str = "") -> None:
        self._complete(FAIL, None, reason)

    def info(self, reason: str = "") -> None:
        self._complete(INFO, None, reason)

    def _complete(self, outcome: str, value: Any, reason: str) -> None:
        if self._recorder is not None:
            self._recorder.complete(self, outcome, value, reason)

    def settle(self, outcome: str, value: Any, reason: str, index: int, time_s: float) -> None:
        """The completion happened as event `index`."""
        self._recorder = None
        self.outcome = outcome
        self.reason = reason
        self.completed, self.completed_s = index, time_s
        if outcome != INFO:
            self.end = index
        if outcome == OK:
            self.result = self.value if value is None and self.f not in OBSERVING else value

    def events(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Its lines, each with its place."""
        about = {"process": self.process, "f": self.f}
        if self.key is not None:
            about["key"] = self.key
        yield (
            self.begin,
            {**about, "type": INVOKE, "value": self.value, "time": self.invoked_s},
        )
        if self.completed is None:
            return
        value = self.result if self.outcome == OK else self.value
        line = {**about, "type": self.outcome, "value": value, "time": self.completed_s}
        if self.reason:
            line["error"] = self.reason
        yield self.completed, line


class Recorder:
    """The history of a run (nodes.base.History). At most `max_operations` are kept at a time.

    When it is full the recording ends as if everything had stopped there, so what is kept is a
    true prefix of what happened, and still fit to be judged. `dropped` counts what came later, and
    `full_s` is when that began.
    """

    def __init__(
        self,
        now_s: Callable[[], float],
        *,
        max_operations: int = MAX_OPERATIONS,
        by_time: bool = False,
        on_full: Callable[[int], object] | None = None,
        on_many: Callable[[], object] | None = None,
    ) -> None:
        """`by_time`: places are times, in nanoseconds. So what other processes saw, and say later,
        finds its place if they have the same clock. `on_full`: called once, with how many are
        kept, when the first one is not. `on_many`: called when there are `many`, and more again:
        some may be taken out, as what they say is known."""
        self.operations: list[Operation] = []
        self.dropped = 0
        self.full_s: float | None = None
        self.many = MANY_OPERATIONS
        self.left: dict[tuple[str, Any], float] = {}
        """(model, object) → when the last node said that it asks it no more."""
        self.by_time = by_time
        self._on_full = on_full
        self._on_many = on_many
        self._now_s = now_s
        self._most = max_operations
        self._aside = 0
        self._next_index = 0
        self._open: dict[str | int, Operation] = {}

    def invoke(
        self, process: str, f: str, value: Any = None, key: Any = None, *, model: str = "kv"
    ) -> Operation:
        if self._has_no_room():
            return Operation(process, f, value, key, model=model)
        assert process not in self._open, f"process {process} invoked {f} before its last ended"
        operation = Operation(
            process, f, value, key,
            model=model, begin=self._take_index(), invoked_s=self._now_s(), recorder=self,
        )  # fmt: skip
        self._open[process] = operation
        self.operations.append(operation)
        return operation

    def invoked(
        self,
        at_s: float,
        process: str,
        f: str,
        value: Any = None,
        key: Any = None,
        *,
        model: str = "kv",
    ) -> Operation:
        """One that was invoked elsewhere, at that time; whoever tells it settles it."""
        operation = Operation(
            process, f, value, key, model=model, begin=_nanoseconds(at_s), invoked_s=at_s
        )
        if not self._has_no_room():
            self.operations.append(operation)
        return operation

    def _has_no_room(self) -> bool:
        """Whether another operation is one too many; it is counted."""
        kept = len(self.operations)
        if kept == self.many and self._on_many is not None:
            self._on_many()
        if not self.dropped and kept < self._most and self._aside < ASIDE_FOR_ONE * self._most:
            return False
        self.dropped += 1
        if self.full_s is None:
            self.full_s = self._now_s()
            if self._on_full is not None:
                self._on_full(kept + self._aside)
        return True

    def leave(self, key: Any, *, model: str = "kv") -> None:
        self.left[model, freeze(key)] = self._now_s()

    def completed(
        self, operation: Operation, at_s: float, outcome: str, value: Any, reason: str
    ) -> None:
        """One of those has ended, at that time."""
        if not self.dropped:
            operation.settle(outcome, value, reason, _nanoseconds(at_s), at_s)

    def sort(self) -> None:
        """Put the operations in the order of their invocations, where some were told late."""
        self.operations.sort(key=lambda each: each.begin)

    def complete(self, operation: Operation, outcome: str, value: Any, reason: str) -> None:
        """Called by the operation itself."""
        self._open.pop(operation.process, None)
        if not self.dropped:
            operation.settle(outcome, value, reason, self._take_index(), self._now_s())

    def take_out(self, count: int, kept: list[Operation], aside: int) -> None:
        """Of the first `count` operations only `kept` are still needed here, and so many are
        `aside`."""
        self.operations[:count] = kept
        self._aside = aside
        here = {id(each) for each in self.operations}
        self._open = {name: each for name, each in self._open.items() if id(each) in here}
        self.many = max(MANY_OPERATIONS, 2 * len(self.operations))

    def models(self) -> list[str]:
        """The models of the operations, in the order in which they appeared."""
        return list(dict.fromkeys(each.model for each in self.operations))

    def _take_index(self) -> int:
        index = self._next_index
        if self.by_time:
            index = max(index, _nanoseconds(self._now_s()))
        self._next_index = index + 1
        return index


def _nanoseconds(time_s: float) -> int:
    return int(time_s * 1e9)
