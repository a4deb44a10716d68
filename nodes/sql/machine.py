"""SQL as a StateMachine of the replicated log. No disk or network here."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import apsw
import msgpack

from nodes.replica.state_machine import Applied
from nodes.sql.state import SqlState
from protocols.replication.pieces import Content, Pieces
from protocols.stepping import Steps, at_once


class SqlMachine:
    """parts.state_machine.StateMachine over one SqlState."""

    def __init__(self, name: str, now_s: Callable[[], float], rng: random.Random) -> None:
        self.sql = SqlState(f"emu-clock-{name}", now_s, rng)

    def close(self) -> None:
        self.sql.close()

    def apply(self, payload: bytes, lsn: int) -> None:
        self.sql.apply(payload)

    def apply_batch(self, payloads: Sequence[bytes]) -> None:
        """parts.state_machine.AppliesBatches."""
        self.sql.apply_batch(payloads)

    def dump_in_steps(self, applied: Applied) -> Steps[Pieces]:
        """parts.state_machine.CopiesInSteps."""
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
        changeset, statements, request_id, _, _ = msgpack.unpackb(payload)
        if changeset is None:
            return {"statements": statements, "request_id": request_id}
        changes = []
        for change in apsw.Changeset.iter(changeset):
            changes.append(
                {
                    "table": change.name,
                    "op": change.op,
                    "old": _plain(change.old),
                    "new": _plain(change.new),
                }
            )
        return {"changes": changes}


def _plain(values: Any) -> list[Any] | None:
    if values is None:
        return None
    return [
        each if isinstance(each, str | int | float | None) else repr(each)[:200] for each in values
    ]
