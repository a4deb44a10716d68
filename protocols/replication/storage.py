"""What a replica keeps: its log in memory, its snapshot, and the small state it must not forget.

The core reads and extends the log here at once; making it durable is the driver's, as each Ready
asks. No file is opened here.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import msgpack

from protocols.replication import log
from protocols.replication.log import Entry
from protocols.replication.messages import Epochs, Members, epochs_from_wire, members_from_wire
from protocols.replication.pieces import Content, Pieces

MAX_REMEMBERED_EPOCHS = 1000
_BIN32 = b"\xc6"
_BIN_SIZE_BYTES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4}
"""MessagePack's three forms of bytes: how long the length is behind the mark."""


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
    """The state after `lsn`. `data` is the application's own."""

    lsn: int
    epoch: int
    members: Members
    epochs: Epochs
    """Where each epoch began in the log that the snapshot stands for (the latest ones)."""
    data: Content

    def epoch_at(self, lsn: int) -> int | None:
        """Which epoch wrote the record `lsn` that this snapshot contains; None: not known."""
        if lsn > self.lsn:
            return None
        begun = bisect_right(self.epochs, lsn, key=lambda each: each[1])
        return self.epochs[begun - 1][0] if begun else None

    def pieces(self) -> Iterator[bytes]:
        """The content of a snapshot file; b"" is only a pause, so that others may go on."""
        packer = msgpack.Packer(autoreset=False)
        packer.pack_array_header(3)
        packer.pack(self.members)
        packer.pack(self.epochs)
        lead = packer.bytes() + _BIN32 + len(self.data).to_bytes(4, "big")
        return log.snapshot_pieces(self.epoch, self.lsn, lead, self.data)


class SnapshotReader:
    """Takes a snapshot file piece by piece; whatever is no whole one raises CorruptFile."""

    def __init__(self) -> None:
        self._head: log.SnapshotHead | None = None
        self._lead = b""
        self._data = Pieces()
        self._checksum = 0

    def add(self, piece: bytes) -> None:
        """The first one has at least PIECE_BYTES, if the file has."""
        if self._head is None:
            self._head = log.SnapshotHead.decode(piece)
            self._checksum = self._head.own_checksum
            piece = piece[log.SNAPSHOT_HEADER_BYTES :]
            self._lead = piece[: _lead_bytes(piece)]
            self._data.append(piece[len(self._lead) :])
        else:
            self._data.append(piece)
        self._checksum = zlib.crc32(piece, self._checksum)

    def finish(self) -> Snapshot:
        head = self._head
        if head is None or head.payload_bytes != len(self._lead) + len(self._data):
            raise log.CorruptFile("not a whole snapshot")
        if self._checksum != head.checksum:
            raise log.CorruptFile("the snapshot's checksum does not fit")
        unpacker = msgpack.Unpacker()
        unpacker.feed(self._lead)
        unpacker.read_array_header()
        members, epochs = unpacker.unpack(), unpacker.unpack()
        about = members_from_wire(members), epochs_from_wire(epochs)
        return Snapshot(head.lsn, head.epoch, *about, self._data)


