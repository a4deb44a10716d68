"""Idempotent producers: a retry gets its first offset, and nothing else passes for new."""

from __future__ import annotations

import msgpack
import pytest

from nodes.queue.producers import MAX_PRODUCERS, Batch, Producers
from protocols.errors import RpcError

WHERE = ("t", 0)


def begun(producers: Producers, name: str = "") -> tuple[str, int]:
    producer, epoch = producers.named(name, 7)
    producers.begin(producer, epoch, name)
    return producer, epoch


def publish(producers: Producers, who: tuple[str, int], sequence: int, offset: int) -> int | None:
    known = producers.published(*who, sequence, 1, WHERE)
    if known is None:
        producers.note(who[0], Batch(sequence, 1, offset), WHERE)
    return known


def code_of(producers: Producers, who: tuple[str, int], sequence: int, records: int = 1) -> str:
    with pytest.raises(RpcError) as caught:
        producers.published(*who, sequence, records, WHERE)
    return caught.value.code


def test_a_retry_gets_its_first_offset():
    producers = Producers()
    who = begun(producers)
    for sequence in range(7):
        assert publish(producers, who, sequence, 100 + sequence) is None
    for sequence in range(2, 7):  # a publisher may have five on their way
        assert publish(producers, who, sequence, 999) == 100 + sequence
    assert code_of(producers, who, 0) == "out_of_sequence", "too old to tell"
    assert code_of(producers, who, 8) == "out_of_sequence", "one is missing"
    assert code_of(producers, who, 6, records=2) == "out_of_sequence", "another batch"


def test_a_new_epoch_begins_at_zero_and_fences_the_old_one():
    producers = Producers()
    old = begun(producers, "importer")
    publish(producers, old, 0, 5)
    new = begun(producers, "importer")
    assert new == (old[0], old[1] + 1)
    assert code_of(producers, old, 1) == "fenced"
    assert publish(producers, new, 0, 6) is None


def test_a_producer_that_was_forgotten_is_refused_and_not_taken_as_new():
    producers = Producers()
    first = begun(producers, "first")
    ids = {first[0]: None}
    for _ in range(MAX_PRODUCERS):
        ids[begun(producers)[0]] = None
    assert len(producers) == MAX_PRODUCERS and len(ids) == MAX_PRODUCERS + 1
    assert code_of(producers, first, 0) == "unknown_producer"
    assert begun(producers, "first")[0] not in ids


def test_it_survives_a_snapshot():
    producers = Producers()
    who = begun(producers, "importer")
    publish(producers, who, 0, 5)
    again = Producers()
    again.take(msgpack.unpackb(msgpack.packb(producers.to_wire())))
    assert again.to_wire() == producers.to_wire()
    assert publish(again, who, 0, 9) == 5
