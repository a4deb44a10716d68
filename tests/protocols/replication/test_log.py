"""The log's bytes: nothing that was damaged is ever read back as data."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.replication import log
from protocols.replication.log import Entry
from protocols.replication.pieces import PIECE_BYTES

payloads = st.lists(st.binary(max_size=40), min_size=1, max_size=6)


def entries_of(items: list[bytes], first_lsn: int = 1) -> list[Entry]:
    return [
        (1 + i // 2, first_lsn + i, i % 3, item) for i, item in enumerate(items)
    ]  # epochs grow, kinds vary


def ends_of(entries: list[Entry]) -> list[int]:
    ends, position = [], 0
    for entry in entries:
        position += log.record_bytes(entry)
        ends.append(position)
    return ends


@given(payloads, st.integers(1, 2**40))
def test_what_is_encoded_is_scanned_back(items: list[bytes], first_lsn: int) -> None:
    entries = entries_of(items, first_lsn)
    data = log.encode_batch(entries)
    assert log.scan(data) == (entries, len(data), None)
    assert log.scan(data, first_lsn=first_lsn).problem is None
    assert log.scan(data, first_lsn=first_lsn + 1).problem is not None


@given(payloads)
@settings(max_examples=30)
def test_every_truncation_point_recovers_the_whole_records_before_it(items: list[bytes]) -> None:
    entries = entries_of(items)
    data, ends = log.encode_batch(entries), ends_of(entries)
    for cut in range(len(data) + 1):
        whole = sum(1 for end in ends if end <= cut)
        scan = log.scan(data[:cut])
        assert scan.records == entries[:whole]
        assert scan.good_length == ([0, *ends])[whole]
        assert scan.problem is None


@given(payloads)
@settings(max_examples=12, deadline=None)
def test_every_bit_flip_is_cut_in_the_last_record_and_refused_before_it(items: list[bytes]) -> None:
    entries = entries_of(items)
    data, ends = log.encode_batch(entries), [0, *ends_of(entries)]
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << (bit % 8)
        hit = max(i for i, end in enumerate(ends) if end <= bit // 8)
        scan = log.scan(bytes(damaged), first_lsn=1)
        assert scan.records == entries[:hit]
        assert scan.good_length == ends[hit]
        if hit == len(entries) - 1:
            assert scan.problem is None
        else:
            assert scan.problem is not None
            assert scan.problem.position == ends[hit]


@given(payloads, st.binary(max_size=80))
def test_garbage_after_the_last_record_is_a_torn_tail(items: list[bytes], rest: bytes) -> None:
    entries = entries_of(items)
    data = log.encode_batch(entries)
    scan = log.scan(data + b"\x00" + rest)
    assert scan == (entries, len(data), None)


def test_a_power_cut_that_lost_the_first_sector_of_a_write_and_kept_the_rest_is_a_torn_tail() -> (
    None
):
    synced = [(1, lsn, 0, b"x" * 20) for lsn in (1, 2)]
    unsynced = [(1, lsn, 0, b"y" * 20) for lsn in (3, 4, 5)]
    good = log.encode_batch(synced)
    tail = bytearray(log.encode_batch(unsynced, synced_lsn=2))
    tail[0:30] = bytes(30)
    assert log.scan(good + bytes(tail)) == (synced, len(good), None)


def test_damage_to_what_was_synced_is_refused_though_the_last_write_was_torn_too() -> None:
    first = bytearray(log.encode_batch([(1, 1, 0, b"a"), (1, 2, 0, b"b")], synced_lsn=0))
    second = log.encode_batch([(1, 3, 0, b"c"), (1, 4, 0, b"d")], synced_lsn=2)
    position = len(first) // 2
    first[position + 5] ^= 1
    scan = log.scan(bytes(first) + second[:-1])
    assert scan.problem is not None
    assert (scan.good_length, scan.problem.position) == (position, position)


@pytest.mark.parametrize("later", [(1, 2, 0, b""), (1, 4, 0, b""), (0, 3, 0, b"")])
def test_a_record_out_of_order_is_refused(later: Entry) -> None:
    before = log.encode_batch([(1, 1, 0, b""), (1, 2, 0, b"")])
    scan = log.scan(before + log.encode_batch([later]))
    assert scan.problem is not None
    assert scan.problem.position == scan.good_length == len(before)


def test_a_log_longer_than_a_piece_is_scanned_in_steps_and_gives_the_same() -> None:
    rng = random.Random(1)
    sizes = [PIECE_BYTES - 7, 0, 3 * PIECE_BYTES, *(rng.randrange(90_000) for _ in range(40))]
    entries = [(1, lsn, 0, rng.randbytes(size)) for lsn, size in enumerate(sizes, 1)]
    data = log.encode_batch(entries)
    steps, pauses = log.scan_in_steps(data), 0
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            assert ended.value == log.Scan(entries, len(data), None)
            break
        pauses += 1
    assert pauses >= 4
    torn = log.scan(data[:-1])
    assert (len(torn.records), torn.problem) == (len(entries) - 1, None)
    damaged = flipped(data, len(data) // 2)
    problem = log.scan(damaged).problem
    assert problem is not None and problem.position <= len(data) // 2


@given(st.binary(max_size=30))
@settings(max_examples=20)
def test_a_sealed_state_comes_back_whole_or_not_at_all(state: bytes) -> None:
    data = log.seal(state)
    assert log.unseal(data) == state
    for bad in [data[:i] for i in range(len(data))] + [flipped(data, i) for i in range(len(data))]:
        with pytest.raises(log.CorruptFile):
            log.unseal(bad)


def flipped(data: bytes, index: int) -> bytes:
    return data[:index] + bytes([data[index] ^ 0x10]) + data[index + 1 :]
