"""What the queue benchmark makes of other brokers' bytes, however they are cut."""

from __future__ import annotations

import struct

import pytest

from tests.bench.queue_rig import Amqp


def ack(last: int, *, several: bool) -> bytes:
    return Amqp.method(1, 60, 80, struct.pack(">QB", last, several))


@pytest.mark.parametrize("cut", [1, 2, 7, 8, 13, 100])
def test_confirms_are_counted_once_each_however_their_bytes_are_cut(cut: int) -> None:
    speaker = Amqp()
    said = Amqp.method(0, 10, 30, bytes(8)) + Amqp.method(1, 85, 11)
    said += ack(1, several=False) + ack(5, several=True) + ack(6, several=False)
    found = sum(speaker.feed(said[at : at + cut]) for at in range(0, len(said), cut))
    assert found == Amqp.greetings + 6


@pytest.mark.parametrize("word", [Amqp.NACK, *Amqp.CLOSES])
def test_a_publish_that_is_refused_is_no_figure(word: tuple[int, int]) -> None:
    with pytest.raises(RuntimeError, match="refused"):
        Amqp().feed(Amqp.method(1, *word, b"\x01why"))
