"""What a replica keeps: its log as the core sees it, its snapshot, and what it must not forget.

The core reads and extends the log here at once; making it durable is the driver's, as each Ready
asks. No file is opened here; what of the log is in memory is log_memory.py's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgpack

from protocols.replication import log
from protocols.replication.log import Entry
from protocols.replication.messages import Epochs, Members, members_from_wire


class HardState(NamedTuple):
    """What must be durable before any message of the same Ready leaves."""

    epoch: int = 0
    vote: str | None = None
    standing: bool = False
    """Whether this replica's word counts: False from an empty disk until a primary admits it."""
    vouched_epoch: int = 0
    vouched_version: int = 0
    vouched: tuple[str, ...] = ()
    """A witness's memory of whom a primary declared in sync: only those may be elected."""
    founding: int = 0
    """Which founding of the group's name this is; 0 while it is not known, and in older files."""

    def encode(self) -> bytes:
        """The whole content of a state file: write it aside, sync, rename."""
        packed: bytes = msgpack.packb(tuple(self))
        return log.seal(packed)

    @classmethod
    def decode(cls, data: bytes) -> HardState:
        """Raises CorruptFile."""
        state = cls(*msgpack.unpackb(log.unseal(data)))
        return state._replace(vouched=tuple(state.vouched))


class Snapshot(NamedTuple):
    """A durable copy of the state after `lsn`; what is in it is the driver's business."""

    lsn: int
    epoch: int
    members: Members
    epochs: Epochs
    """Where each epoch began in the log that the snapshot stands for (the latest ones)."""
    size_bytes: int = 0
    """Of what a peer is sent."""

    def epoch_at(self, lsn: int) -> int | None:
        """Which epoch wrote the record `lsn` that this snapshot contains; None: not known."""
        if lsn > self.lsn:
            return None
        begun = bisect_right(self.epochs, lsn, key=lambda each: each[1])
        return self.epochs[begun - 1][0] if begun else None


class Storage(Protocol):
    """The log as the core sees it. LSNs are dense; `first_lsn` is the oldest record kept.

    Only the latest records need be in memory; who needs others asks for them (State.fetch) and
    finds them here a little later.
    """

    first_lsn: int
    last_lsn: int
    snapshot: Snapshot | None

    def epoch_at(self, lsn: int) -> int | None:
        """None outside of `first_lsn - 1 .. last_lsn`; 0 for LSN 0."""
        ...

    def entries(self, from_lsn: int, to_lsn: int, max_bytes: int) -> Sequence[Entry]:
        """Records from..to inclusive, at least one, cut so that payloads fit `max_bytes`; none if
        the first is not at hand."""
        ...

    def latest(self, from_lsn: int) -> Sequence[Entry]:
        """What is in memory from there to the end: at least all that no file has yet."""
        ...

    def own_entries(self) -> Sequence[Entry]:
        """The records kept that are the core's, and no data."""
        ...

    def hold(self, entries: Sequence[Entry]) -> None:
        """Have records at hand for a while that were read from a file."""
        ...

    def append(self, entries: Sequence[Entry]) -> None: ...
    def truncate_from(self, lsn: int) -> None: ...
    def trim_before(self, lsn: int) -> None: ...
    def reset(self, snapshot: Snapshot) -> None:
        """Forget the log; the next record follows the snapshot."""
        ...

    def last_not_after(self, lsn: int, epoch: int) -> int:
        """The highest LSN ≤ `lsn` whose epoch is ≤ `epoch`."""
        ...

    def epochs_until(self, lsn: int) -> Epochs:
        """Where each epoch began, up to `lsn`: also of records that are not kept any more."""
        ...

    def first_within(self, max_bytes: int) -> int:
        """The lowest LSN such that the records from there to the end fit `max_bytes`, about."""
        ...


def encode_members(members: Members) -> bytes:
    packed: bytes = msgpack.packb(members)
    return packed


def decode_members(payload: bytes) -> Members:
    """Who the members are from a MEMBERS record on."""
    found = msgpack.unpackb(payload)
    return members_from_wire(found["members"] if type(found) is dict else found)


def encode_founding(founding: int, members: Members = ()) -> bytes:
    """The record that names a founding: the group's first (MEMBERS), or, in a log that began
    without, a primary's first (EPOCH_START)."""
    packed: bytes = msgpack.packb({"founding": founding, "members": members})
    return packed


def founding_in(entry: Entry) -> int:
    """The founding that the record names, or 0."""
    _, _, kind, payload = entry
    if kind not in (log.MEMBERS, log.EPOCH_START) or not payload:
        return 0
    found = msgpack.unpackb(payload)
    return int(found["founding"]) if type(found) is dict else 0
