"""A long run's history is judged while it goes on: what is over is taken out of it, and counted.

Objects that are in one state at a time are judged up to a cut (emu/checks/windows.py). Others are
judged as a whole, once their clients have left them. What is judged is found here at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from emu.checks import CheckResult, check, count
from emu.checks.history import Operation, Recorder
from emu.checks.losses import Losses, find_losses
from emu.checks.packed import CHUNK, LEAST, Packed
from emu.checks.result import Anomaly, Finding, Undecided, about
from emu.checks.values import freeze
from emu.checks.windows import MODELS, LongObject
from nodes.history import Model

LEFT_S: Final = 600.0
"""An object that a node left, and that nobody asked for so long, is over."""
MAX_LEFT: Final = 10_000
"""Of left objects that are known by a few possible states; more are forgotten."""
TOLD_LATE_S: Final = 10.0
"""What other processes saw is told within so long."""
FILTER_BITS: Final = 1 << 23
PARTS: Final = 4

Group = tuple[str, str]
"""(clients tier, model)"""


class Came(NamedTuple):
    """What came of the operations of one group."""

    operations: int
    found: CheckResult
    losses: Losses | None
    counted: Mapping[str, int | None]
    left: int
    """Objects that were judged when their clients had left them: nobody read them at the end."""


@dataclass(slots=True)
class _Done:
    """What is judged already, of one group."""

    operations: int = 0
    found: CheckResult = field(default_factory=CheckResult)
    losses: Losses | None = field(default_factory=lambda: Losses(0, ()))
    counted: dict[str, int | None] = field(default_factory=dict)
    left: int = 0
    objects: dict[Any, LongObject] = field(default_factory=dict)
    packed: dict[Any, Packed] = field(default_factory=dict)
    """What was done to objects that can only be judged as a whole."""

    def count_in(
        self, operations: int, losses: Losses | None, counted: Mapping[str, int | None]
    ) -> None:
        self.operations += operations
        before, self.losses = self.losses, None
        if before is not None and losses is not None:
            lost = (*before.lost, *losses.lost)
            self.losses = Losses(before.acknowledged + losses.acknowledged, lost)
        for name, number in counted.items():
            known = self.counted.get(name, 0)
            self.counted[name] = None if number is None or known is None else known + number


class LongRun:
    """Give it what is recorded now and then (`fold`), and the rest at the end."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = models
        self._done: dict[Group, _Done] = {}
        self._gone = _Gone()

    def groups(self) -> list[Group]:
        return list(self._done)

    def fold(
        self,
        recorder: Recorder,
        now_s: float,
        group_of: Callable[[Operation], Group],
        guarantees: Mapping[str, str],
    ) -> Iterator[None]:
        """Judge what can be judged for good, and take it out; in steps of a millisecond or so.
        `guarantees`: by clients tier, of those that have said what they are promised."""
        first = len(recorder.operations)
        batch = sorted(recorder.operations[:first], key=_begin)
        is_over = _IsOver(now_s - TOLD_LATE_S if recorder.by_time else now_s)
        objects: dict[tuple[Group, Any], list[Operation]] = {}
        for place, operation in enumerate(batch):
            if place % CHUNK == 0:
                yield
            is_over.hear(operation)
            objects.setdefault((group_of(operation), freeze(operation.key)), []).append(operation)
        kept: list[Operation] = []
        for (group, key), operations in objects.items():
            yield
            if group[0] in guarantees:
                leave_s = recorder.left.get((group[1], key))
                operations = yield from self._take(
                    group, key, operations, guarantees[group[0]], is_over,
                    leave_s is not None and now_s - leave_s >= LEFT_S,
                )  # fmt: skip
            kept += operations
        kept.sort(key=_begin)
        yield from self._leave(recorder, now_s, objects, guarantees)
        packed = (each for done in self._done.values() for each in done.packed.values())
        recorder.take_out(first, kept, sum(each.count for each in packed))

    def _take(
        self,
        group: Group,
        key: Any,
        operations: list[Operation],
        guarantee: str,
        is_over: _IsOver,
        left: bool,
    ) -> Generator[None, None, list[Operation]]:
        """Those of one object that are still needed."""
        model = group[1]
        done = self._done.setdefault(group, _Done())
        if model in MODELS and not guarantee:
            judge = done.objects.get(key)
            if judge is None:
                judge = done.objects[key] = LongObject()
            gone = self._gone.has(group, key)
            while True:
                found, rest = judge.take(operations, is_over)
                if len(rest) == len(operations):
                    return rest
                yield
                done.operations += len(operations) - len(rest)
                if gone:
                    _say_gone(done.found, model, operations[0])
                else:
                    done.found.anomalies += _named(found, model, operations[0])
                operations = rest
        if not left or not all(map(is_over, operations)):
            return (yield from self._pack(done, key, operations, is_over))
        self._close(done, group, key, operations, guarantee)
        return []

    def _close(
        self, done: _Done, group: Group, key: Any, operations: list[Operation], guarantee: str
    ) -> None:
        """Judge an object as a whole, and forget it."""
        model = group[1]
        if key in done.packed:
            operations = sorted([*done.packed.pop(key).operations(), *operations], key=_begin)
        if self._gone.has(group, key):
            _say_gone(done.found, model, operations[0])
        else:
            done.found.add(check(operations, model, guarantee=guarantee, models=self._models))
        done.count_in(
            len(operations),
            find_losses(operations, model),
            count(operations, self._models.get(model)),
        )
        done.left += 1
        self._gone.add(group, key)

    def _pack(
        self, done: _Done, key: Any, operations: list[Operation], is_over: _IsOver
    ) -> Generator[None, None, list[Operation]]:
        over = [each for each in operations if is_over(each)]
        if len(over) < LEAST:
            return operations
        packed = done.packed.setdefault(key, Packed())
        for start in range(0, len(over), CHUNK):
            packed.add(over[start : start + CHUNK])
            yield
        return [each for each in operations if not is_over(each)]

    def _leave(
        self,
        recorder: Recorder,
        now_s: float,
        asked: Mapping[tuple[Group, Any], object],
        guarantees: Mapping[str, str],
    ) -> Iterator[None]:
        """Objects that clients left, and have not asked since. Those that are known by a few
        possible states go when there are many."""
        over = [name for name, left_s in recorder.left.items() if now_s - left_s >= LEFT_S]
        for model, key in over:
            groups = [group for group in self._done if group[1] == model]
            if any((group, key) in asked for group in groups):
                continue
            for group in groups:
                if key in self._done[group].packed:
                    yield
                    self._close(self._done[group], group, key, [], guarantees[group[0]])
            known = [group for group in groups if key in self._done[group].objects]
            if len(recorder.left) <= MAX_LEFT and known:
                continue
            del recorder.left[model, key]
            for group in known:
                del self._done[group].objects[key]
                self._done[group].left += 1
                self._gone.add(group, key)

    def end(self, group: Group, operations: Sequence[Operation], guarantee: str) -> Came:
        """All there is of a group: what was judged, and the rest of its operations."""
        done = self._done.get(group, _Done())
        model = group[1]
        by_key: dict[Any, list[Operation]] = {}
        rest = [one for packed in done.packed.values() for one in packed.operations()]
        packed_keys = dict.fromkeys(done.packed)
        done.packed.clear()
        told = len(rest)
        for each in operations:
            key = freeze(each.key)
            if key in done.objects:
                by_key.setdefault(key, []).append(each)
            elif key not in packed_keys and self._gone.has(group, key):
                _say_gone(done.found, model, each)
            else:
                rest.append(each)
        rest.sort(key=_begin)
        for key, mine in by_key.items():
            try:
                found = done.objects[key].end(mine)
            except Undecided:
                text = f"not enough steps for its last {len(mine)} operations"
                done.found.unknown.append(f"{about(model, mine[0].key)}: {text}")
            else:
                done.found.anomalies += _named(found, model, mine[0])
        done.found.add(check(rest, model, guarantee=guarantee, models=self._models))
        done.operations += told + len(operations) - len(rest)
        done.count_in(len(rest), find_losses(rest, model), count(rest, self._models.get(model)))
        return Came(done.operations, done.found, done.losses, done.counted, done.left)


