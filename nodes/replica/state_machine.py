"""What the records of a replicated log mean: the side that a tier brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

from protocols.replication.log import DATA, Entry
from protocols.replication.pieces import Content
from protocols.stepping import Steps

Applied = Callable[[], Sequence[bytes]]
"""The payloads of the records that were applied since the last call, or since the dump began. What
is dumped is the state at the last call."""


class DoesNotApply(Exception):
    """A record does not fit the state, which is as it was before."""


class StateMachine(Protocol):
    """Synchronous and deterministic. To apply raises DoesNotApply."""

    def apply(self, payload: bytes, lsn: int) -> None: ...
    def dump(self) -> Content: ...
    def restore(self, data: Content | None) -> None:
        """Become what `dump` gave; None: become empty."""
        ...

    def describe(self, payload: bytes) -> Any:
        """A divergent record for people to read (JSON-able)."""
        ...


@runtime_checkable
class AppliesBatches(Protocol):
    """A StateMachine that takes many records at once for less: a replay is mostly that."""

    def apply_batch(self, payloads: Sequence[bytes]) -> None: ...


@runtime_checkable
class CopiesInSteps(Protocol):
    """A StateMachine whose state may be large: others go on while it is copied."""

    def dump_in_steps(self, applied: Applied) -> Steps[Content]:
        """The state as it was at the last call of `applied`. Between the steps records may be
        applied; the dump is to be given up if the state is replaced."""
        ...

    def restore_in_steps(self, data: Content) -> Steps[Callable[[], None]]:
        """What makes this the state that was dumped; until it is called, all is as it was."""
        ...


def dump_in_steps(machine: StateMachine, applied: Applied) -> Steps[Content]:
    """See CopiesInSteps; other machines do it in one step."""
    if isinstance(machine, CopiesInSteps):
        return (yield from machine.dump_in_steps(applied))
    applied()
    return machine.dump()


def restore_in_steps(machine: StateMachine, data: Content | None) -> Steps[Callable[[], None]]:
    """See CopiesInSteps; other machines do it in one step, and so does who becomes empty."""
    if data is not None and isinstance(machine, CopiesInSteps):
        return (yield from machine.restore_in_steps(data))
    return partial(machine.restore, data)


def apply_entries(machine: StateMachine, entries: Sequence[Entry]) -> None:
    """Apply what is the machine's own among them."""
    if len(entries) > 1 and isinstance(machine, AppliesBatches):
        machine.apply_batch([payload for _, _, kind, payload in entries if kind == DATA])
        return
    for _, lsn, kind, payload in entries:
        if kind == DATA:
            machine.apply(payload, lsn)