def _lead_bytes(payload: bytes) -> int:
    """How much of a snapshot's payload is before the state; 0 if it is damaged."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(payload)
    try:
        unpacker.read_array_header()
        unpacker.skip()
        unpacker.skip()
        begin: int = unpacker.tell()
        return begin + 1 + _BIN_SIZE_BYTES[payload[begin]]
    except (ValueError, LookupError, msgpack.UnpackException):
        return 0


class Storage(Protocol):
    """The log as the core sees it. LSNs are dense; `first_lsn` is the oldest record kept."""

    first_lsn: int
    last_lsn: int
    snapshot: Snapshot | None

    def epoch_at(self, lsn: int) -> int | None:
        """None outside of `first_lsn - 1 .. last_lsn`; 0 for LSN 0."""
        ...

    def entries(self, from_lsn: int, to_lsn: int, max_bytes: int) -> Sequence[Entry]:
        """Records from..to inclusive, at least one, cut so that payloads fit `max_bytes`."""
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
        """The lowest LSN such that the payloads from there to the end fit `max_bytes`."""
        ...


class MemoryLog:
    """The Storage that every driver can use: a list of entries and the latest snapshot."""

    def __init__(self, entries: Sequence[Entry] = (), snapshot: Snapshot | None = None) -> None:
        """`entries`: what a scan of the log file gave; those the snapshot covers may be among."""
        self.snapshot = snapshot
        self._entries: list[Entry] = list(entries)
        if snapshot is not None and not _continues(self._entries, snapshot):
            self._entries = []
        if self._entries:
            self.first_lsn = self._entries[0][1]
        else:
            self.first_lsn = snapshot.lsn + 1 if snapshot is not None else 1
        self.last_lsn = self.first_lsn + len(self._entries) - 1
        covered = snapshot is not None and snapshot.lsn == self.first_lsn - 1
        self._base_epoch: int | None = snapshot.epoch if covered and snapshot is not None else None
        if self.first_lsn == 1:
            self._base_epoch = 0
        self._epochs: list[tuple[int, int]] = list(snapshot.epochs) if snapshot else []
        self._note_epochs(self._entries)

    def _note_epochs(self, entries: Sequence[Entry]) -> None:
        epochs = self._epochs
        known = epochs[-1][0] if epochs else 0
        if entries and entries[-1][0] > known:
            for epoch, lsn, _, _ in entries:
                if epoch > known:
                    epochs.append((epoch, lsn))
                    known = epoch

    def epoch_at(self, lsn: int) -> int | None:
        first = self.first_lsn
        if first <= lsn <= self.last_lsn:
            return self._entries[lsn - first][0]
        return self._base_epoch if lsn == first - 1 else None

    def entries(self, from_lsn: int, to_lsn: int, max_bytes: int = 1 << 62) -> list[Entry]:
        start = from_lsn - self.first_lsn
        assert start >= 0, f"record {from_lsn} is not kept any more"
        end = to_lsn - self.first_lsn + 1
        most = max_bytes // log.HEADER_BYTES + 1
        batch = self._entries[start : min(end, start + most)]
        total = 0
        for count, entry in enumerate(batch):
            total += log.record_bytes(entry)
            if total > max_bytes and count:
                return batch[:count]
        return batch

    def append(self, entries: Sequence[Entry]) -> None:
        assert entries[0][1] == self.last_lsn + 1
        self._note_epochs(entries)
        self._entries += entries
        self.last_lsn += len(entries)

    def truncate_from(self, lsn: int) -> None:
        assert lsn >= self.first_lsn
        del self._entries[lsn - self.first_lsn :]
        self.last_lsn = lsn - 1
        while self._epochs and self._epochs[-1][1] >= lsn:
            self._epochs.pop()

    def trim_before(self, lsn: int) -> None:
        assert self.snapshot is not None and lsn <= self.snapshot.lsn + 1
        if lsn > self.first_lsn:
            self._base_epoch = self.epoch_at(lsn - 1)
            del self._entries[: lsn - self.first_lsn]
            self.first_lsn = lsn

    def reset(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._entries = []
        self.first_lsn, self.last_lsn = snapshot.lsn + 1, snapshot.lsn
        self._base_epoch = snapshot.epoch
        self._epochs = list(snapshot.epochs)

    def epochs_until(self, lsn: int) -> Epochs:
        begun = bisect_right(self._epochs, lsn, key=lambda each: each[1])
        return tuple(self._epochs[max(0, begun - MAX_REMEMBERED_EPOCHS) : begun])

    def last_not_after(self, lsn: int, epoch: int) -> int:
        lsn = min(lsn, self.last_lsn)
        if lsn < self.first_lsn:
            return lsn
        end = lsn - self.first_lsn + 1
        kept = bisect_right(self._entries, epoch, hi=end, key=lambda entry: entry[0])
        return self.first_lsn + kept - 1

    def first_within(self, max_bytes: int) -> int:
        total, lsn = 0, self.last_lsn + 1
        for entry in reversed(self._entries):
            total += log.record_bytes(entry)
            if total > max_bytes:
                break
            lsn = entry[1]
        return lsn


def _continues(entries: Sequence[Entry], snapshot: Snapshot) -> bool:
    """Whether the log goes with the snapshot: a crash may fall between installing and clearing."""
    if not entries or entries[-1][1] < snapshot.lsn:
        return False
    first_lsn = entries[0][1]
    assert first_lsn <= snapshot.lsn + 1, f"records {snapshot.lsn + 1}..{first_lsn - 1} are missing"
    return first_lsn > snapshot.lsn or entries[snapshot.lsn - first_lsn][0] == snapshot.epoch


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
