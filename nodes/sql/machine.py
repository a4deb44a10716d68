"""SQL as a StateMachine of the replicated log. No disk or network here."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from nodes.replica.state_machine import Applied
from nodes.sql.changes import in_words
from nodes.sql.state import SqlState
from protocols.replication.pieces import Content, Pieces
from protocols.stepping import Steps, at_once


class SqlMachine:
    """replica.state_machine.StateMachine over one SqlState."""

    def __init__(
        self,
        name: str,
        now_s: Callable[[], float],
        rng: random.Random,
        cpu_s: Callable[[], float] = float,
    ) -> None:
        self.sql = SqlState(f"emu-clock-{name}", now_s, rng, cpu_s)

    def close(self) -> None:
        self.sql.close()

    def apply(self, payload: bytes, lsn: int) -> None:
        self.sql.apply(payload)

    def apply_batch(self, payloads: Sequence[bytes]) -> None:
        """replica.state_machine.AppliesBatches."""
        self.sql.apply_batch(payloads)

    def dump_in_steps(self, applied: Applied) -> Steps[Pieces]:
        """replica.state_machine.CopiesInSteps."""
        pages = yield from self.sql.dump_in_steps()
        applied()
        return pages

    def restore_in_steps(self, data: Content) -> Steps[Callable[[], None]]:
        return self.sql.load_in_steps(data)

    def dump(self) -> Pieces:
        return at_once(self.sql.dump_in_steps())

    def restore(self, data: Content | None) -> None:
        if data is None:
            self.sql.reset()
        else:
            at_once(self.sql.load_in_steps(data))()

    def describe(self, payload: bytes) -> Any:
        """The rows or statements of a record, in words."""
        parts = []
        for sql, changes in msgpack.unpackb(payload):
            parts += [{"statement": sql}] if sql else []
            parts += in_words(changes) if changes else []
        return {"changes": parts}
