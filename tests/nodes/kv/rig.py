"""A shard without a node: its state and commands, with a clock that tests move."""

from __future__ import annotations

from typing import Any

import msgpack

from nodes.kv.commands import KvCommands
from nodes.kv.machine import KvMachine
from nodes.kv.state import ADOPT, Fact, KvState
from protocols.hashing.slots import SLOTS

ALL = [[0, SLOTS - 1]]


class Shard:
    """One primary's view; `call` is what a client would see, `log` what a replica would get."""

    def __init__(self, *, ranges: list[list[int]] | None = None, **options: Any) -> None:
        capacity_bytes = options.pop("capacity_bytes", 1 << 30)
        self.now_ms = 1_000_000
        self.state = KvState(**options)
        self.commands = KvCommands(self.state, lambda: self.now_ms, capacity_bytes=capacity_bytes)
        self.log: list[Fact] = []
        self.do([ADOPT, "", ranges or ALL, 1])

    def do(self, fact: Fact) -> None:
        self.state.apply_fact(fact)
        self.log.append(fact)

    def call(self, name: str, *params: Any, epoch: int | None = None) -> Any:
        try:
            return self.commands.handlers[name](list(params), epoch)
        finally:
            self.log += self.commands.facts
            self.commands.facts.clear()

    def copy(self) -> KvState:
        """A replica: the same log, through bytes."""
        replica = KvState(index=self.state._index_path)
        KvMachine(replica).apply(msgpack.packb(self.log), 1)
        return replica
