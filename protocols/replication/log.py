"""The bytes of log records and of sealed state, and how a damaged log is judged.

Nothing here opens a file or knows what a payload means. An entry is a plain tuple
`(epoch, lsn, kind, payload)`: LSNs are dense record numbers, epochs never decrease.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Final, NamedTuple

from protocols.replication.pieces import PIECE_BYTES, Content
from protocols.stepping import Steps, at_once

Entry = tuple[int, int, int, bytes]
"""(epoch, lsn, kind, payload)"""

DATA: Final = 0
"""A record of the application: the only kind that a state machine applies."""
EPOCH_START: Final = 1
"""What a new primary writes first: nothing is served before it commits."""
MEMBERS: Final = 2
"""The group's membership from this record on."""

MAGIC: Final = b"\xe3L\x9dg"
SEAL_MAGIC: Final = b"\xe3H\x9ds"
_HEAD = struct.Struct("<4sBIIQQ")
"""Magic, kind, payload bytes, records before this one not yet synced, epoch, LSN; then the CRC."""
_CRC = struct.Struct("<I")
HEADER_BYTES: Final = _HEAD.size + _CRC.size
MAX_PAYLOAD_BYTES: Final = 1 << 26


class Problem(NamedTuple):
    """Damage that must not be repaired by cutting: `position` is the first bad byte's record."""

    position: int
    reason: str


class Scan(NamedTuple):
    """What a log holds. Without a problem, all after `good_length` is a torn tail: cut it."""

    records: list[Entry]
    good_length: int
    problem: Problem | None


class CorruptFile(Exception):
    """A snapshot or sealed file is not what was once written."""


def encode_batch(entries: Iterable[Entry], synced_lsn: int = 1 << 62) -> bytes:
    """The records as bytes, to be appended in one write.

    `synced_lsn` is the last LSN known to be on the platter *now* (default: all before each record).
    Every record carries that mark, so that a scan can tell a power cut that kept later sectors of
    one unsynced write and lost earlier ones (cut) from damage to what had been synced (refuse).
    """
    parts: list[bytes] = []
    pack, pack_crc, crc32 = _HEAD.pack, _CRC.pack, zlib.crc32
    for epoch, lsn, kind, payload in entries:
        unsynced = lsn - 1 - synced_lsn
        head = pack(MAGIC, kind, len(payload), unsynced if unsynced > 0 else 0, epoch, lsn)
        parts += (head, pack_crc(crc32(payload, crc32(head))), payload)
    return b"".join(parts)


def record_bytes(entry: Entry) -> int:
    """How long the entry is in a log file."""
    return HEADER_BYTES + len(entry[3])


def read_records(data: bytes) -> tuple[list[Entry], int]:
    """The whole records that the data begins with, and how long they are."""
    records: list[Entry] = []
    position = 0
    while (found := _record_at(data, position)) is not None:
        records.append(found[0])
        position += record_bytes(found[0])
    return records, position


def scan(data: bytes, *, first_lsn: int | None = None) -> Scan:
    """All of `scan_in_steps` at once."""
    return at_once(scan_in_steps(data, first_lsn=first_lsn))


def scan_in_steps(
    data: Content, *, first_lsn: int | None = None, last_epoch: int = 0
) -> Steps[Scan]:
    """Read records until the end or the first bad one, and say what the rest is.

    `first_lsn`: what the first record must be (None: any); `last_epoch`: of the one before. A bad
    record is a torn tail of the last write unless a later valid record proves that it had been
    synced.
    """
    records: list[Entry] = []
    position, size = 0, len(data)
    expected = first_lsn
    window, begin = _window(data, 0), 0
    while position < size:
        found = _record_at(window, position - begin)
        if found is None and position > begin:
            yield
            window, begin = _window(data, position), position
            found = _record_at(window, 0)
        if found is None:
            damaged_lsn = expected if expected is not None else 1
            problem = _judge_tail(data[position:], position, damaged_lsn)
            return Scan(records, position, problem)
        (epoch, lsn, _, payload), _ = found
        if (expected is not None and lsn != expected) or epoch < last_epoch or lsn < 1:
            reason = f"record {lsn} of epoch {epoch} where {expected} of {last_epoch} or later fits"
            return Scan(records, position, Problem(position, reason))
        records.append(found[0])
        expected, last_epoch = lsn + 1, epoch
        position += HEADER_BYTES + len(payload)
    return Scan(records, position, None)


def _window(data: Content, position: int) -> bytes:
    """What is there from `position` on: a piece, and at least the record that begins it."""
    head = data[position : position + HEADER_BYTES]
    length = _HEAD.unpack_from(head)[2] if len(head) == HEADER_BYTES else 0
    wanted_bytes = max(PIECE_BYTES, HEADER_BYTES + min(length, MAX_PAYLOAD_BYTES))
    return data[position : position + wanted_bytes]


def _record_at(data: bytes, position: int) -> tuple[Entry, int] | None:
    """The entry that starts there and how many records before it were unsynced, if it is whole."""
    if len(data) - position < HEADER_BYTES:
        return None
    magic, kind, length, unsynced, epoch, lsn = _HEAD.unpack_from(data, position)
    end = position + HEADER_BYTES + length
    if magic != MAGIC or length > MAX_PAYLOAD_BYTES or end > len(data):
        return None
    (crc,) = _CRC.unpack_from(data, position + _HEAD.size)
    payload = data[position + HEADER_BYTES : end]
    if zlib.crc32(payload, zlib.crc32(data[position : position + _HEAD.size])) != crc:
        return None
    return (epoch, lsn, kind, payload), unsynced


def _judge_tail(tail: bytes, position: int, damaged_lsn: int) -> Problem | None:
    """None if nothing later proves that the record at `position`, where the tail begins, had once
    been synced."""
    proof = proof_of_sync(tail, damaged_lsn, 1)
    if proof is None:
        return None
    return Problem(
        position,
        f"record {damaged_lsn} at byte {position} is damaged, and record {proof.lsn} at byte"
        f" {position + proof.position} was written after it had been synced",
    )


class Proof(NamedTuple):
    """A record, and where it is, that was written when one before it had been synced."""

    lsn: int
    position: int


def proof_of_sync(data: bytes, lsn: int, position: int = 0) -> Proof | None:
    """A valid record from `position` on that proves that `lsn` had once been synced."""
    candidate = data.find(MAGIC, position)
    while candidate != -1:
        found = _record_at(data, candidate)
        if found is not None:
            (_, later_lsn, _, _), unsynced = found
            if later_lsn > lsn and later_lsn - 1 - unsynced >= lsn:
                return Proof(later_lsn, candidate)
        candidate = data.find(MAGIC, candidate + 1)
    return None


def seal(payload: bytes) -> bytes:
    """A small state file (epoch, vote): write it beside the old one, sync, then rename."""
    return SEAL_MAGIC + _CRC.pack(zlib.crc32(payload)) + payload


def unseal(data: bytes) -> bytes:
    """What was sealed; raises CorruptFile."""
    if data[:4] != SEAL_MAGIC or len(data) < 8:
        raise CorruptFile("not a sealed file")
    if zlib.crc32(data[8:]) != _CRC.unpack_from(data, 4)[0]:
        raise CorruptFile("the sealed file's checksum does not fit")
    return data[8:]
