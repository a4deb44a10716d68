"""The bytes of a backup: of each group its snapshot and the log behind it, up to one LSN.

A file is frames, each with its checksum, and at its end a digest of all before. From one a member's
disk is made anew (`image`), as it was at the backup's LSN or at any earlier one that the log has.
No file is opened here.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from protocols.replication import log, snapshot_file
from protocols.replication.log import CorruptFile, Entry
from protocols.replication.messages import Epochs, Members, epochs_from_wire, members_from_wire
from protocols.replication.snapshot_file import About, StateFile
from protocols.replication.storage import HardState, Snapshot

MAGIC: Final = b"emu backup 1\n"
_FRAME = struct.Struct("<II")
"""Bytes of what follows, and their CRC."""
MAX_FRAME_BYTES: Final = 16 << 20
MAX_BYTES: Final = 256 << 20
"""Of all that a backup holds: it is in memory while it is made, and while it is restored."""
ABOUT, SNAPSHOT, LOG, END = "about", "snapshot", "log", "end"
HEAD_BYTES: Final = 1 << 10
"""More than a frame has beside its data."""


@dataclass(frozen=True, slots=True)
class GroupAbout:
    """What a group's leader says of what can be had of it."""

    lsn: int
    """The last record that is committed: what a backup goes up to."""
    epoch: int
    founding: int
    members: tuple[str, ...]
    file_prefix: str
    """Of the files that its state lies in, where it does."""
    snapshot: Snapshot | None
    """What the log is to be applied to; None: to nothing."""

    def to_wire(self) -> list[Any]:
        kept = None if self.snapshot is None else list(self.snapshot)
        return [self.lsn, self.epoch, self.founding, self.members, self.file_prefix, kept]

    @classmethod
    def from_wire(cls, values: Any) -> GroupAbout:
        """Raises ValueError."""
        lsn, epoch, founding, members, prefix, kept = values
        snapshot = None
        if kept is not None:
            at, of, there, epochs, size_bytes = kept
            known: tuple[Members, Epochs] = members_from_wire(there), epochs_from_wire(epochs)
            snapshot = Snapshot(at, of, *known, size_bytes)
        return cls(lsn, epoch, founding, tuple(members), prefix, snapshot)

    @property
    def first_lsn(self) -> int:
        """Of the log that a backup has."""
        return self.snapshot.lsn + 1 if self.snapshot is not None else 1


@dataclass(frozen=True, slots=True)
class GroupBackup:
    """One replicated group's part of a backup."""

    tier: str
    about: GroupAbout
    snapshot: bytes
    """As a peer is sent it; b"" if there is none."""
    entries: tuple[Entry, ...]
    """All records from `about.first_lsn` to `about.lsn`."""
    times: tuple[tuple[float, int], ...] = ()
    """(seconds of the run in which it was made, the last record that was there then), in order;
    the last one is when it was made."""

    @property
    def earliest_lsn(self) -> int:
        """What it can go back to."""
        return self.about.first_lsn - 1

    @property
    def known_times(self) -> list[tuple[float, int]]:
        """Those that it can go back to."""
        return [each for each in self.times if each[1] >= self.earliest_lsn]

    def lsn_at(self, time_s: float) -> int:
        """The last record that was there then, as far as is known. Raises ValueError."""
        known = self.known_times
        if not known:
            raise ValueError(f"{self.tier}: the backup has no times; name an LSN")
        if not known[0][0] <= time_s <= known[-1][0]:
            when = f"from {known[0][0]:.3f} s of that run to {known[-1][0]:.3f} s, when it was made"
            raise ValueError(f"{self.tier}: the backup knows times {when}, not {time_s:g} s")
        return max(lsn for at_s, lsn in known if at_s <= time_s)


@dataclass(frozen=True, slots=True)
class Backup:
    """What a file holds: the groups that one declared tier stands for."""

    of: str
    groups: tuple[GroupBackup, ...]

    @property
    def digest(self) -> str:
        """Of all that it says, in hexadecimal."""
        return hashlib.sha256(b"".join(_content(self))).hexdigest()


def check(group: GroupBackup) -> None:
    """Raises ValueError unless what it holds is whole, and goes up to its LSN."""
    about = group.about
    lsns = [lsn for _, lsn, _, _ in group.entries]
    if lsns != list(range(about.first_lsn, about.lsn + 1)):
        raise ValueError(f"{group.tier}: records {about.first_lsn}..{about.lsn} are not all there")
    if about.snapshot is not None and len(group.snapshot) != about.snapshot.size_bytes:
        raise ValueError(f"{group.tier}: the snapshot at LSN {about.snapshot.lsn} is not whole")


# --- as a file -----------------------------------------------------------------------------------


def encode(backup: Backup) -> bytes:
    """The whole file."""
    content = b"".join(_content(backup))
    end = _frame([END, hashlib.sha256(content).digest()])
    return MAGIC + content + end


def _content(backup: Backup) -> Iterator[bytes]:
    tiers = [[each.tier, each.about.to_wire(), each.times] for each in backup.groups]
    yield _frame([ABOUT, backup.of, tiers])
    for number, group in enumerate(backup.groups):
        for data in _pieces(group.snapshot):
            yield _frame([SNAPSHOT, number, data])
        for data in _pieces(log.encode_batch(group.entries)):
            yield _frame([LOG, number, data])


