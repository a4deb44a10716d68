"""A shard's state as a StateMachine of the replicated log. No disk or network here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nodes.kv import copy
from nodes.kv.state import KvState, facts_of
from nodes.replica.state_machine import Applied
from protocols.replication.pieces import Content, Pieces
from protocols.stepping import Steps, at_once


class KvMachine:
    """replica.state_machine.StateMachine over one KvState."""

    def __init__(self, state: KvState) -> None:
        self._state = state

    def apply(self, payload: bytes, lsn: int) -> None:
        for fact in facts_of(payload):
            self._state.apply_fact(fact)

    def dump_in_steps(self, applied: Applied) -> Steps[Pieces]:
        """replica.state_machine.CopiesInSteps."""
        return copy.dump_in_steps(self._state, applied)

    def restore_in_steps(self, data: Content) -> Steps[Callable[[], None]]:
        return copy.restore_in_steps(self._state, data)

    def dump(self) -> bytes:
        return bytes(at_once(self.dump_in_steps(list)))

    def restore(self, data: Content | None) -> None:
        if data is None:
            self._state.become(self._state.emptied())
        else:
            at_once(self.restore_in_steps(data))()

    def describe(self, payload: bytes) -> Any:
        return [list(fact) for fact in facts_of(payload)]
