"""What the records of a replicated log mean: the side that a tier brings to nodes/replica.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from protocols.log import DATA, Entry


class StateMachine(Protocol):
    """Synchronous and deterministic."""

    def apply(self, payload: bytes, lsn: int) -> None: ...
    def dump(self) -> bytes: ...
    def restore(self, data: bytes | None) -> None:
        """Become what `dump` gave; None: become empty."""
        ...

    def describe(self, payload: bytes) -> Any:
        """A divergent record for people to read (JSON-able)."""
        ...


@runtime_checkable
class AppliesBatches(Protocol):
    """A StateMachine that takes many records at once for less: a replay is mostly that."""

    def apply_batch(self, payloads: Sequence[bytes]) -> None: ...


def apply_entries(machine: StateMachine, entries: Sequence[Entry]) -> None:
    """Apply what is the machine's own among them."""
    if len(entries) > 1 and isinstance(machine, AppliesBatches):
        machine.apply_batch([payload for _, _, kind, payload in entries if kind == DATA])
        return
    for _, lsn, kind, payload in entries:
        if kind == DATA:
            machine.apply(payload, lsn)
