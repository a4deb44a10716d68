"""Deadlines: each key has one, the latest that was set."""

from __future__ import annotations

from nodes.queue.deadlines import NEVER, Deadlines


def test_the_latest_time_of_a_key_counts():
    deadlines = Deadlines()
    assert deadlines.next_s == NEVER
    deadlines.set("a", 5.0)
    deadlines.set("b", 3.0)
    deadlines.set("a", 9.0)
    deadlines.drop("b")
    assert deadlines.next_s == 9.0
    assert deadlines.take_due(8.0, 10) == []
    assert deadlines.take_due(9.0, 10) == ["a"] and "a" not in deadlines


def test_renewing_for_ever_takes_no_memory():
    deadlines = Deadlines()
    for number in range(10_000):
        deadlines.set("lock", float(number))
    assert len(deadlines._heap) < 200
    assert deadlines.next_s == 9999.0
