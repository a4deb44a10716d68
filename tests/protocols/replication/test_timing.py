"""When the core does what it does: elections that are tied, and snapshots that are paced."""

from __future__ import annotations

import random

import pytest

from protocols.replication.log import MEMBERS
from protocols.replication.messages import SnapshotChunk
from protocols.replication.replica import (
    PRIMARY,
    VOTER,
    GroupConfig,
    HardState,
    MemoryLog,
    Message,
    Replica,
)
from protocols.replication.storage import encode_members

FOUNDERS = (("a", VOTER), ("b", VOTER), ("c", VOTER))


class Group:
    """Some of three members; messages arrive at once, and all of one moment together."""

    def __init__(self, names: str, seed: int = 0, records: int = 0) -> None:
        log = [(1, 1, MEMBERS, encode_members(FOUNDERS))]
        log += [(1, lsn, 0, b"x" * 100) for lsn in range(2, records + 2)]
        state = HardState(1, None, True)
        self.now_s = 0.0
        self.sent: list[tuple[float, Message]] = []
        self.replicas = {}
        for name in names:
            config, rng = GroupConfig(name), random.Random(f"{seed}{name}")
            self.replicas[name] = Replica(config, MemoryLog(log), state, FOUNDERS, rng, 0.0)

    def settle(self) -> None:
        while messages := [each for name in self.replicas for each in self._out(name)]:
            for message in messages:
                if message.to in self.replicas:
                    self.replicas[message.to].step(message, self.now_s)

    def _out(self, name: str) -> list[Message]:
        replica, found = self.replicas[name], []
        while ready := replica.ready():
            found += ready.messages
            found += [each._replace(data=bytes(size_bytes)) for each, size_bytes in ready.chunks]
            if ready.entries:
                replica.synced(ready.mark, self.now_s)
        self.sent += [(self.now_s, each) for each in found]
        return found

    def tick(self, *names: str) -> None:
        for name in names:
            self.replicas[name].tick(self.now_s)
        self.settle()

    def next(self) -> None:
        """Let time pass until the next deadline."""
        deadlines = {name: each.deadline_s for name, each in self.replicas.items()}
        first = min(deadlines, key=lambda name: deadlines[name])
        self.now_s = max(self.now_s, deadlines[first])
        self.tick(first)

    @property
    def primary(self) -> Replica | None:
        return next((each for each in self.replicas.values() if each.role == PRIMARY), None)


@pytest.mark.parametrize("seed", range(20))
def test_two_that_stand_at_the_same_moment_are_over_it_in_a_fraction_of_the_detection_time(
    seed: int,
) -> None:
    group = Group("ab", seed)
    group.now_s = 2.0
    group.tick("a", "b")
    assert group.primary is None, "each voted for itself"
    while group.primary is None:
        group.next()
    assert group.now_s - 2.0 < 0.4


def test_refusals_without_end_are_not_answered_by_asking_ever_faster() -> None:
    group = Group("ab", records=3)
    del group.replicas["b"]  # it would win: only refusals come back
    better = Group("b", records=9).replicas["b"]
    group.replicas["b"] = better
    better._voter.promise_until_s = 1e9
    group.now_s = 2.0
    group.tick("a")
    while group.now_s < 30:
        group.now_s = max(group.now_s, group.replicas["a"].deadline_s)
        group.tick("a")
    asked = sum(message.sender == "a" and message.to == "b" for _, message in group.sent)
    assert asked < 28 / 0.3 + 5


def test_a_snapshot_is_sent_no_faster_than_its_rate_and_no_slower() -> None:
    group = Group("ab", records=5)
    group.now_s = 2.0
    group.tick("a")
    primary = group.primary
    assert primary is not None and primary.name == "a"
    size_bytes = 9 << 20
    primary.compact(primary.snapshot_of(primary.quorum_lsn, size_bytes))
    primary.storage.trim_before(primary.quorum_lsn + 1)
    began_s = group.now_s
    blank = GroupConfig("c")
    group.replicas["c"] = Replica(blank, MemoryLog(), HardState(), FOUNDERS, random.Random(1), 2.0)
    while not group.replicas["c"]._incoming.installing:
        group.next()
        assert group.now_s < began_s + 5
    chunks = [(at_s, m) for at_s, m in group.sent if isinstance(m, SnapshotChunk)]
    assert sum(len(m.data) for _, m in chunks) == size_bytes
    took_s = chunks[-1][0] - chunks[0][0]
    wanted_s = (size_bytes - len(chunks[0][1].data)) / primary.config.snapshot_bytes_per_s
    assert took_s == pytest.approx(wanted_s, rel=0.05)
