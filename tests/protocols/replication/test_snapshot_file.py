"""A snapshot's bytes come back whole or not at all, in a file and on their way to a peer."""

from __future__ import annotations

import random

import pytest

from protocols.replication import snapshot_file as format
from protocols.replication.log import CorruptFile
from protocols.replication.messages import VOTER, BadMessage
from protocols.replication.pieces import PIECE_BYTES
from protocols.replication.replica import Snapshot
from protocols.replication.snapshot_file import About, StateFile

PARTS = (StateFile("topic-1", 9), StateFile("topic-7", 0))


def about(state_bytes: int, parts: tuple[StateFile, ...] = PARTS) -> About:
    size_bytes = format.sent_bytes(state_bytes, parts)
    snapshot = Snapshot(9, 4, (("a", VOTER),), ((1, 1), (4, 6)), size_bytes)
    return About(snapshot, state_bytes, parts)


def encode(state: bytes) -> bytes:
    starts = range(0, len(state), PIECE_BYTES)
    pieces = [state[start : start + PIECE_BYTES] for start in starts]
    stored = [format.seal_piece(piece, number) for number, piece in enumerate(pieces)]
    return b"".join(stored) + format.encode_about(about(len(state)))


def decode(file: bytes) -> tuple[About, bytes]:
    end = format.end_bytes(file[-format.TAIL_BYTES :])
    if end > len(file):
        raise CorruptFile("too short")
    found = format.decode_about(file[-end:], len(file))
    state, offset, number = b"", 0, 0
    while offset < len(file) - end:
        stored = file[offset : min(offset + format.STORED_PIECE_BYTES, len(file) - end)]
        state += format.open_piece(stored, number)
        offset, number = offset + len(stored), number + 1
    return found, state


@pytest.mark.parametrize("size_bytes", [0, 1, 17])
def test_a_snapshot_file_comes_back_whole_or_not_at_all(size_bytes: int) -> None:
    state = random.Random(size_bytes).randbytes(size_bytes)
    file = encode(state)
    assert decode(file) == (about(size_bytes), state)
    for place in range(len(file)):
        with pytest.raises(CorruptFile):
            decode(file[:place])
        with pytest.raises(CorruptFile):
            decode(file[place + 1 :])
        flipped = bytearray(file)
        flipped[place] ^= 1 << place % 8
        with pytest.raises(CorruptFile):
            decode(bytes(flipped))


@pytest.mark.parametrize("size_bytes", [PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES + 1])
def test_a_large_one_is_stored_in_pieces_that_are_each_in_their_place(size_bytes: int) -> None:
    state = random.Random(1).randbytes(size_bytes)
    file = encode(state)
    assert decode(file) == (about(size_bytes), state)
    if size_bytes > PIECE_BYTES:
        first, second = (format.STORED_PIECE_BYTES * number for number in (1, 2))
        swapped = file[first:second] + file[:first] + file[second:]
        with pytest.raises(CorruptFile, match="piece 0"):
            decode(swapped)


def test_what_a_peer_is_sent_says_first_how_long_each_part_is() -> None:
    head = format.encode_head(5, PARTS)
    assert format.head_bytes(head[:3]) is None
    assert format.head_bytes(head) == len(head)
    assert format.decode_head(head) == (5, (9, 0))
    assert format.sent_bytes(5, PARTS) == len(head) + format.stored_bytes(5) + 9


@pytest.mark.parametrize("body", [b"\xc1", b"\x90", b"\x92\x01\x91\xff", b"\x92\xa1a\x90"])
def test_a_head_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(BadMessage):
        format.decode_head(len(body).to_bytes(4, "little") + body)
    with pytest.raises(BadMessage, match="over"):
        format.head_bytes(b"\xff\xff\xff\xff")
