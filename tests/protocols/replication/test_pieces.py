"""Many bytes in pieces behave as bytes do."""

from __future__ import annotations

import random

from protocols.replication.pieces import PIECE_BYTES, Pieces


def test_whatever_is_written_over_beyond_and_cut_off_reads_like_one_bytearray():
    rng, pieces, plain = random.Random(1), Pieces(), bytearray()
    for _ in range(60):
        size = rng.choice([0, 1, 4096, PIECE_BYTES, PIECE_BYTES * 3 // 2])
        data = rng.randbytes(size)
        offset = rng.randrange(len(plain) + PIECE_BYTES // 2)
        if rng.random() < 0.2:
            cut = rng.choice([len(plain) // 2, len(plain) // PIECE_BYTES * PIECE_BYTES])
            pieces.truncate(cut)
            del plain[cut:]
        elif size:
            plain += bytes(max(0, offset - len(plain)))
            plain[offset : offset + size] = data
            pieces.write(offset, data)
        start = rng.randrange(len(plain) + 1)
        stop = start + rng.randrange(2 * PIECE_BYTES)
        assert pieces[start:stop] == plain[start:stop]
        assert len(pieces) == len(plain)
    assert bytes(pieces) == plain
