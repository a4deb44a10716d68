"""A snapshot's bytes come back whole or not at all, in a file and on their way to a peer."""

from __future__ import annotations

import random

import pytest

from protocols.replication import snapshot_file
from protocols.replication.log import CorruptFile
from protocols.replication.messages import VOTER, BadMessage
from protocols.replication.pieces import PIECE_BYTES
from protocols.replication.replica import Snapshot
from protocols.replication.snapshot_file import About, StateFile

PARTS = (StateFile("topic-1", 9), StateFile("topic-7", 0))


def about(state_bytes: int, parts: tuple[StateFile, ...] = PARTS) -> About:
    size_bytes = snapshot_file.sent_bytes(state_bytes, parts)
    snapshot = Snapshot(9, 4, (("a", VOTER),), ((1, 1), (4, 6)), size_bytes)
    return About(snapshot, state_bytes, parts)


def encode(state: bytes) -> bytes:
    starts = range(0, len(state), PIECE_BYTES)
    pieces = [state[start : start + PIECE_BYTES] for start in starts]
    stored = [snapshot_file.seal_piece(piece, number) for number, piece in enumerate(pieces)]
    return b"".join(stored) + snapshot_file.encode_about(about(len(state)))


def decode(file: bytes) -> tuple[About, bytes]:
    end = snapshot_file.end_bytes(file[-snapshot_file.TAIL_BYTES :])
    if end > len(file):
        raise CorruptFile("too short")
    found = snapshot_file.decode_about(file[-end:], len(file))
    state, offset, number = b"", 0, 0
    while offset < len(file) - end:
        stored = file[offset : min(offset + snapshot_file.STORED_PIECE_BYTES, len(file) - end)]
        state += snapshot_file.open_piece(stored, number)
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
        first, second = (snapshot_file.STORED_PIECE_BYTES * number for number in (1, 2))
        swapped = file[first:second] + file[:first] + file[second:]
        with pytest.raises(CorruptFile, match="piece 0"):
            decode(swapped)


def test_what_a_peer_is_sent_says_first_how_long_each_part_is() -> None:
    head = snapshot_file.encode_head(5, PARTS)
    assert snapshot_file.head_bytes(head[:3]) is None
    assert snapshot_file.head_bytes(head) == len(head)
    assert snapshot_file.decode_head(head) == (5, (9, 0))
    assert snapshot_file.sent_bytes(5, PARTS) == len(head) + snapshot_file.stored_bytes(5) + 9


@pytest.mark.parametrize("body", [b"\xc1", b"\x90", b"\x92\x01\x91\xff", b"\x92\xa1a\x90"])
def test_a_head_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(BadMessage):
        snapshot_file.decode_head(len(body).to_bytes(4, "little") + body)
    with pytest.raises(BadMessage, match="over"):
        snapshot_file.head_bytes(b"\xff\xff\xff\xff")
