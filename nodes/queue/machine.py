"""A broker group's state and records as a StateMachine of the replicated log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from nodes.queue.backlog import Backlog
from nodes.queue.partition import Place
from nodes.queue.state import NAMES, PUBLISH, QueueState, facts_of
from protocols.replication.pieces import Content


class QueueMachine:
    """replica.state_machine.StateMachine over one QueueState and its backlog."""

    def __init__(self, has: Callable[[int], Sequence[int]]) -> None:
        self.backlog = Backlog()
        self.state = QueueState(self.backlog, has)

    def apply(self, payload: bytes, lsn: int) -> None:
        for fact in facts_of(payload):
            self.state.apply(fact)

    def dump(self) -> Content:
        records = [
            [*place, self.backlog.content(place)]
            for partition in self.state.partition_list()
            for place in partition.places()
        ]
        data: bytes = msgpack.packb([self.state.to_wire(), records])
        return data

    def restore(self, data: Content | None) -> None:
        self.backlog.clear()
        if data is None:
            self.state.clear()
            return
        state, records = msgpack.unpackb(data[:], strict_map_key=False, max_bin_len=1 << 30)
        self.state.take(state)
        for topic, partition, base, content in records:
            self.backlog.take(Place(topic, partition, base), content)

    def describe(self, payload: bytes) -> Any:
        told = []
        for number, *rest in facts_of(payload):
            if number == PUBLISH:
                rest[-1] = [msgpack.unpackb(each, strict_map_key=False) for each in rest[-1]]
            told.append([NAMES[number], *rest])
        return told