def _pieces(data: bytes) -> Iterator[bytes]:
    size_bytes = MAX_FRAME_BYTES - HEAD_BYTES
    for start in range(0, len(data), size_bytes):
        yield data[start : start + size_bytes]


def _frame(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return _FRAME.pack(len(packed), zlib.crc32(packed)) + packed


def decode(data: bytes) -> Backup:
    """What a file holds. Raises CorruptFile, which says at which byte it is damaged."""
    if data[: len(MAGIC)] != MAGIC:
        raise CorruptFile("byte 0: not a backup that emu wrote")
    of, tiers = "", list[Any]()
    parts: dict[tuple[str, int], bytes] = {}
    position = len(MAGIC)
    digest = hashlib.sha256()
    while True:
        value, end = _frame_at(data, position)
        match value:
            case ["about", str(of), [*tiers]]:
                parts = {(kind, n): b"" for kind in (SNAPSHOT, LOG) for n in range(len(tiers))}
            case [("snapshot" | "log") as kind, int(number), bytes(piece)] if (
                kind, number
            ) in parts:  # fmt: skip
                parts[kind, number] += piece
            case ["end", bytes(wanted)] if wanted == digest.digest() and end == len(data):
                return _backup(of, tiers, parts)
            case _:
                raise CorruptFile(f"byte {position}: not what belongs there")
        digest.update(data[position:end])
        position = end


def _frame_at(data: bytes, position: int) -> tuple[Any, int]:
    """Raises CorruptFile."""
    if len(data) - position < _FRAME.size:
        raise CorruptFile(f"byte {position}: the file ends before its end")
    length, checksum = _FRAME.unpack_from(data, position)
    start = position + _FRAME.size
    packed = data[start : start + length]
    if length > MAX_FRAME_BYTES or len(packed) < length:
        raise CorruptFile(f"byte {position}: the file ends before its end, or is damaged here")
    if zlib.crc32(packed) != checksum:
        raise CorruptFile(f"byte {position}: {length} bytes do not fit their checksum")
    return msgpack.unpackb(packed), start + length


def _backup(of: str, tiers: Sequence[Any], parts: dict[tuple[str, int], bytes]) -> Backup:
    groups = []
    for number, (tier, wire, *times) in enumerate(tiers):
        entries, _ = log.read_records(parts[LOG, number])
        about = GroupAbout.from_wire(wire)
        known = tuple((float(at_s), int(lsn)) for each in times for at_s, lsn in each)
        groups.append(GroupBackup(tier, about, parts[SNAPSHOT, number], tuple(entries), known))
        try:
            check(groups[-1])
        except ValueError as error:
            raise CorruptFile(str(error)) from error
    return Backup(of, tuple(groups))


# --- as a disk -----------------------------------------------------------------------------------


def image(group: GroupBackup, lsn: int, epoch: int, names: Names) -> dict[str, bytes]:
    """The files of a member whose state is the group's at that LSN. `epoch`: the least that it
    must have seen, so that nobody who has seen it refuses what comes now. Raises ValueError."""
    about, last = group.about, group.about.lsn
    if not group.earliest_lsn <= lsn <= last:
        went = f"LSN {group.earliest_lsn} to {last}"
        raise ValueError(f"{group.tier}: the backup goes back to any of {went}, not to {lsn}")
    kept = [entry for entry in group.entries if entry[1] <= lsn]
    epochs = [epoch, *(each[0] for each in kept), about.snapshot.epoch if about.snapshot else 0]
    state = HardState(epoch=max(epochs), standing=True, founding=about.founding)
    files = {names.state: state.encode()}
    if about.snapshot is not None:
        files |= _snapshot_files(group, about.snapshot, names.snapshot)
    if kept:
        files[names.segment(kept[0][1])] = log.encode_batch(kept)
    return files


class Names:
    """What a replica calls its files; nodes/replica/ knows."""

    def __init__(self, state: str, snapshot: str, log_prefix: str) -> None:
        self.state, self.snapshot, self._log_prefix = state, snapshot, log_prefix

    def segment(self, first_lsn: int) -> str:
        return f"{self._log_prefix}{first_lsn:016d}"


def _snapshot_files(group: GroupBackup, snapshot: Snapshot, name: str) -> dict[str, bytes]:
    data = group.snapshot
    head_bytes = snapshot_file.head_bytes(data)
    assert head_bytes is not None, "it was checked when it was read"
    head = snapshot_file.decode_head(data[:head_bytes])
    end = head_bytes + snapshot_file.stored_bytes(head.state_bytes)
    files, parts = {}, []
    state = data[head_bytes:end]
    for number, size_bytes in enumerate(head.part_bytes):
        part = StateFile(f"{group.about.file_prefix}restored-{number}", size_bytes)
        parts.append(part)
        files[part.name] = data[end : end + size_bytes]
        end += size_bytes
    about = About(snapshot, head.state_bytes, tuple(parts))
    return {name: state + snapshot_file.encode_about(about), **files}
