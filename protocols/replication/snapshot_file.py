"""The bytes of a snapshot: as a file, and as they are sent to a peer.

A file is the dumped state in pieces, each with its checksum, and at its end what it is a snapshot
of: so it is written, sent, checked and read piece by piece, and nobody need know its length before
it ends. A state may also lie in files of its own, which a snapshot names. No file is opened here.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final, NamedTuple

import msgpack

from protocols.replication.log import CorruptFile
from protocols.replication.messages import BadMessage, epochs_from_wire, members_from_wire
from protocols.replication.pieces import PIECE_BYTES
from protocols.replication.storage import Snapshot

MAGIC: Final = b"\xe3S\x9do"
_CHECKSUM = struct.Struct("<I")
STORED_PIECE_BYTES: Final = _CHECKSUM.size + PIECE_BYTES
_TAIL = struct.Struct("<4sQQQI")
"""Magic, epoch, LSN, bytes of state, bytes of what is before this (members ...); then the CRC."""
TAIL_BYTES: Final = _TAIL.size + _CHECKSUM.size
_LENGTH = struct.Struct("<I")
MAX_HEAD_BYTES: Final = 1 << 20


class StateFile(NamedTuple):
    """A file that belongs to the state that a snapshot is of: its first `size_bytes`."""

    name: str
    size_bytes: int


class About(NamedTuple):
    """What the end of a snapshot's file says."""

    snapshot: Snapshot
    state_bytes: int
    """Of the state that was dumped."""
    parts: tuple[StateFile, ...] = ()


def seal_piece(piece: bytes, number: int) -> bytes:
    """A piece of the state as the file has it; all have PIECE_BYTES but the last."""
    return _CHECKSUM.pack(zlib.crc32(piece, number)) + piece


def open_piece(stored: bytes, number: int) -> bytes:
    """What was sealed; raises CorruptFile."""
    piece = stored[_CHECKSUM.size :]
    if len(stored) < _CHECKSUM.size or stored[: _CHECKSUM.size] != _CHECKSUM.pack(
        zlib.crc32(piece, number)
    ):
        raise CorruptFile(f"piece {number} of the snapshot does not fit its checksum")
    return piece


def stored_bytes(state_bytes: int) -> int:
    """How long so much state is in a file."""
    pieces = -(-state_bytes // PIECE_BYTES)
    return state_bytes + pieces * _CHECKSUM.size


def encode_about(about: About) -> bytes:
    """The end of the file."""
    snapshot = about.snapshot
    lead: bytes = msgpack.packb([snapshot.members, snapshot.epochs, about.parts])
    tail = _TAIL.pack(MAGIC, snapshot.epoch, snapshot.lsn, about.state_bytes, len(lead))
    return lead + tail + _CHECKSUM.pack(zlib.crc32(tail, zlib.crc32(lead)))


def end_bytes(last: bytes) -> int:
    """How long the end of a file is whose last TAIL_BYTES these are. Raises CorruptFile."""
    if len(last) != TAIL_BYTES or last[: len(MAGIC)] != MAGIC:
        raise CorruptFile("not a whole snapshot")
    return int(_TAIL.unpack_from(last)[4]) + TAIL_BYTES


def decode_about(end: bytes, file_bytes: int) -> About:
    """What the end of a file of this length says. Raises CorruptFile."""
    lead, tail = end[:-TAIL_BYTES], end[-TAIL_BYTES:]
    _, epoch, lsn, state_bytes, _ = _TAIL.unpack_from(tail)
    checksum = zlib.crc32(tail[: _TAIL.size], zlib.crc32(lead))
    if tail[_TAIL.size :] != _CHECKSUM.pack(checksum):
        raise CorruptFile("what the snapshot says of itself does not fit its checksum")
    if stored_bytes(state_bytes) + len(end) != file_bytes:
        raise CorruptFile("not a whole snapshot")
    members, epochs, parts = msgpack.unpackb(lead)
    found = tuple(StateFile(*each) for each in parts)
    about = (members_from_wire(members), epochs_from_wire(epochs))
    size_bytes = sent_bytes(state_bytes, found)
    return About(Snapshot(lsn, epoch, *about, size_bytes), state_bytes, found)


# -- on its way to a peer: a head, the state as stored, then the other files' bytes


class Head(NamedTuple):
    """What a peer reads first."""

    state_bytes: int
    part_bytes: tuple[int, ...]


def encode_head(state_bytes: int, parts: tuple[StateFile, ...]) -> bytes:
    packed: bytes = msgpack.packb([state_bytes, [each.size_bytes for each in parts]])
    return _LENGTH.pack(len(packed)) + packed


def head_bytes(begin: bytes) -> int | None:
    """How long the head is that begins so; None: more is to come. Raises BadMessage."""
    if len(begin) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(begin)
    if length > MAX_HEAD_BYTES:
        raise BadMessage(f"a snapshot's head of {length} bytes is over {MAX_HEAD_BYTES}")
    return int(length) + _LENGTH.size


def decode_head(head: bytes) -> Head:
    """Raises BadMessage."""
    try:
        found: Any = msgpack.unpackb(head[_LENGTH.size :])
    except ValueError as error:
        raise BadMessage("a snapshot's head is no MessagePack") from error
    match found:
        case [int(state_bytes), [*sizes]] if all(type(each) is int and each >= 0 for each in sizes):
            return Head(state_bytes, tuple(sizes))
    raise BadMessage("a snapshot's head has not the lengths that it must have")


def sent_bytes(state_bytes: int, parts: tuple[StateFile, ...]) -> int:
    """Of all that a peer is sent."""
    files = sum(each.size_bytes for each in parts)
    return len(encode_head(state_bytes, parts)) + stored_bytes(state_bytes) + files
