"""Gibbons and Korach's zones: linearizability of a register whose written values are all different.

Every value has a cluster: its write and its reads, which must be neighbours in any linearization.
From the first end to the last beginning in a cluster its value must be the current one (a forward
zone); two such zones may not overlap, nor may one contain a whole cluster. O(n log n).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from emu.checks.history import FAIL, Operation
from emu.checks.result import Finding, at, known_at, show, who
from emu.checks.values import freeze

WRITES: Final = ("write", "set")
START: Final = -1
"""When the initial value (null) was there: before every event."""


@dataclass(slots=True)
class _Cluster:
    """One value: `first_end` and `last_begin` with the operations that set them."""

    value: Any
    write: Operation | None
    reads: list[Operation] = field(default_factory=list)
    ends_first: Operation | None = None
    begins_last: Operation | None = None
    first_end: int = START
    last_begin: int = START

    def close(self) -> None:
        members = self.reads if self.write is None else [self.write, *self.reads]
        if not members:
            return
        self.begins_last = max(members, key=lambda each: each.begin)
        self.last_begin = self.begins_last.begin
        if self.write is not None:
            self.ends_first = min(members, key=lambda each: each.end)
            self.first_end = self.ends_first.end

    @property
    def forward(self) -> bool:
        return self.first_end < self.last_begin


def check_zones(operations: Sequence[Operation]) -> Iterator[Finding]:
    """Reads and writes of one register, every value written once and null never."""
    clusters = {
        freeze(each.value): _Cluster(each.value, each) for each in operations if each.f in WRITES
    }
    clusters[None] = _Cluster(None, None)
    impossible = None
    for read in operations:
        if read.f not in WRITES and read.is_ok:
            cluster = clusters.get(freeze(read.result))
            finding = _no_source(read, cluster)
            if finding is None and cluster is not None:
                cluster.reads.append(read)
            impossible = impossible or finding
    if impossible is not None:
        yield impossible
        return
    happened = [each for each in clusters.values() if _happened(each)]
    for cluster in happened:
        cluster.close()
    yield from _conflicts(happened)


def _no_source(read: Operation, cluster: _Cluster | None) -> Finding | None:
    """What is wrong with a read of a value that was not there to be read."""
    write = None if cluster is None else cluster.write
    if cluster is not None and (write is None or _may_be_seen(write, read)):
        return None
    text = f"read by {read.process} at {at(read.completed_s)} returned {show(read.result)}"
    if write is None:
        return Finding(f"{text}, which nobody wrote", (read,))
    if write.outcome == FAIL:
        return Finding(f"{text}, but {who(write)} did not happen", (write, read))
    later = f"{text}, which {write.process} began to write only at {at(write.invoked_s)}"
    return Finding(later, (read, write))


def _may_be_seen(write: Operation, read: Operation) -> bool:
    return write.outcome != FAIL and write.begin < read.end


def _happened(cluster: _Cluster) -> bool:
    """A write of unknown outcome that nobody read may be taken as never done."""
    return cluster.write is None or cluster.write.is_ok or bool(cluster.reads)


def _conflicts(clusters: list[_Cluster]) -> Iterator[Finding]:
    """The conflict that was complete first, if there is one."""
    forward = sorted((each for each in clusters if each.forward), key=lambda each: each.first_end)
    pairs = []
    widest = None
    for cluster in forward:
        if widest is not None and cluster.first_end < widest.last_begin:
            pairs.append((widest, cluster))
        if widest is None or cluster.last_begin > widest.last_begin:
            widest = cluster
    starts = [each.first_end for each in forward]
    for cluster in clusters:
        place = bisect_left(starts, cluster.last_begin) - 1
        if not cluster.forward and place >= 0:
            around = forward[place]
            if cluster.first_end < around.last_begin:
                pairs.append((around, cluster))
    if pairs:
        yield _explain(*min(pairs, key=_complete_at))


def _complete_at(pair: tuple[_Cluster, _Cluster]) -> int:
    last = pair[0].begins_last
    assert last is not None
    return last.begin


def _explain(around: _Cluster, other: _Cluster) -> Finding:
    """`around` was there before `other` began, and again after `other` was there."""
    read = around.begins_last
    after = other.ends_first
    later = other.begins_last
    assert read is not None and after is not None and later is not None
    text = (
        f"{read.f} by {read.process} at {at(read.completed_s)} returned {show(around.value)}, "
        f"but {_was_there(after, other)}"
    )
    before = around.ends_first
    if before is None:
        text += ", and null is the initial value"
    elif later is after:
        text += f" after {_was_there(before, around)}"
    else:
        text += f", {_was_there(before, around)} before {who(later)} began"
    text += ", and nothing wrote it again"
    shown = dict.fromkeys(each for each in (before, later, after, read) if each is not None)
    return Finding(text, tuple(sorted(shown, key=lambda each: each.begin)))


def _was_there(operation: Operation, cluster: _Cluster) -> str:
    """`7 had been acknowledged at 2.9 s` or `7 had been read by c at 2.9 s`."""
    value = show(cluster.value)
    if operation is cluster.write:
        return f"{value} had been {known_at(operation)}"
    return f"{value} had been read by {operation.process} at {at(operation.completed_s)}"