class _IsOver:
    """Whether nothing more will be heard of an operation, nor of any that began before its end."""

    def __init__(self, until_s: float) -> None:
        self._until_s = until_s
        self._lives: dict[str, int] = {}

    def hear(self, operation: Operation) -> None:
        """There is this one."""
        node, generation = _life(operation)
        self._lives[node] = max(generation, self._lives.get(node, 0))

    def __call__(self, operation: Operation) -> bool:
        if operation.completed_s is not None:
            return operation.completed_s <= self._until_s
        node, generation = _life(operation)
        return generation < self._lives[node] and operation.invoked_s <= self._until_s


def _life(operation: Operation) -> tuple[str, int]:
    """`NODE.generation/number` is what a process is called."""
    node, _, rest = str(operation.process).partition(".")
    generation = rest.partition("/")[0]
    return node, int(generation) if generation.isdigit() else 0


class _Gone:
    """Which objects were judged and forgotten: sure of those that were not; of others it errs once
    in ten thousand while there are a few hundred thousand."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, group: Group, key: Any) -> None:
        if not self._bits:
            self._bits = bytearray(FILTER_BITS // 8)
        for place in self._places(group, key):
            self._bits[place >> 3] |= 1 << (place & 7)

    def has(self, group: Group, key: Any) -> bool:
        bits = self._bits
        return bool(bits) and all(
            bits[place >> 3] >> (place & 7) & 1 for place in self._places(group, key)
        )

    def _places(self, group: Group, key: Any) -> list[int]:
        digest = blake2b(repr((group, key)).encode(), digest_size=4 * PARTS).digest()
        parts = (digest[4 * part : 4 * part + 4] for part in range(PARTS))
        return [int.from_bytes(part) % FILTER_BITS for part in parts]


def _named(found: Sequence[Finding], model: str, one: Operation) -> list[Anomaly]:
    return [Anomaly(model, one.key, each.text, each.operations) for each in found]


def _say_gone(result: CheckResult, model: str, one: Operation) -> None:
    text = f"{about(model, one.key)}: asked again after its clients had left it, and it was judged"
    if text not in result.unknown:
        result.unknown.append(text)


def _begin(operation: Operation) -> int:
    return operation.begin
