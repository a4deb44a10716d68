"""SQL as a StateMachine of the replicated log. No disk or network here."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Final

import msgpack

from nodes.replica.state_machine import Applied
from nodes.sql.changes import in_words
from nodes.sql.copy import Scratch
from nodes.sql.state import REQUESTS_TABLE, SqlState
from protocols.replication.pieces import Content, Pieces
from protocols.stepping import Steps, at_once

SHORT_CHARS: Final = 60
"""Of a value, where a record is told on one line."""


class SqlMachine:
    """replica.state_machine.StateMachine over one SqlState."""

    def __init__(
        self,
        name: str,
        now_s: Callable[[], float],
        rng: random.Random,
        cpu_s: Callable[[], float] = float,
        scratch: Scratch = nullcontext,
    ) -> None:
        self.sql = SqlState(f"emu-clock-{name}", now_s, rng, cpu_s, scratch)

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
        texts = [_in_short(each) for each in parts if each.get("table") != REQUESTS_TABLE]
        return {"text": "; ".join(texts), "changes": parts}


def _in_short(part: dict[str, Any]) -> str:
    if "statement" in part:
        return str(part["statement"])
    values = ", ".join(str(each)[:SHORT_CHARS] for each in part["values"])
    return f"{part['op']} {part['table']}: {values}"
