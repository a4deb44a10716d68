"""A broker group's state and records as a StateMachine of the replicated log, whose records lie in
files (replica.state_machine.KeepsFiles).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgpack

from nodes.base import Disk
from nodes.queue.backlog import PREFIX, Backlog
from nodes.queue.partition import Place
from nodes.queue.state import NAMES, PUBLISH, QueueState, facts_of
from protocols.replication.pieces import Content
from protocols.replication.snapshot_file import StateFile
from protocols.stepping import Steps


class QueueMachine:
    """One QueueState and its backlog."""

    file_prefix = PREFIX

    def __init__(self, has: Callable[[int], Sequence[int]], disk: Disk) -> None:
        self.backlog = Backlog(disk)
        self.state = QueueState(self.backlog, has)

    def apply(self, payload: bytes, lsn: int) -> None:
        for fact in facts_of(payload):
            self.state.apply(fact)

    def dump(self) -> Content:
        """The state, and of each segment how many of the files are its own, in their order."""
        self.backlog.write_all()
        segments = [[*place, len(self.backlog.parts_of(place))] for place in self._places()]
        data: bytes = msgpack.packb([self.state.to_wire(), segments])
        return data

    def dumped_files(self) -> Sequence[StateFile]:
        """replica.state_machine.KeepsFiles."""
        return [part for place in self._places() for part in self.backlog.parts_of(place)]

    def _places(self) -> list[Place]:
        return [place for part in self.state.partition_list() for place in part.places()]

    def restore_from_files(
        self, manifest: Content, files: Sequence[StateFile]
    ) -> Steps[Callable[[], None]]:
        """replica.state_machine.KeepsFiles."""
        state, rows = msgpack.unpackb(manifest[:], strict_map_key=False)
        yield
        fresh = self.state.emptied()
        fresh.take(state)
        yield
        segments: dict[Place, list[StateFile]] = {}
        first = 0
        for topic, partition, base, count in rows:
            segments[Place(topic, partition, base)] = list(files[first : first + count])
            first += count
        return partial(self._become, fresh, segments)

    def _become(self, fresh: QueueState, segments: dict[Place, list[StateFile]]) -> None:
        self.state.become(fresh)
        self.backlog.become(segments)

    def files_in_use(self) -> Sequence[str]:
        """replica.state_machine.KeepsFiles."""
        return self.backlog.names()

    def restore(self, data: Content | None) -> None:
        """Only to be empty: what was dumped is restored with its files."""
        assert data is None, "a dump is nothing without its files"
        self._become(self.state.emptied(), {})

    def describe(self, payload: bytes) -> Any:
        told = []
        for number, *rest in facts_of(payload):
            if number == PUBLISH:
                rest[-1] = [msgpack.unpackb(each, strict_map_key=False) for each in rest[-1]]
            told.append([NAMES[number], *rest])
        return told
